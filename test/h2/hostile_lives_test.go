package h2

// How an endpoint begins and ends a connection or a stream, what it lets the proxy send, and floods.

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"golang.org/x/net/http2"
)

// ends closes the connection.
func hangsUp(h *peer, _ uint32) { h.wire.Close() }

// goes sends GOAWAY.
func goes(last uint32, code http2.ErrCode) func(h *peer, _ uint32) {
	return func(h *peer, _ uint32) { h.framer.WriteGoAway(last, code, []byte("bye")) }
}

// resets sends RST_STREAM.
func resets(code http2.ErrCode) func(h *peer, id uint32) {
	return func(h *peer, id uint32) { h.framer.WriteRSTStream(id, code) }
}

// entire sends all of the content that content-length announces, without END_STREAM.
func entire(h *peer, id uint32) {
	then(headOf(":status", "200", "content-length", "4"), data("fine", false))(h, id)
}

// nothing waits until the proxy ends the stream or the connection.
func nothing(h *peer, id uint32) {
	a := h.answer(id)
	h.read(time.Hour, func() bool { return a.reset })
}

// takes waits for all of n bytes of content, and answers with what has come.
func takes(n int) func(h *peer, id uint32) {
	return func(h *peer, id uint32) {
		a := h.answer(id)
		if h.read(time.Minute, func() bool { return a.over }) && len(a.content) == n {
			ok()(h, id)
		}
	}
}

// begins is how an endpoint begins that does not speak HTTP/2, or badly.
func begins(name string, begin func(h *peer), want fate) answering {
	return answering{section: "3.4", name: name, begin: begin, play: ok(), want: want}
}

// again: the request was not processed and goes to the endpoint once more, whatever its method.
var again = fate{status: "200", body: "again", over: true}

// never: the connection takes no request, so another is opened.
var never = fate{status: "200", body: "fine", over: true}

// flooding sends until the connection does not take it any more.
func flooding(send func(h *peer, id uint32)) func(h *peer, id uint32) {
	return func(h *peer, id uint32) {
		for range enough {
			h.wire.SetReadDeadline(0)
			send(h, id)
		}
	}
}

func badLives() []answering {
	calm := breaks(http2.ErrCodeEnhanceYourCalm).orCut()
	all := []answering{
		begins("PING before SETTINGS", func(h *peer) { h.framer.WritePing(false, [8]byte{}) }, never),
		begins("GOAWAY before SETTINGS", func(h *peer) { h.framer.WriteGoAway(0, http2.ErrCodeNo, nil) }, never),
		begins("an acknowledgement before SETTINGS", func(h *peer) { h.framer.WriteSettingsAck() }, never),
		begins("HTTP/1.1", func(h *peer) {
			io.WriteString(h.wire, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}, never),
		begins("TLS", func(h *peer) { h.wire.Write([]byte{21, 3, 1, 0, 2, 2, 70, 0, 0, 0, 0, 0}) }, never),
		begins("the end of the connection", func(h *peer) { h.wire.Close() }, never),
		begins("SETTINGS that are bad", func(h *peer) { h.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1}) }, never),
		begins("SETTINGS, and GOAWAY", func(h *peer) { h.framer.WriteSettings(); h.framer.WriteGoAway(0, http2.ErrCodeNo, nil) }, fate{status: "200", body: "again", passed: true, over: true}),
		begins("SETTINGS in bytes", func(h *peer) {
			for _, b := range []byte{0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100} {
				h.wire.Write([]byte{b})
			}
		}, passes("fine")),
		begins("no room for requests, and then for one", func(h *peer) {
			h.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
			h.place.Sleep(50 * time.Millisecond)
			h.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		}, fate{status: "200", body: "fine", any: true}),
		begins("a window of 1, and then one that is enough", func(h *peer) {
			h.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
			h.place.Sleep(20 * time.Millisecond)
			h.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 16})
		}, passes("fine")),
	}
	silent := begins("nothing", func(h *peer) {}, never)
	half := begins("half of SETTINGS", func(h *peer) { h.wire.Write([]byte{0, 0, 6, 4, 0}) }, never)
	silent.slow, half.slow = true, true
	all = append(all, silent, half)

	for _, code := range []http2.ErrCode{http2.ErrCodeNo, http2.ErrCodeProtocol, http2.ErrCodeInternal, http2.ErrCodeEnhanceYourCalm, http2.ErrCodeHTTP11Required, 0x7777} {
		all = append(all,
			answering{section: "6.8", name: fmt.Sprintf("GOAWAY(%v) below the request", code), play: goes(0, code), want: again},
			answering{section: "6.8", name: fmt.Sprintf("GOAWAY(%v) that includes the request, and a response", code), play: then(goes(1, code), ok()), want: fate{status: "200", body: "fine", over: true}},
			answering{section: "6.8", name: fmt.Sprintf("GOAWAY(%v) below the request, and the end", code), play: then(goes(0, code), hangsUp), want: again})
	}
	return append(all, []answering{
		{section: "6.8", name: "GOAWAY in two steps", play: then(goes(math.MaxInt32, 0), goes(1, 0), ok()), want: fate{status: "200", body: "fine", over: true}},
		{section: "6.8", name: "GOAWAY whose second step leaves the request out", play: then(goes(math.MaxInt32, 0), goes(0, 0)), want: again},
		{section: "6.8", name: "GOAWAY that rises", play: then(goes(0, 0), goes(1, 0), ok()), want: again},
		{section: "6.8", name: "GOAWAY within the response", play: then(headOf(":status", "200"), data("fi", false), goes(1, 0), data("ne", true)), want: fate{status: "200", body: "fine", over: true}},
		{section: "6.8", name: "GOAWAY that includes the request, and the end", play: then(goes(1, 0), hangsUp), want: fate{status: "502", over: true}},
		{section: "6.8", name: "GOAWAY behind the response", play: then(ok(), goes(1, 0)), want: fate{status: "200", body: "fine", over: true}},
		{section: "6.8", name: "the end, without a word", play: hangsUp, want: fate{status: "502", reason: "endpoint-closed", over: true}},
		{section: "6.8", name: "the end behind the response", play: then(ok(), hangsUp), want: fate{status: "200", body: "fine", over: true}},
		{section: "6.8", name: "the end of one side", play: func(h *peer, _ uint32) { h.wire.CloseWrite() }, want: fate{status: "502", over: true}},

		{section: "8.1", name: "all of the content, then a reset", play: then(entire, resets(http2.ErrCodeInternal)), want: passes("fine")},
		{section: "8.1", name: "all of the content, then the end of the connection", play: then(entire, hangsUp), want: never},
		{section: "8.1", name: "all of the content, and no end of the stream", play: then(entire, nothing), want: passes("fine")},
		{section: "8.1", name: "an early response, and NO_ERROR", early: true, content: 200_000, play: then(ok(), resets(http2.ErrCodeNo)), want: passes("fine")},
		{section: "8.1", name: "an early response, and nothing more", early: true, content: 200_000, play: ok(), want: passes("fine")},
		{section: "8.1", name: "an early response, and CANCEL", early: true, content: 200_000, play: then(ok(), resets(http2.ErrCodeCancel)), want: fate{status: "200", body: "fine", cut: true}},
		{section: "8.1", name: "a refusal within the content", early: true, content: 200_000, play: resets(http2.ErrCodeRefusedStream), want: fate{status: "503", reason: "endpoint-refused"}},

		{section: "5.2", name: "content above the window, credited as it comes", early: true, content: 300_000, play: credits(16 << 10), want: passes("fine")},
		{section: "5.2", name: "content credited byte by byte at the end", early: true, content: 65_635, play: credits(1), want: passes("fine")},
		{section: "5.2", name: "content credited twice as it comes", early: true, content: 300_000, play: credits(-2), want: passes("fine")},
		{section: "6.9.2", name: "the window becomes negative, and positive", early: true, content: 100_000, play: func(h *peer, id uint32) {
			a := h.answer(id)
			h.number(http2.FrameWindowUpdate, 0, 1<<20)
			h.read(patience, func() bool { return len(a.content) == 65535 })
			h.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
			h.number(http2.FrameWindowUpdate, id, 65535) // 1,000 are left
			h.read(patience, func() bool { return len(a.content) == 66535 })
			h.place.Sleep(10 * time.Millisecond)
			h.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
			takes(100_000)(h, id)
		}, want: passes("fine")},
		{section: "6.5.2", name: "larger frames are allowed within the content", early: true, content: 100_000, play: func(h *peer, id uint32) {
			settings(http2.SettingMaxFrameSize, 1<<20)(h, id)
			credits(16<<10)(h, id)
		}, want: passes("fine")},
		{section: "10.5", name: "content that is never taken", slow: true, early: true, content: 300_000, play: nothing, want: fate{status: "504", reason: "endpoint-timeout", code: http2.ErrCodeCancel, told: true}},
		{section: "10.5", name: "a response that never comes", slow: true, play: nothing, want: fate{status: "504", reason: "endpoint-timeout"}},
		{section: "10.5", name: "a response that stalls", slow: true, play: then(headOf(":status", "200"), data("fi", false), nothing), want: fate{cut: true, code: http2.ErrCodeCancel, told: true}},
		{section: "10.5", name: "a response of a byte a second", slow: true, play: func(h *peer, id uint32) {
			headOf(":status", "200", "content-length", "8")(h, id)
			for i := range 8 {
				h.read(time.Second, func() bool { return false })
				data("slowly!!"[i:i+1], i == 7)(h, id)
			}
		}, want: passes("slowly!!")},
		{section: "10.5", name: "a head that begins, and does not end", slow: true, play: func(h *peer, id uint32) {
			h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte("\x88")})
			nothing(h, id)
		}, want: breaks(http2.ErrCodeEnhanceYourCalm)},
		{section: "10.5", name: "a frame that begins, and does not end", slow: true, play: func(h *peer, id uint32) {
			headOf(":status", "200")(h, id)
			h.wire.Write([]byte{0, 0, 9, 0, 0, 0, 0, 0, byte(id), 'f'})
			nothing(h, id)
		}, want: fate{cut: true, over: true}},

		{section: "10.5", name: "a flood of PING", play: flooding(sends(http2.FramePing, 0, "12345678")), want: calm},
		{section: "10.5", name: "a flood of answers to PING", play: flooding(sends(http2.FramePing, 1, "12345678")), want: calm},
		{section: "10.5", name: "a flood of SETTINGS", play: flooding(sends(http2.FrameSettings, 0, "")), want: calm},
		{section: "10.5", name: "a flood of acknowledgements", play: flooding(sends(http2.FrameSettings, 1, "")), want: calm},
		{section: "10.5", name: "a flood of PRIORITY", play: flooding(on(99, http2.FramePriority, 0, "\x00\x00\x00\x00\x08")), want: calm},
		{section: "10.5", name: "a flood of unknown frames", play: flooding(sends(0x20, 0, "abc")), want: calm},
		{section: "10.5", name: "a flood of updates of the connection", play: flooding(sends(http2.FrameWindowUpdate, 0, "\x00\x00\x00\x01")), want: calm},
		{section: "10.5", name: "a flood of updates of the stream", play: flooding(of(http2.FrameWindowUpdate, 0, "\x00\x00\x00\x01")), want: calm},
		{section: "10.5", name: "a flood of empty DATA", play: then(headOf(":status", "200"), flooding(of(http2.FrameData, 0, ""))), want: calm},
		{section: "10.5", name: "a flood of padding", play: then(headOf(":status", "200"), flooding(of(http2.FrameData, 8, "\x02\x00\x00"))), want: calm},
		{section: "10.5", name: "a flood of CONTINUATION", play: then(func(h *peer, id uint32) {
			h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte("\x88")})
		}, flooding(of(http2.FrameContinuation, 0, "\x00\x01a\x01b"))), want: calm},
		{section: "10.5", name: "a flood of empty CONTINUATION", play: then(func(h *peer, id uint32) {
			h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte("\x88")})
		}, flooding(of(http2.FrameContinuation, 0, ""))), want: calm},
		{section: "10.5", name: "a flood of RST_STREAM", play: flooding(resets(http2.ErrCodeCancel)), want: calm},
		{section: "10.5", name: "a flood of GOAWAY", play: flooding(goes(1, 0)), want: calm},
		{section: "10.5", name: "a flood of DATA behind the response", play: then(ok(), flooding(data("x", false))), want: fate{status: "200", body: "fine", cut: true}},
	}...)
}

// credits takes the content, and gives credit for n bytes when so many have come; 1: for each byte when
// the window is empty; -2: twice what is right.
func credits(n int) func(h *peer, id uint32) {
	return func(h *peer, id uint32) {
		a := h.answer(id)
		times := 1
		if n < 0 {
			n, times = 16<<10, -n
		}
		given := 0
		for by := h.place.Now() + time.Minute; !a.over && h.ended == nil && h.place.Now() < by; {
			least := given + n
			if n == 1 {
				least = given + 65535
			}
			if !h.read(patience, func() bool { return a.over || len(a.content) >= least }) {
				return
			}
			for !a.over && given < len(a.content) && (n > 1 || given < len(a.content)-65534) {
				k := min(n, len(a.content)-given)
				h.number(http2.FrameWindowUpdate, 0, uint32(k*times))
				h.number(http2.FrameWindowUpdate, id, uint32(k*times))
				given += k
			}
		}
		ok()(h, id)
	}
}

// badResets are RST_STREAM of every code at every moment.
func badResets() (all []answering) {
	half := then(headOf(":status", "200", "content-length", "4"), data("fi", false))
	for code := http2.ErrCodeNo; code <= http2.ErrCodeHTTP11Required+1; code++ {
		name := code.String()
		before := fate{status: "502", reason: "endpoint-reset"}
		if code == http2.ErrCodeRefusedStream {
			before = fate{status: "200", body: "again"}
		}
		all = append(all,
			answering{section: "6.4", name: name + " before the response", play: resets(code), want: before},
			answering{section: "6.4", name: name + " behind an interim response", play: then(interims(1), resets(code)), want: before},
			answering{section: "6.4", name: name + " behind the head", play: then(headOf(":status", "200", "content-length", "4"), resets(code)), want: fate{status: "502", cut: true}},
			answering{section: "6.4", name: name + " within the content", play: then(half, resets(code)), want: fate{status: "502", cut: true}},
			answering{section: "6.4", name: name + " behind the response", play: then(ok(), resets(code)), want: passes("fine")})
	}
	return all
}

// badCuts are ends of the connection behind each byte of a response.
func badCuts() (all []answering) {
	whole := slices.Concat([]byte{0, 0, 5, 1, 4, 0, 0, 0, 1}, []byte("\x88\x0f\x0d\x014"), []byte{0, 0, 4, 0, 1, 0, 0, 0, 1}, []byte("fine"))
	for n := 1; n < len(whole); n++ {
		want := fate{status: "502", over: true}
		if n >= 14 {
			want.cut = true
		}
		all = append(all, answering{section: "6.8", name: fmt.Sprintf("the end behind byte %d of the response", n), play: func(h *peer, _ uint32) {
			h.wire.Write(whole[:n])
			h.wire.Close()
		}, want: want})
	}
	return append(all, answering{section: "6.8", name: "the end behind the last byte of the response", play: func(h *peer, _ uint32) {
		h.wire.Write(whole)
		h.wire.Close()
	}, want: fate{status: "200", body: "fine", over: true}})
}
