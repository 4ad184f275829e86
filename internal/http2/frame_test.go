package http2

import (
	"bytes"
	"strings"
	"testing"
)

// frame makes a frame whose header is as told, whatever it is.
func frame(t FrameType, flags Flags, stream uint32, payload string) []byte {
	return append(AppendHeader(nil, len(payload), t, flags, stream), payload...)
}

// TestFrameChecks: what is wrong with a frame by itself, with the section that says so.
func TestFrameChecks(t *testing.T) {
	long := strings.Repeat("a", FrameSizeMin+1)
	for _, c := range []struct {
		why   string
		frame []byte
		want  *Error
	}{
		{"RFC 9113 §4.2: longer than our SETTINGS allow", frame(FrameData, 0, 1, long), errFrameSize},
		{"RFC 9113 §4.2: of an unknown type, too", frame(0x77, 0, 1, long), errFrameSize},
		{"RFC 9113 §6.1: DATA on stream 0", frame(FrameData, 0, 0, "a"), errStreamZero},
		{"RFC 9113 §6.1: padding as long as the payload", frame(FrameData, FlagPadded, 1, "\x05hello"[:5]), errPadding},
		{"RFC 9113 §6.1: no room for the length of the padding", frame(FrameData, FlagPadded, 1, ""), errPaddingMissing},
		{"RFC 9113 §6.2: HEADERS on stream 0", frame(FrameHeaders, FlagEndHeaders, 0, "\x82"), errStreamZero},
		{"RFC 9113 §6.2: padding as long as the payload", frame(FrameHeaders, FlagPadded, 1, "\x02\x82"), errPadding},
		{"RFC 9113 §6.2: no room for the priority", frame(FrameHeaders, FlagPriority, 1, "\x00\x00\x00\x03"), errHeadersShort},
		{"RFC 9113 §6.2: no room for the priority beside padding", frame(FrameHeaders, FlagPriority|FlagPadded, 1, "\x01\x00\x00\x00\x03\x00"), errHeadersShort},
		{"RFC 7540 §5.3.1: HEADERS that depend on themselves", frame(FrameHeaders, FlagPriority, 3, "\x80\x00\x00\x03\x10"), errHeadersItself},
		{"RFC 9113 §6.3: PRIORITY on stream 0", frame(FramePriority, 0, 0, "\x00\x00\x00\x01\x10"), errStreamZero},
		{"RFC 9113 §6.3: PRIORITY of 4 bytes", frame(FramePriority, 0, 1, "\x00\x00\x00\x03"), errPrioritySize},
		{"RFC 7540 §5.3.1: PRIORITY that depends on itself", frame(FramePriority, 0, 5, "\x00\x00\x00\x05\x10"), errPriorityItself},
		{"RFC 9113 §6.4: RST_STREAM on stream 0", frame(FrameReset, 0, 0, "\x00\x00\x00\x08"), errStreamZero},
		{"RFC 9113 §6.4: RST_STREAM of 3 bytes", frame(FrameReset, 0, 1, "\x00\x00\x08"), errResetSize},
		{"RFC 9113 §6.5: SETTINGS on a stream", frame(FrameSettings, 0, 1, ""), errStreamNotZero},
		{"RFC 9113 §6.5: an acknowledgement with settings", frame(FrameSettings, FlagAck, 0, "\x00\x02\x00\x00\x00\x00"), errSettingsAck},
		{"RFC 9113 §6.5: SETTINGS of 5 bytes", frame(FrameSettings, 0, 0, "\x00\x02\x00\x00\x00"), errSettingsSize},
		{"RFC 9113 §6.6: PUSH_PROMISE", frame(FramePushPromise, FlagEndHeaders, 1, "\x00\x00\x00\x02\x82"), errPush},
		{"RFC 9113 §6.7: PING on a stream", frame(FramePing, 0, 1, "12345678"), errStreamNotZero},
		{"RFC 9113 §6.7: PING of 7 bytes", frame(FramePing, 0, 0, "1234567"), errPingSize},
		{"RFC 9113 §6.8: GOAWAY on a stream", frame(FrameGoAway, 0, 1, "12345678"), errStreamNotZero},
		{"RFC 9113 §6.8: GOAWAY of 7 bytes", frame(FrameGoAway, 0, 0, "1234567"), errGoAwaySize},
		{"RFC 9113 §6.9: WINDOW_UPDATE of 3 bytes", frame(FrameWindowUpdate, 0, 1, "\x00\x00\x01"), errUpdateSize},
		{"RFC 9113 §6.9: by 0", frame(FrameWindowUpdate, 0, 1, "\x80\x00\x00\x00"), errUpdateZero},
		{"RFC 9113 §6.9: by 0, of the connection", frame(FrameWindowUpdate, 0, 0, "\x00\x00\x00\x00"), errUpdateZeroConn},
		{"RFC 9113 §6.10: CONTINUATION on stream 0", frame(FrameContinuation, FlagEndHeaders, 0, "\x82"), errStreamZero},
	} {
		f, n, err := next(c.frame, FrameSizeMin)
		if err != c.want {
			t.Errorf("%s: %v, want %v", c.why, err, c.want)
			continue
		}
		if !err.Connection && (n != len(c.frame) || f.Type != FrameType(c.frame[3])) {
			t.Errorf("%s: an error of the stream takes %d of %d bytes", c.why, n, len(c.frame))
		}
		if !err.Connection || err == errFrameSize {
			continue
		}
		// However it arrives, it is either not told yet or told alike.
		for i := range c.frame {
			if _, n, err := next(c.frame[:i], FrameSizeMin); n != 0 || err != nil && err != c.want {
				t.Errorf("%s: after %d bytes %d, %v", c.why, i, n, err)
			}
		}
	}
}

// TestFrames: what a sound frame says.
func TestFrames(t *testing.T) {
	for _, c := range []struct {
		name    string
		frame   []byte
		payload string
		says    func(f *Frame) bool
	}{
		{"DATA", AppendData(nil, 1, []byte("hello"), true), "hello", func(f *Frame) bool { return f.Type == FrameData && f.EndStream() && f.Stream == 1 && f.Size == 5 }},
		{"DATA, empty", AppendData(nil, 1, nil, false), "", func(f *Frame) bool { return !f.EndStream() }},
		{"DATA, padded", frame(FrameData, FlagPadded, 1, "\x03hello123"), "hello", func(f *Frame) bool { return f.Size == 9 }},
		{"DATA, nothing but padding", frame(FrameData, FlagPadded, 1, "\x03123"), "", func(f *Frame) bool { return f.Size == 4 }},
		{"HEADERS, padded, with priority", frame(FrameHeaders, FlagPadded|FlagPriority|FlagEndHeaders, 3, "\x02\x00\x00\x00\x01\x10\x82\x8700"), "\x82\x87",
			func(f *Frame) bool { return f.EndHeaders() && !f.EndStream() }},
		{"the reserved bit of a stream", frame(FrameHeaders, FlagEndHeaders, 1<<31|5, "\x82"), "\x82", func(f *Frame) bool { return f.Stream == 5 }},
		{"RST_STREAM", AppendReset(nil, 7, Cancel), "\x00\x00\x00\x08", func(f *Frame) bool { return f.Code() == Cancel && f.Stream == 7 }},
		{"PING", AppendPing(nil, []byte("12345678"), false), "12345678", func(f *Frame) bool { return !f.Ack() }},
		{"PING, answer", AppendPing(nil, []byte("12345678"), true), "12345678", func(f *Frame) bool { return f.Ack() }},
		{"GOAWAY", AppendGoAway(nil, 9, EnhanceYourCalm, "why"), "\x00\x00\x00\x09\x00\x00\x00\x0bwhy", func(f *Frame) bool {
			last, code, debug := f.Last()
			return last == 9 && code == EnhanceYourCalm && string(debug) == "why"
		}},
		{"WINDOW_UPDATE", AppendWindowUpdate(nil, 0, WindowMax), "\x7f\xff\xff\xff", func(f *Frame) bool { return f.Increment() == WindowMax }},
		{"SETTINGS, acknowledged", AppendSettingsAck(nil), "", func(f *Frame) bool { return f.Ack() }},
		{"an unknown type, on any stream", frame(0x77, 0xff, 0, "x"), "x", func(f *Frame) bool { return f.Type == 0x77 }},
	} {
		for i := range c.frame {
			f, n, err := Next(c.frame[:i], FrameSizeMin)
			if n != 0 || err != nil || f.Payload != nil || i >= HeaderLen && f.Size != len(c.frame)-HeaderLen {
				t.Errorf("%s: after %d bytes %+v, %d, %v", c.name, i, f, n, err)
			}
		}
		f, n, err := Next(append(c.frame[:len(c.frame):len(c.frame)], "more"...), FrameSizeMin)
		if err != nil || n != len(c.frame) || string(f.Payload) != c.payload || !c.says(&f) {
			t.Errorf("%s: %+v, %d of %d bytes, %v", c.name, f, n, len(c.frame), err)
		}
	}
}

// TestHeadersAreCut: blocks of all lengths about those at which frames are full.
func TestHeadersAreCut(t *testing.T) {
	const most = 10
	before := []byte("before")
	for size := range 4*most + 2 {
		block := make([]byte, size)
		for i := range block {
			block[i] = byte(i + 1)
		}
		out := append(BeginHeaders(before[:len(before):len(before)]), block...)
		out = FinishHeaders(out, len(before), 5, true, most)
		if !bytes.HasPrefix(out, before) {
			t.Fatalf("%d bytes: what was before is written over", size)
		}
		var got []byte
		frames := 0
		for b, ended := out[len(before):], false; !ended; frames++ {
			f, n, err := Next(b, most)
			if err != nil || n == 0 || f.Stream != 5 || (f.Type == FrameHeaders) != (frames == 0) || f.Type != FrameHeaders && f.Type != FrameContinuation {
				t.Fatalf("%d bytes, frame %d: %+v, %v", size, frames, f, err)
			}
			if f.Type == FrameHeaders && !f.EndStream() {
				t.Errorf("%d bytes: END_STREAM is missing", size)
			}
			got, b, ended = append(got, f.Payload...), b[n:], f.EndHeaders()
			if ended && len(b) > 0 {
				t.Errorf("%d bytes: %d behind the block", size, len(b))
			}
		}
		if want := max(1, (size+most-1)/most); !bytes.Equal(got, block) || frames != want {
			t.Errorf("%d bytes: %x in %d frames, want %d", size, got, frames, want)
		}
	}
}

func TestSetEndStream(t *testing.T) {
	b := AppendData(AppendPing(nil, []byte("12345678"), false), 1, []byte("a"), false)
	SetEndStream(b, HeaderLen+8)
	if f, _, err := Next(b[HeaderLen+8:], FrameSizeMin); err != nil || !f.EndStream() || string(f.Payload) != "a" {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestPreface(t *testing.T) {
	for i := range len(Preface) + 1 {
		if ok, err := HasPreface([]byte(Preface)[:i]); err != nil || ok != (i == len(Preface)) {
			t.Errorf("%d bytes: %v, %v", i, ok, err)
		}
		if i == len(Preface) {
			break
		}
		b := []byte(Preface)[:i+1]
		b[i] ^= 1
		if ok, err := HasPreface(b); ok || err == nil {
			t.Errorf("%q is taken for a preface", b)
		}
	}
	if ok, err := HasPreface([]byte(Preface + "more")); !ok || err != nil {
		t.Errorf("with more behind it: %v, %v", ok, err)
	}
}

func TestSettings(t *testing.T) {
	payload := func(s ...Setting) []byte { return AppendSettings(nil, s...)[HeaderLen:] }
	for _, c := range []struct {
		why    string
		server bool
		in     []Setting
		want   *Error
	}{
		{"RFC 9113 §6.5.2: ENABLE_PUSH 2", false, []Setting{{SettingPush, 2}}, errSettingPush},
		{"RFC 9113 §6.5.2: ENABLE_PUSH 1 of a server", true, []Setting{{SettingPush, 1}}, errSettingPush},
		{"ENABLE_PUSH 1 of a client", false, []Setting{{SettingPush, 1}}, nil},
		{"RFC 9113 §6.5.2: INITIAL_WINDOW_SIZE 2^31", false, []Setting{{SettingWindow, 1 << 31}}, errSettingWindow},
		{"INITIAL_WINDOW_SIZE 2^31-1", false, []Setting{{SettingWindow, WindowMax}}, nil},
		{"RFC 9113 §6.5.2: MAX_FRAME_SIZE below 2^14", false, []Setting{{SettingFrameSize, FrameSizeMin - 1}}, errSettingFrame},
		{"RFC 9113 §6.5.2: MAX_FRAME_SIZE above 2^24-1", false, []Setting{{SettingFrameSize, FrameSizeMax + 1}}, errSettingFrame},
		{"RFC 8441 §3: ENABLE_CONNECT_PROTOCOL 2", true, []Setting{{SettingConnect, 2}}, errSettingConnect},
		{"RFC 8441 §3: taken back", true, []Setting{{SettingConnect, 1}, {SettingConnect, 0}}, errSettingTakeBack},
		{"an unknown setting", false, []Setting{{0xfafa, 12}}, nil},
		{"more than any peer needs", false, make([]Setting, settingsMax+1), errSettingsMany},
	} {
		s := DefaultSettings()
		err := s.Apply(payload(c.in...), c.server)
		if c.want == nil && err != nil || c.want != nil && err != error(c.want) {
			t.Errorf("%s: %v, want %v", c.why, err, c.want)
		}
	}
	s := DefaultSettings()
	in := payload(Setting{SettingTableSize, 0}, Setting{SettingMaxStreams, 1}, Setting{SettingTableSize, 8192}, Setting{SettingWindow, 0},
		Setting{SettingFrameSize, FrameSizeMax}, Setting{SettingHeadSize, 10}, Setting{SettingPush, 0}, Setting{SettingConnect, 1}, Setting{SettingMaxStreams, 7})
	want := Settings{TableSize: 8192, TableLeast: 0, MaxStreams: 7, Window: 0, FrameSize: FrameSizeMax, HeadSize: 10, Push: false, Connect: true}
	if err := s.Apply(in, true); err != nil || s != want {
		t.Errorf("%+v, %v", s, err)
	}
	if err := s.Apply(nil, true); err != nil || s.TableLeast != 8192 {
		t.Errorf("of an empty frame: %+v, %v", s, err)
	}
}
