//go:build linux

package stage

import (
	"fmt"
	"io"

	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/message"
)

// askMulti begins a connection with HTTP/2 and returns when its first request was answered.
func askMulti(rw io.ReadWriter, path string) error {
	out := http2.AppendSettings([]byte(http2.Preface), http2.Setting{ID: http2.SettingPush})
	at := len(out)
	q := message.Request{Method: []byte("GET"), Path: []byte(path), Host: []byte("bench.test"), Fields: fields("user-agent", "bench", "accept", "*/*")}
	out = new(http2.Encoder).Request(http2.BeginHeaders(out), &q, "https")
	out = http2.FinishHeaders(out, at, 1, true, http2.FrameSizeMin)
	if _, err := rw.Write(out); err != nil {
		return err
	}
	in, w := make([]byte, 8<<10), 0
	for answered := false; !answered; {
		n, err := rw.Read(in[w:])
		if err != nil {
			return err
		}
		w += n
		at, out = 0, out[:0]
		for {
			f, n, err := http2.Next(in[at:w], http2.FrameSizeMin)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			at += n
			switch {
			case f.Type == http2.FrameSettings && !f.Ack():
				out = http2.AppendSettingsAck(out)
			case f.Type == http2.FrameReset, f.Type == http2.FrameGoAway:
				return fmt.Errorf("frame of type %d instead of an answer", f.Type)
			case f.Stream == 1 && f.EndStream() && (f.Type == http2.FrameData || f.Type == http2.FrameHeaders):
				answered = true
			}
		}
		w = copy(in, in[at:w])
		if len(out) > 0 {
			if _, err := rw.Write(out); err != nil {
				return err
			}
		}
	}
	return nil
}
