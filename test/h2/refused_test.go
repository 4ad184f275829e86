package h2

// An endpoint with HTTP/2 that declines requests before it begins with them: what cannot be repeated
// is declined to the client, too, so that the client may repeat it.

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/record"
)

// declines serves a connection as an endpoint that refuses every request, one to /goaway by GOAWAY,
// and sends 103 before it refuses one to /interim.
func declines(s io.ReadWriteCloser) {
	defer s.Close()
	if _, err := io.ReadFull(s, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer, decoder := http2.NewFramer(s, s), hpack.NewDecoder(4096, nil)
	framer.WriteSettings()
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			return
		}
		head, ok := f.(*http2.HeadersFrame)
		if !ok {
			continue
		}
		fields, _ := decoder.DecodeFull(head.HeaderBlockFragment())
		switch field(fields, ":path") {
		case "/goaway":
			framer.WriteGoAway(0, http2.ErrCodeNo, nil)
			return
		case "/interim":
			var block bytes.Buffer
			hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "103"})
			framer.WriteHeaders(http2.HeadersFrameParam{StreamID: head.StreamID, BlockFragment: block.Bytes(), EndHeaders: true})
		}
		framer.WriteRSTStream(head.StreamID, http2.ErrCodeRefusedStream)
	}
}

func TestARefusalIsPassedOn(t *testing.T) {
	inWorlds(t, nil, func(w *world) error {
		l := w.Listen("10.0.0.2:80")
		w.Daemon("endpoint", func() {
			for {
				s, err := l.Accept()
				if err != nil {
					return
				}
				w.Daemon("connection of the endpoint", func() { declines(s) })
			}
		})
		log := record.NewSink(64)
		cfg := configuration("h2c://10.0.0.2:80")
		cfg.AccessLog.Path = "-"
		proxy, err := core.New(w.Runtime(), cfg, core.Options{
			Logger: slog.New(slog.DiscardHandler), Sink: func(config.AccessLog) *record.Sink { return log },
		})
		if err != nil {
			return err
		}
		defer proxy.Close()
		defer proxy.Hurry()
		first := w.proxy
		w.proxy = proxy
		defer func() { w.proxy = first }()
		return refusals(w, log)
	})
}

func refusals(w *world, log *record.Sink) error {
	c, err := dial(w, false)
	if err != nil {
		return err
	}
	defer c.wire.Close()
	for i, path := range []string{"/get", "/goaway", "/post"} {
		id, began := uint32(2*i+1), w.Now()
		if path != "/post" {
			c.head(id, true, get(path)...)
		} else {
			c.head(id, false, post(path)...)
			for range 8 { // more than is kept for another attempt
				c.framer.WriteData(id, false, make([]byte, 10<<10))
				w.Sleep(time.Millisecond)
			}
		}
		a := c.finished(id)
		if !a.reset || a.code != http2.ErrCodeRefusedStream || a.status != "" {
			return fmt.Errorf("%s: %s", path, a)
		}
		if took := w.Now() - began; path != "/post" && took < 50*time.Millisecond {
			return fmt.Errorf("%s was given up after %v", path, took)
		}
	}
	c.head(9, true, get("/interim")...)
	if a := c.finished(9); a.status != "503" || field(a.fields, "poise-reason") != "endpoint-refused" {
		return fmt.Errorf("behind an interim response: %s", a)
	}
	if err := c.wire.CloseWrite(); err != nil {
		return err
	}
	w.Sleep(time.Second)
	var lines strings.Builder
	log.Drain(&lines)
	if n := strings.Count(lines.String(), `"status":0,"reason":"endpoint-refused"`); n != 3 {
		return fmt.Errorf("the access log has %d refusals: %s", n, lines.String())
	}
	return nil
}
