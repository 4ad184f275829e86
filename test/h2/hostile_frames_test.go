package h2

// Frames of an endpoint: RFC 9113 §3 to §6, and RFC 7541.

import (
	"strings"

	"golang.org/x/net/http2"
)

// sends sends a frame on stream 0; of sends one on the stream of the request.
func sends(kind http2.FrameType, flags http2.Flags, payload string) func(h *peer, id uint32) {
	return func(h *peer, _ uint32) { h.frame(kind, flags, 0, []byte(payload)...) }
}

func of(kind http2.FrameType, flags http2.Flags, payload string) func(h *peer, id uint32) {
	return func(h *peer, id uint32) { h.frame(kind, flags, id, []byte(payload)...) }
}

// on sends a frame on any stream.
func on(id uint32, kind http2.FrameType, flags http2.Flags, payload string) func(h *peer, id uint32) {
	return func(h *peer, _ uint32) { h.frame(kind, flags, id, []byte(payload)...) }
}

// settings sends SETTINGS.
func settings(id http2.SettingID, value uint32) func(h *peer, _ uint32) {
	return func(h *peer, _ uint32) { h.framer.WriteSettings(http2.Setting{ID: id, Val: value}) }
}

// pieces sends the head of a response in that many frames, with something between them.
func pieces(n int, between func(h *peer, id uint32)) func(h *peer, id uint32) {
	return func(h *peer, id uint32) {
		b := h.encode(":status", "200", "content-length", "4", "long-name", strings.Repeat("value", 20))
		size := len(b)/n + 1
		h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b[:size]})
		for b = b[size:]; len(b) > 0; b = b[size:] {
			if size = min(size, len(b)); between != nil {
				between(h, id)
			}
			h.framer.WriteContinuation(id, size == len(b), b[:size])
		}
		h.framer.WriteData(id, true, []byte("fine"))
	}
}

const (
	altSvc         = http2.FrameType(0xa)
	origin         = http2.FrameType(0xc)
	priorityUpdate = http2.FrameType(0x10)
)

var badFrames = []answering{
	{section: "4.1", name: "an unknown frame on the connection", play: then(sends(0x20, 0xff, "abc"), ok()), want: passes("fine")},
	{section: "4.1", name: "an unknown frame on the stream", play: then(of(0x20, 0, "abc"), ok()), want: passes("fine")},
	{section: "4.1", name: "an unknown frame on an idle stream", play: then(on(77, 0x20, 0, ""), ok()), want: passes("fine")},
	{section: "4.1", name: "ALTSVC", play: then(sends(altSvc, 0, "\x00\x01ah2=\":443\""), of(altSvc, 0, "\x00\x00h2=\":443\""), ok()), want: passes("fine")},
	{section: "4.1", name: "ORIGIN", play: then(sends(origin, 0, "\x00\x09https://a"), ok()), want: passes("fine")},
	{section: "4.1", name: "PRIORITY_UPDATE", play: then(sends(priorityUpdate, 0, "\x00\x00\x00\x01u=1"), ok()), want: passes("fine")},
	{section: "4.1", name: "flags that mean nothing", play: then(sends(http2.FramePing, 0xfe, "12345678"), ok()), want: passes("fine")},
	{section: "4.1", name: "the reserved bit of a stream is set", play: func(h *peer, id uint32) {
		h.frame(http2.FrameHeaders, 4, id|1<<31, h.encode(":status", "200")...)
		data("fine", true)(h, id)
	}, want: passes("fine")},
	{section: "4.2", name: "DATA of the greatest size", play: then(headOf(":status", "200"), data(strings.Repeat("a", 16384), true)), want: passes(strings.Repeat("a", 16384))},
	{section: "4.2", name: "DATA above the greatest size", play: of(http2.FrameData, 0, strings.Repeat("a", 16385)), want: breaks(frameSize)},
	{section: "4.2", name: "HEADERS above the greatest size", play: of(http2.FrameHeaders, 4, strings.Repeat("\x88", 16385)), want: breaks(frameSize)},
	{section: "4.2", name: "an unknown frame above the greatest size", play: sends(0x20, 0, strings.Repeat("a", 16385)), want: breaks(frameSize)},
	{section: "4.2", name: "a frame of 16 MB announced", play: func(h *peer, id uint32) { h.wire.Write([]byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, byte(id)}) }, want: breaks(frameSize)},

	{section: "4.3", name: "a block that is no HPACK", play: block("\xff\xff\xff\xff\xff\xff"), want: breaks(compressionError)},
	{section: "4.3", name: "a block that ends within a field", play: block("\x88\x40\x05a"), want: breaks(compressionError)},
	{section: "4.3", name: "an index of no entry", play: block("\x88\xff\x00"), want: breaks(compressionError)},
	{section: "4.3", name: "index 0", play: block("\x88\x80"), want: breaks(compressionError)},
	{section: "4.3", name: "an integer without end", play: block("\x88\x7f\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), want: breaks(compressionError)},
	{section: "4.3", name: "Huffman code with a wrong end", play: block("\x88\x00\x01a\x81\x00"), want: breaks(compressionError)},
	{section: "4.3", name: "Huffman code with EOS", play: block("\x88\x00\x01a\x84\xff\xff\xff\xff"), want: breaks(compressionError)},
	{section: "4.3", name: "a table of 0, and one of 4,096", play: then(block("\x20\x3f\xe1\x1f\x88"), func(*peer, uint32) {}), want: passes("")},
	{section: "4.3", name: "a table above what was offered", play: block("\x3f\xe2\x1f\x88"), want: breaks(compressionError)},
	{section: "4.3", name: "a table that changes within a block", play: block("\x88\x20"), want: breaks(compressionError)},
	{section: "4.3", name: "a block of two frames", play: pieces(2, nil), want: passes("fine")},
	{section: "4.3", name: "a block of seven frames", play: pieces(7, nil), want: passes("fine")},
	{section: "4.3", name: "PING within a block", play: pieces(2, sends(http2.FramePing, 0, "12345678")), want: breaks(protocolError)},
	{section: "4.3", name: "an unknown frame within a block", play: pieces(2, sends(0x20, 0, "")), want: breaks(protocolError)},
	{section: "4.3", name: "DATA within a block", play: pieces(2, data("a", false)), want: breaks(protocolError)},
	{section: "4.3", name: "CONTINUATION of another stream within a block", play: pieces(2, on(9, http2.FrameContinuation, 0, "")), want: breaks(protocolError)},
	{section: "4.3", name: "CONTINUATION of stream 0 within a block", play: pieces(2, sends(http2.FrameContinuation, 0, "")), want: breaks(protocolError)},
	{section: "4.3", name: "an empty CONTINUATION", play: pieces(2, of(http2.FrameContinuation, 0, "")), want: passes("fine")},

	{section: "5.1", name: "HEADERS of an idle stream", play: func(h *peer, _ uint32) { h.head(99, true, ":status", "200") }, want: breaks(protocolError)},
	{section: "5.1", name: "HEADERS of an even stream", play: func(h *peer, _ uint32) { h.head(2, true, ":status", "200") }, want: breaks(protocolError)},
	{section: "5.1", name: "DATA of an idle stream", play: on(99, http2.FrameData, 1, "a"), want: breaks(protocolError)},
	{section: "5.1", name: "RST_STREAM of an idle stream", play: on(99, http2.FrameRSTStream, 0, "\x00\x00\x00\x08"), want: breaks(protocolError)},
	{section: "5.1", name: "WINDOW_UPDATE of an idle stream", play: on(99, http2.FrameWindowUpdate, 0, "\x00\x00\x00\x08"), want: breaks(protocolError)},
	{section: "5.1", name: "PRIORITY of an idle stream", play: then(on(99, http2.FramePriority, 0, "\x00\x00\x00\x00\x08"), ok()), want: passes("fine")},
	{section: "5.1", name: "WINDOW_UPDATE behind the response", play: then(ok(), of(http2.FrameWindowUpdate, 0, "\x00\x00\x00\x08")), want: passes("fine")},
	{section: "5.1", name: "RST_STREAM behind the response", play: then(ok(), of(http2.FrameRSTStream, 0, "\x00\x00\x00\x00")), want: passes("fine")},
	{section: "5.1", name: "PRIORITY behind the response", play: then(ok(), of(http2.FramePriority, 0, "\x00\x00\x00\x00\x08")), want: passes("fine")},
	{section: "5.1", name: "DATA behind the response", play: then(ok(), data("more", true)), want: fate{status: "200", body: "fine", cut: true, code: streamClosed, told: true}},
	{section: "5.1", name: "HEADERS behind the response", play: then(ok(), headOf(":status", "200")), want: fate{status: "200", body: "fine", cut: true, over: true, code: streamClosed, told: true}},
	{section: "5.3.1", name: "PRIORITY that depends on itself", play: then(headOf(":status", "200"), func(h *peer, id uint32) {
		h.frame(http2.FramePriority, 0, id, 0, 0, 0, byte(id), 1)
	}), want: cutShort(protocolError)},

	{section: "6.1", name: "DATA of stream 0", play: sends(http2.FrameData, 0, "a"), want: breaks(protocolError)},
	{section: "6.1", name: "padding", play: then(headOf(":status", "200"), of(http2.FrameData, 9, "\x03fine\x00\x00\x00")), want: passes("fine")},
	{section: "6.1", name: "padding only", play: then(headOf(":status", "200"), of(http2.FrameData, 8, "\x02\x00\x00"), data("fine", true)), want: passes("fine")},
	{section: "6.1", name: "more padding than there is", play: then(headOf(":status", "200"), of(http2.FrameData, 9, "\x09abc")), want: breaks(protocolError).orCut()},
	{section: "6.1", name: "padded and empty", play: then(headOf(":status", "200"), of(http2.FrameData, 9, "")), want: breaks(frameSize).orCut()},
	{section: "6.2", name: "HEADERS of stream 0", play: sends(http2.FrameHeaders, 5, "\x88"), want: breaks(protocolError)},
	{section: "6.2", name: "padding and priority", play: of(http2.FrameHeaders, 0x2d, "\x02\x00\x00\x00\x00\x10\x88\x00\x00"), want: passes("")},
	{section: "6.2", name: "more padding in HEADERS than there is", play: of(http2.FrameHeaders, 0xd, "\x30\x88"), want: breaks(protocolError)},
	{section: "6.2", name: "priority that is cut short", play: of(http2.FrameHeaders, 0x25, "\x00\x00"), want: breaks(frameSize)},
	{section: "6.3", name: "PRIORITY of stream 0", play: sends(http2.FramePriority, 0, "\x00\x00\x00\x01\x10"), want: breaks(protocolError)},
	{section: "6.3", name: "PRIORITY of four bytes", play: then(of(http2.FramePriority, 0, "\x00\x00\x00\x03")), want: fate{status: "502", code: frameSize, told: true}},
	{section: "6.4", name: "RST_STREAM of stream 0", play: sends(http2.FrameRSTStream, 0, "\x00\x00\x00\x08"), want: breaks(protocolError)},
	{section: "6.4", name: "RST_STREAM of three bytes", play: of(http2.FrameRSTStream, 0, "\x00\x00\x08"), want: breaks(frameSize)},
	{section: "6.5", name: "SETTINGS of a stream", play: of(http2.FrameSettings, 0, ""), want: breaks(protocolError)},
	{section: "6.5", name: "SETTINGS of seven bytes", play: sends(http2.FrameSettings, 0, "\x00\x04\x00\x00\x10\x00\x00"), want: breaks(frameSize)},
	{section: "6.5", name: "an acknowledgement with settings", play: sends(http2.FrameSettings, 1, "\x00\x04\x00\x00\x10\x00"), want: breaks(frameSize)},
	{section: "6.5", name: "an acknowledgement too many", play: then(sends(http2.FrameSettings, 1, ""), ok()), want: passes("fine")},
	{section: "6.5.2", name: "ENABLE_PUSH of a server", play: settings(http2.SettingEnablePush, 1), want: breaks(protocolError)},
	{section: "6.5.2", name: "INITIAL_WINDOW_SIZE of 2^31", play: settings(http2.SettingInitialWindowSize, 1<<31), want: breaks(flowControl)},
	{section: "6.5.2", name: "MAX_FRAME_SIZE of 16,383", play: settings(http2.SettingMaxFrameSize, 16383), want: breaks(protocolError)},
	{section: "6.5.2", name: "MAX_FRAME_SIZE of 2^24", play: settings(http2.SettingMaxFrameSize, 1<<24), want: breaks(protocolError)},
	{section: "6.5.2", name: "MAX_FRAME_SIZE of 2^24-1", play: then(settings(http2.SettingMaxFrameSize, 1<<24-1), ok()), want: passes("fine")},
	{section: "6.5.2", name: "ENABLE_CONNECT_PROTOCOL of 2", play: settings(8, 2), want: breaks(protocolError)},
	{section: "6.5.2", name: "an unknown setting", play: then(settings(0x77, 1), ok()), want: passes("fine")},
	{section: "6.5.2", name: "HEADER_TABLE_SIZE of 0", play: then(settings(http2.SettingHeaderTableSize, 0), ok()), want: passes("fine")},
	{section: "6.5.2", name: "HEADER_TABLE_SIZE of 2^32-1", play: then(settings(http2.SettingHeaderTableSize, 1<<32-1), ok()), want: passes("fine")},
	{section: "6.5.2", name: "MAX_HEADER_LIST_SIZE of 1", play: then(settings(http2.SettingMaxHeaderListSize, 1), ok()), want: passes("fine")},
	{section: "6.5.2", name: "a thousand settings in one frame", play: sends(http2.FrameSettings, 0, strings.Repeat("\x00\x04\x00\x00\x10\x00", 1000)), want: breaks(http2.ErrCodeEnhanceYourCalm)},
	{section: "6.6", name: "PUSH_PROMISE", play: of(http2.FramePushPromise, 4, "\x00\x00\x00\x02\x82\x86\x84\x41\x01a"), want: breaks(protocolError)},
	{section: "6.6", name: "PUSH_PROMISE of stream 0", play: sends(http2.FramePushPromise, 4, "\x00\x00\x00\x02\x82"), want: breaks(protocolError)},
	{section: "6.7", name: "PING", play: then(sends(http2.FramePing, 0, "12345678"), func(h *peer, id uint32) {
		if h.read(patience, func() bool { return h.acks > 0 }) {
			ok()(h, id)
		}
	}), want: passes("fine")},
	{section: "6.7", name: "an answer to no PING", play: then(sends(http2.FramePing, 1, "12345678"), ok()), want: passes("fine")},
	{section: "6.7", name: "PING of a stream", play: of(http2.FramePing, 0, "12345678"), want: breaks(protocolError)},
	{section: "6.7", name: "PING of six bytes", play: sends(http2.FramePing, 0, "123456"), want: breaks(frameSize)},
	{section: "6.8", name: "GOAWAY of a stream", play: of(http2.FrameGoAway, 0, "\x00\x00\x00\x00\x00\x00\x00\x00"), want: breaks(protocolError)},
	{section: "6.8", name: "GOAWAY of seven bytes", play: sends(http2.FrameGoAway, 0, "\x00\x00\x00\x00\x00\x00\x00"), want: breaks(frameSize)},
	{section: "6.9", name: "an update of 0 of the connection", play: sends(http2.FrameWindowUpdate, 0, "\x00\x00\x00\x00"), want: breaks(protocolError)},
	{section: "6.9", name: "an update of 0 of the stream", play: of(http2.FrameWindowUpdate, 0, "\x00\x00\x00\x00"), want: fate{status: "502", code: protocolError, told: true}},
	{section: "6.9", name: "an update of three bytes", play: sends(http2.FrameWindowUpdate, 0, "\x00\x00\x01"), want: breaks(frameSize)},
	{section: "6.9.1", name: "the window of the connection overflows", play: sends(http2.FrameWindowUpdate, 0, "\x7f\xff\xff\xff"), want: breaks(flowControl)},
	{section: "6.9.1", name: "the window of the stream overflows", play: of(http2.FrameWindowUpdate, 0, "\x7f\xff\xff\xff"), want: fate{status: "502", code: flowControl, told: true}},
	{section: "6.9.1", name: "more content than the window", play: then(headOf(":status", "200"), func(h *peer, id uint32) {
		for range 100 {
			h.framer.WriteData(id, false, make([]byte, 16<<10))
		}
		h.framer.WriteData(id, true, nil) // it passes if the client was fast enough
	}), want: fate{status: "502", cut: true, passed: true}},
	{section: "6.9.2", name: "settings have the window of the stream overflow", play: then(of(http2.FrameWindowUpdate, 0, "\x7f\xff\x00\x00"), settings(http2.SettingInitialWindowSize, 1<<31-1)), want: breaks(flowControl)},
	{section: "6.10", name: "CONTINUATION without HEADERS", play: of(http2.FrameContinuation, 4, "\x88"), want: breaks(protocolError)},
	{section: "6.10", name: "CONTINUATION behind END_HEADERS", play: then(headOf(":status", "200"), of(http2.FrameContinuation, 4, "\x88")), want: breaks(protocolError).orCut()},
}

// orCut is f, or a response that is cut short.
func (f fate) orCut() fate {
	f.cut, f.reason = true, ""
	return f
}
