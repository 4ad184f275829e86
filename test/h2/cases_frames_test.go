package h2

// Frames, streams and flow control: RFC 9113 §3 to §6.

import (
	"strings"

	"golang.org/x/net/http2"
)

const (
	protocolError    = http2.ErrCodeProtocol
	frameSize        = http2.ErrCodeFrameSize
	flowControl      = http2.ErrCodeFlowControl
	streamClosed     = http2.ErrCodeStreamClosed
	compressionError = http2.ErrCodeCompression
)

// ask sends a GET that is complete.
func ask(path string, fields ...string) func(c *peer) {
	return func(c *peer) { c.head(1, true, get(path, fields...)...) }
}

// begin sends the head of a POST, and what comes behind it.
func begin(path string, then func(c *peer), fields ...string) func(c *peer) {
	return func(c *peer) {
		c.head(1, false, post(path, fields...)...)
		then(c)
	}
}

// raw sends a frame.
func raw(kind http2.FrameType, flags http2.Flags, id uint32, payload string) func(c *peer) {
	return func(c *peer) { c.frame(kind, flags, id, []byte(payload)...) }
}

// answeredFirst sends a GET on stream 1, and something once that has ended.
func answeredFirst(then func(c *peer)) func(c *peer) {
	return func(c *peer) {
		ask("/fast")(c)
		c.finished(1)
		then(c)
	}
}

// split sends the head of a GET in that many frames.
func split(n int, between func(c *peer)) func(c *peer) {
	return func(c *peer) {
		block := c.encode(get("/fast")...)
		size := len(block)/n + 1
		c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:size], EndStream: true})
		for block = block[size:]; ; block = block[size:] {
			size = min(size, len(block))
			if between != nil {
				between(c)
			}
			c.framer.WriteContinuation(1, size == len(block), block[:size])
			if size == len(block) {
				return
			}
		}
	}
}

var frames = []rule{
	{"4.1", "an unknown frame on the connection", raw(0x20, 0xff, 0, "abc"), goesOn},
	{"4.1", "an unknown frame on a stream that is idle", raw(0x20, 0, 7, ""), goesOn},
	{"4.1", "an unknown frame within a request", begin("/echo", func(c *peer) { raw(0x20, 0, 1, "x")(c); c.framer.WriteData(1, true, []byte("a")) }), echoed("a")},
	{"4.1", "flags that mean nothing", raw(http2.FramePing, 0xfe, 0, "12345678"), goesOn},
	{"4.1", "the reserved bit of a stream is set", func(c *peer) {
		c.framer.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 1<<31|1, c.encode(get("/fast")...))
	}, answered("200", "/fast")},
	{"4.2", "DATA of the greatest size", begin("/echo", func(c *peer) { c.framer.WriteData(1, true, []byte(strings.Repeat("a", 16384))) }), echoed(strings.Repeat("a", 16384))},
	{"4.2", "DATA above the greatest size", begin("/echo", func(c *peer) { c.framer.WriteData(1, true, make([]byte, 16385)) }), resetsOrEnds(frameSize)},
	{"4.2", "HEADERS above the greatest size", raw(http2.FrameHeaders, 5, 1, strings.Repeat("\x82", 16385)), ends(frameSize)},
	{"4.2", "SETTINGS above the greatest size", raw(http2.FrameSettings, 0, 0, strings.Repeat("\x00\x04\x00\x00\x10\x00", 3000)), ends(frameSize)},
	{"4.2", "an unknown frame above the greatest size", raw(0x20, 0, 0, strings.Repeat("x", 16385)), ends(frameSize)},
	{"4.3", "a block that decodes to nothing known", raw(http2.FrameHeaders, 5, 1, "\xff\xff\xff\xff\xff\xff"), ends(compressionError)},
	{"4.3", "a block that ends within a field", raw(http2.FrameHeaders, 5, 1, "\x82\x87\x40\x05a"), ends(compressionError)},
	{"4.3", "a block in two frames", split(2, nil), answered("200", "/fast")},
	{"4.3", "a block in seven frames", split(7, nil), answered("200", "/fast")},
	{"4.3", "PING within a block", split(2, func(c *peer) { c.framer.WritePing(false, [8]byte{}) }), ends(protocolError)},
	{"4.3", "an unknown frame within a block", split(2, raw(0x20, 0, 0, "")), ends(protocolError)},
	{"4.3", "HEADERS of another stream within a block", split(2, func(c *peer) { c.head(3, true, get("/fast")...) }), ends(protocolError)},
	{"4.3", "DATA of the same stream within a block", split(2, raw(http2.FrameData, 0, 1, "a")), ends(protocolError)},

	{"5.1", "DATA of an idle stream", raw(http2.FrameData, 1, 1, "a"), ends(protocolError)},
	{"5.1", "RST_STREAM of an idle stream", func(c *peer) { c.framer.WriteRSTStream(1, http2.ErrCodeCancel) }, ends(protocolError)},
	{"5.1", "WINDOW_UPDATE of an idle stream", func(c *peer) { c.number(http2.FrameWindowUpdate, 1, 1) }, ends(protocolError)},
	{"5.1", "CONTINUATION of an idle stream", raw(http2.FrameContinuation, 4, 1, "\x82"), ends(protocolError)},
	{"5.1", "PRIORITY of an idle stream", func(c *peer) { c.framer.WritePriority(9, http2.PriorityParam{Weight: 1}) }, goesOn},
	{"5.1", "WINDOW_UPDATE of a stream that has ended", answeredFirst(func(c *peer) { c.number(http2.FrameWindowUpdate, 1, 9) }), goesOn},
	{"5.1", "RST_STREAM of a stream that has ended", answeredFirst(func(c *peer) { c.framer.WriteRSTStream(1, http2.ErrCodeCancel) }), goesOn},
	{"5.1", "PRIORITY of a stream that has ended", answeredFirst(func(c *peer) { c.framer.WritePriority(1, http2.PriorityParam{Weight: 1}) }), goesOn},
	{"5.1", "DATA of a stream that has ended", answeredFirst(raw(http2.FrameData, 1, 1, "a")), resetsOrEnds(streamClosed)},
	{"5.1", "HEADERS of a stream that has ended", answeredFirst(func(c *peer) { c.head(1, true, get("/fast")...) }), resetsOrEnds(streamClosed)},
	{"5.1", "DATA behind END_STREAM", func(c *peer) { ask("/slow")(c); raw(http2.FrameData, 1, 1, "a")(c) }, resetsOrEnds(streamClosed)},
	{"5.1", "HEADERS behind END_STREAM", func(c *peer) { ask("/slow")(c); c.head(1, true, get("/fast")...) }, resetsOrEnds(streamClosed)},
	{"5.1", "HEADERS behind RST_STREAM", begin("/echo", func(c *peer) { c.framer.WriteRSTStream(1, http2.ErrCodeCancel); c.head(1, true, "check", "1") }), resetsOrEnds(streamClosed)},
	{"5.1", "DATA behind RST_STREAM", begin("/echo", func(c *peer) { c.framer.WriteRSTStream(1, http2.ErrCodeCancel); raw(http2.FrameData, 1, 1, "a")(c) }), resetsOrEnds(streamClosed)},
	{"5.1.1", "a stream of an even number", func(c *peer) { c.head(2, true, get("/fast")...) }, ends(protocolError)},
	{"5.1.1", "a stream below the highest", func(c *peer) { c.head(5, true, get("/fast")...); c.finished(5); c.head(3, true, get("/fast")...) }, ends(protocolError, streamClosed)},
	{"5.1.1", "a stream that leaves numbers out", func(c *peer) { ask("/fast")(c); c.head(1001, true, get("/fast")...); c.finished(1001) }, answered("200", "/fast")},
	{"5.1.2", "more streams than there may be", func(c *peer) {
		for i := range uint32(100) {
			c.head(2*i+3, true, get("/slow")...)
		}
		c.head(1001, true, get("/fast")...)
	}, func(c *peer) error {
		a := c.finished(1001)
		if !a.reset || a.code != http2.ErrCodeRefusedStream && a.code != protocolError {
			return ends(protocolError, http2.ErrCodeRefusedStream)(c)
		}
		c.finished(201)
		return c.alive(probed)
	}},
	{"5.3.1", "a stream that depends on itself", func(c *peer) { ask("/slow")(c); raw(http2.FramePriority, 0, 1, "\x00\x00\x00\x01\x10")(c) }, resetsOrEnds(protocolError)},
	{"5.5", "an unknown setting", func(c *peer) { c.framer.WriteSettings(http2.Setting{ID: 0x77, Val: 1}) }, goesOn},
	{"5.5", "an unknown code in RST_STREAM", begin("/never", func(c *peer) { c.framer.WriteRSTStream(1, 0x7777) }), goesOn},

	{"6.1", "DATA of stream 0", raw(http2.FrameData, 0, 0, "a"), ends(protocolError)},
	{"6.1", "padding", begin("/echo", raw(http2.FrameData, 9, 1, "\x03abc\x00\x00\x00")), echoed("abc")},
	{"6.1", "padding that is all of it", begin("/echo", func(c *peer) { raw(http2.FrameData, 8, 1, "\x02\x00\x00")(c); raw(http2.FrameData, 1, 1, "a")(c) }), echoed("a")},
	{"6.1", "more padding than there is", begin("/echo", raw(http2.FrameData, 9, 1, "\x09abc")), ends(protocolError)},
	{"6.1", "padding as long as the payload", begin("/echo", raw(http2.FrameData, 9, 1, "\x04abc")), ends(protocolError)},
	{"6.1", "padded and empty", begin("/echo", raw(http2.FrameData, 9, 1, "")), ends(protocolError, frameSize)},
	{"6.1", "END_STREAM in an empty frame", begin("/echo", func(c *peer) { raw(http2.FrameData, 0, 1, "ab")(c); raw(http2.FrameData, 1, 1, "")(c) }), echoed("ab")},
	{"6.1", "a byte in each frame", begin("/echo", func(c *peer) {
		for range 300 {
			raw(http2.FrameData, 0, 1, "a")(c)
		}
		raw(http2.FrameData, 1, 1, "")(c)
	}), echoed(strings.Repeat("a", 300))},
	{"6.2", "HEADERS of stream 0", func(c *peer) { c.head(0, true, get("/fast")...) }, ends(protocolError)},
	{"6.2", "padding and priority", func(c *peer) {
		b := append([]byte{2, 0, 0, 0, 0, 16}, c.encode(get("/fast")...)...)
		c.frame(http2.FrameHeaders, 0x1|0x4|0x8|0x20, 1, append(b, 0, 0)...)
	}, answered("200", "/fast")},
	{"6.2", "more padding than there is", raw(http2.FrameHeaders, 0xd, 1, "\x30\x82"), ends(protocolError)},
	{"6.2", "priority that is cut short", raw(http2.FrameHeaders, 0x25, 1, "\x00\x00"), ends(protocolError, frameSize)},
	{"6.3", "PRIORITY of stream 0", raw(http2.FramePriority, 0, 0, "\x00\x00\x00\x01\x10"), ends(protocolError)},
	{"6.3", "PRIORITY of four bytes", func(c *peer) { ask("/slow")(c); raw(http2.FramePriority, 0, 1, "\x00\x00\x00\x03")(c) }, resetsOrEnds(frameSize)},
	{"6.4", "RST_STREAM of stream 0", raw(http2.FrameRSTStream, 0, 0, "\x00\x00\x00\x08"), ends(protocolError)},
	{"6.4", "RST_STREAM of three bytes", begin("/echo", raw(http2.FrameRSTStream, 0, 1, "\x00\x00\x08")), ends(frameSize)},
	{"6.4", "RST_STREAM of five bytes", begin("/echo", raw(http2.FrameRSTStream, 0, 1, "\x00\x00\x00\x08\x00")), ends(frameSize)},
	{"6.4", "RST_STREAM with NO_ERROR", begin("/never", func(c *peer) { c.framer.WriteRSTStream(1, http2.ErrCodeNo) }), goesOn},
	{"6.5", "SETTINGS of a stream", raw(http2.FrameSettings, 0, 1, ""), ends(protocolError)},
	{"6.5", "SETTINGS of seven bytes", raw(http2.FrameSettings, 0, 0, "\x00\x04\x00\x00\x10\x00\x00"), ends(frameSize)},
	{"6.5", "an acknowledgement with settings", raw(http2.FrameSettings, 1, 0, "\x00\x04\x00\x00\x10\x00"), ends(frameSize)},
	{"6.5.2", "ENABLE_PUSH of 2", func(c *peer) { c.framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 2}) }, ends(protocolError)},
	{"6.5.2", "INITIAL_WINDOW_SIZE of 2^31", func(c *peer) { c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}) }, ends(flowControl)},
	{"6.5.2", "MAX_FRAME_SIZE of 16,383", func(c *peer) { c.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 16383}) }, ends(protocolError)},
	{"6.5.2", "MAX_FRAME_SIZE of 2^24", func(c *peer) { c.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 24}) }, ends(protocolError)},
	{"6.5.2", "HEADER_TABLE_SIZE of 0", func(c *peer) {
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
		c.decoder.SetAllowedMaxDynamicTableSize(0)
		ask("/fast")(c)
	}, answered("200", "/fast")},
	{"6.5.2", "HEADER_TABLE_SIZE of 2^32-1", func(c *peer) {
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 1<<32 - 1})
		ask("/fast")(c)
	}, answered("200")},
	{"6.5.3", "the last of two values counts", func(c *peer) {
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 9})
		ask("/fast")(c)
	}, answered("200", "/fast")},
	{"6.6", "PUSH_PROMISE of a client", raw(http2.FramePushPromise, 4, 1, "\x00\x00\x00\x02\x82"), ends(protocolError)},
	{"6.7", "PING of a stream", raw(http2.FramePing, 0, 1, "12345678"), ends(protocolError)},
	{"6.7", "PING of six bytes", raw(http2.FramePing, 0, 0, "123456"), ends(frameSize)},
	{"6.7", "an answer to no PING", raw(http2.FramePing, 1, 0, "12345678"), goesOn},
	{"6.8", "GOAWAY of a stream", raw(http2.FrameGoAway, 0, 1, "\x00\x00\x00\x00\x00\x00\x00\x00"), ends(protocolError)},
	{"6.8", "GOAWAY of seven bytes", raw(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00"), ends(frameSize)},
	{"6.8", "GOAWAY of a client", func(c *peer) { ask("/slow")(c); c.framer.WriteGoAway(0, http2.ErrCodeNo, []byte("bye")) }, func(c *peer) error {
		if a := c.finished(1); a.status != "200" || !a.over {
			return closes(c)
		}
		return nil
	}},
	{"6.9", "an update of 0 of the connection", func(c *peer) { c.number(http2.FrameWindowUpdate, 0, 0) }, ends(protocolError)},
	{"6.9", "an update of 0 of a stream", func(c *peer) { ask("/slow")(c); c.number(http2.FrameWindowUpdate, 1, 0) }, resetsOrEnds(protocolError)},
	{"6.9", "an update of three bytes", raw(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x01"), ends(frameSize)},
	{"6.9.1", "the window of the connection overflows", func(c *peer) {
		c.number(http2.FrameWindowUpdate, 0, 1<<31-1)
		c.number(http2.FrameWindowUpdate, 0, 1<<31-1)
	}, ends(flowControl)},
	{"6.9.1", "the window of a stream overflows", func(c *peer) { ask("/slow")(c); c.number(http2.FrameWindowUpdate, 1, 1<<31-1) }, resetsOrEnds(flowControl)},
	{"6.9.2", "settings have a window overflow", func(c *peer) {
		ask("/slow")(c)
		c.number(http2.FrameWindowUpdate, 1, 1<<31-70000)
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	}, ends(flowControl)},
	{"6.9.2", "a window of 0 holds content back", func(c *peer) {
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		ask("/fast")(c)
	}, func(c *peer) error {
		a := c.answer(1)
		if !c.read(patience, func() bool { return a.status != "" }) {
			return closes(c)
		}
		if c.framer.WritePing(false, [8]byte{}); c.read(patience, func() bool { return c.acks > 0 }) && len(a.content) > 0 {
			return closes(c)
		}
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3})
		if !c.read(patience, func() bool { return len(a.content) == 3 }) {
			return closes(c)
		}
		c.number(http2.FrameWindowUpdate, 1, 1000)
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
		return answered("200", "/fast")(c)
	}},
	{"6.9.2", "settings make a window negative", func(c *peer) {
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 20000})
		ask("/big/40000")(c)
		c.read(patience, func() bool { return len(c.answer(1).content) == 20000 })
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10000})
		c.number(http2.FrameWindowUpdate, 1, 10000) // to 0
		c.number(http2.FrameWindowUpdate, 1, 20000)
	}, answered("200")},
	{"6.10", "CONTINUATION without HEADERS", answeredFirst(raw(http2.FrameContinuation, 4, 1, "\x82")), ends(protocolError)},
	{"6.10", "CONTINUATION behind END_HEADERS", func(c *peer) { ask("/slow")(c); raw(http2.FrameContinuation, 4, 1, "\x82")(c) }, ends(protocolError)},
	{"6.10", "CONTINUATION of stream 0", split(2, raw(http2.FrameContinuation, 0, 0, "")), ends(protocolError)},
	{"6.10", "an empty CONTINUATION", split(2, raw(http2.FrameContinuation, 0, 1, "")), answered("200", "/fast")},
}
