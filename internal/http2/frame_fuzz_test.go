package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// The Framer of x/net is the oracle for frames. It differs in a few places: it keeps order
// between frames, which is the multiplexer's here, it does not look at what depends on itself,
// and it takes PUSH_PROMISE; and it refuses some frames as errors of the other scope.

// priorityUpdate is a type that x/net knows and we ignore (RFC 9218 §7.1).
const priorityUpdate = 0x10

func FuzzFrame(f *testing.F) {
	for _, b := range [][]byte{
		AppendData(nil, 1, []byte("hello"), true), frame(FrameData, FlagPadded, 1, "\x03hello123"), frame(FrameData, FlagPadded, 1, ""),
		frame(FrameHeaders, FlagPadded|FlagPriority|FlagEndHeaders, 3, "\x02\x00\x00\x00\x01\x10\x82\x8700"), frame(FramePriority, 0, 3, "\x00\x00\x00\x01\x10"),
		AppendReset(nil, 7, Cancel), AppendPing(nil, []byte("12345678"), true), AppendGoAway(nil, 9, EnhanceYourCalm, "why"), AppendWindowUpdate(nil, 0, 9),
		AppendSettings(nil, Setting{SettingWindow, 1}, Setting{SettingPush, 0}), AppendSettingsAck(nil), frame(FrameContinuation, FlagEndHeaders, 1, "\x82"),
		frame(FramePushPromise, 0, 1, "\x00\x00\x00\x02"), frame(0x77, 0xff, 1, "x"),
	} {
		f.Add(b)
	}
	f.Fuzz(checkFrame)
}

// checkFrame reads the first frame of b with both, and writes what was read again.
func checkFrame(t *testing.T, b []byte) {
	ours, n, err := Next(b, FrameSizeMin)
	if n < 0 || n > len(b) || err == nil && n > 0 && n != HeaderLen+ours.Size {
		t.Fatalf("%d of %d bytes", n, len(b))
	}
	if n == 0 && err == nil || ours.Type == priorityUpdate {
		return
	}
	if want := HeaderLen + ours.Size; len(b) < want && err != nil {
		b = append(b[:len(b):len(b)], make([]byte, want-len(b))...) // an error of the header: what follows does not matter
	}
	framer := http2.NewFramer(io.Discard, bytes.NewReader(b))
	framer.SetMaxReadFrameSize(FrameSizeMin)
	framer.AllowIllegalReads = true // the order of frames
	theirs, theirErr := framer.ReadFrame()
	if err != nil {
		e := (*Error)(nil)
		if !errors.As(err, &e) {
			t.Fatalf("%v is no *Error", err)
		}
		if theirErr == nil && e != errPriorityItself && e != errHeadersItself && e != errPush {
			t.Fatalf("%x: %v, but x/net takes it", b, err)
		}
		return
	}
	if ours.Type == FrameSettings { // x/net looks into them at once
		if s := DefaultSettings(); s.Apply(ours.Payload, false) == error(errSettingWindow) {
			return
		}
	}
	if theirErr != nil {
		t.Fatalf("%x: x/net does not take it: %v", b, theirErr)
	}
	if a, b := ours.text(), theirText(theirs); a != b {
		t.Fatalf("%s\nx/net has %s", a, b)
	}
}

// text is what f says, for comparison.
func (f *Frame) text() string {
	s := fmt.Sprintf("type %d flags %x stream %d length %d", f.Type, f.Flags, f.Stream, f.Size)
	switch f.Type {
	case FrameReset:
		return fmt.Sprintf("%s code %d", s, f.Code())
	case FrameWindowUpdate:
		return fmt.Sprintf("%s by %d", s, f.Increment())
	case FrameGoAway:
		last, code, debug := f.Last()
		return fmt.Sprintf("%s last %d code %d %q", s, last, code, debug)
	case FramePriority, FrameSettings:
		return s
	}
	return fmt.Sprintf("%s %q", s, f.Payload)
}

func theirText(f http2.Frame) string {
	h := f.Header()
	s := fmt.Sprintf("type %d flags %x stream %d length %d", h.Type, uint8(h.Flags), h.StreamID, h.Length)
	switch f := f.(type) {
	case *http2.DataFrame:
		return fmt.Sprintf("%s %q", s, f.Data())
	case *http2.HeadersFrame:
		return fmt.Sprintf("%s %q", s, f.HeaderBlockFragment())
	case *http2.ContinuationFrame:
		return fmt.Sprintf("%s %q", s, f.HeaderBlockFragment())
	case *http2.RSTStreamFrame:
		return fmt.Sprintf("%s code %d", s, uint32(f.ErrCode))
	case *http2.WindowUpdateFrame:
		return fmt.Sprintf("%s by %d", s, f.Increment)
	case *http2.GoAwayFrame:
		return fmt.Sprintf("%s last %d code %d %q", s, f.LastStreamID, uint32(f.ErrCode), f.DebugData())
	case *http2.PingFrame:
		return fmt.Sprintf("%s %q", s, f.Data[:])
	case *http2.UnknownFrame:
		return fmt.Sprintf("%s %q", s, f.Payload())
	}
	return s
}

// TestFramesAreWhatXNetWrites: what each writes of the same is the same.
func TestFramesAreWhatXNetWrites(t *testing.T) {
	var buf bytes.Buffer
	fr := http2.NewFramer(&buf, nil)
	ping := [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
	content := []byte(strings.Repeat("content ", 100))
	for _, c := range []struct {
		name  string
		write func() error
		ours  []byte
	}{
		{"DATA", func() error { return fr.WriteData(5, false, content) }, AppendData(nil, 5, content, false)},
		{"DATA, last", func() error { return fr.WriteData(1<<31-1, true, nil) }, AppendData(nil, 1<<31-1, nil, true)},
		{"HEADERS", func() error {
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: content, EndStream: true, EndHeaders: true})
		}, FinishHeaders(append(BeginHeaders(nil), content...), 0, 3, true, FrameSizeMin)},
		{"RST_STREAM", func() error { return fr.WriteRSTStream(3, http2.ErrCodeCancel) }, AppendReset(nil, 3, Cancel)},
		{"SETTINGS", func() error {
			return fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 16384}, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
		}, AppendSettings(nil, Setting{SettingWindow, 16384}, Setting{SettingPush, 0})},
		{"SETTINGS, acknowledged", fr.WriteSettingsAck, AppendSettingsAck(nil)},
		{"PING", func() error { return fr.WritePing(false, ping) }, AppendPing(nil, ping[:], false)},
		{"PING, answer", func() error { return fr.WritePing(true, ping) }, AppendPing(nil, ping[:], true)},
		{"GOAWAY", func() error { return fr.WriteGoAway(7, http2.ErrCodeEnhanceYourCalm, []byte("why")) }, AppendGoAway(nil, 7, EnhanceYourCalm, "why")},
		{"WINDOW_UPDATE", func() error { return fr.WriteWindowUpdate(0, 1<<31-1) }, AppendWindowUpdate(nil, 0, 1<<31-1)},
	} {
		buf.Reset()
		if err := c.write(); err != nil {
			t.Fatal(c.name, err)
		}
		if !bytes.Equal(buf.Bytes(), c.ours) {
			t.Errorf("%s: %x\nx/net has %x", c.name, c.ours, buf.Bytes())
		}
	}
	for code := NoError; code <= HTTP11Required; code++ {
		if theirs := http2.ErrCode(code).String(); code.String() != theirs {
			t.Errorf("code %d is %s, in x/net %s", code, code, theirs)
		}
	}
}
