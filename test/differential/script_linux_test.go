package differential

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A script is what a client and an endpoint do. It is written in bytes so that every input
// is one and a mutated byte means something: bytes from verbFirst on begin a step, bytes
// from wordFirst on stand for a word of HTTP, all others for themselves.
type script []step

// A step is what one side does.
type step struct {
	verb verb
	data []byte // sent first
}

type verb byte

const (
	clientSends    verb = iota // and all wait for what comes of it
	clientSendsOn              // its next step follows at once
	clientSendsFIN             // data and FIN may come as one event
	clientFIN                  // sends, waits, ends its side
	clientResets               // sends, waits, resets
	clientHolds                // sends, and reads no more; a second time: reads again
	endpointSends
	endpointSendsOn
	endpointSendsFIN
	endpointFIN
	endpointResets
	endpointHolds
	verbs
)

var verbNames = [verbs]string{
	"client sends", "client sends, and goes on at once", "client sends, FIN at once", "client sends, then FIN",
	"client sends, then resets", "client sends, and stops or goes on reading",
	"endpoint sends", "endpoint sends, and goes on at once", "endpoint sends, FIN at once", "endpoint sends, then FIN",
	"endpoint sends, then resets", "endpoint sends, and stops or goes on reading",
}

func (v verb) client() bool { return v < endpointSends }
func (v verb) goesOn() bool { return v == clientSendsOn || v == endpointSendsOn }

const (
	wordFirst = 0x80
	verbFirst = 0xe0
)

// Bounds of one play. What is beyond them is not part of the script.
const (
	stepsMax = 24
	bytesMax = 6 << 20 // more than kernels take for a peer that does not read
	inputMax = 8 << 10
)

// words are what bytes from wordFirst on stand for. Corpora depend on the order: new ones
// belong at the end.
var words = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n",
	"HEAD /h HTTP/1.1\r\nHost: a\r\n",
	"POST /p HTTP/1.1\r\nHost: a\r\n",
	"PUT /u?x=1 HTTP/1.1\r\nHost: a:80\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a\r\n",
	"GET http://b/x HTTP/1.1\r\nHost: b\r\n",
	"GET /old HTTP/1.0\r\n",
	"POST /old HTTP/1.0\r\nHost: a\r\n",
	"TRACE / HTTP/1.1\r\nHost: a\r\n",

	"HTTP/1.1 200 OK\r\n",
	"HTTP/1.0 200 OK\r\n",
	"HTTP/1.1 204 No Content\r\n",
	"HTTP/1.1 304 Not Modified\r\n",
	"HTTP/1.1 503 Busy\r\n",
	"HTTP/1.1 404 \r\n",
	"HTTP/1.1 101 Switching Protocols\r\n",
	"HTTP/1.1 100 Continue\r\n\r\n",
	"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",

	"Content-Length: 5\r\n",
	"Content-Length: 0\r\n",
	"Content-Length: 11\r\n",
	"Content-Length: 65536\r\n",
	"Content-Length: 100000\r\n",
	"Content-Length: 1048576\r\n",
	"Transfer-Encoding: chunked\r\n",
	"Connection: close\r\n",
	"Connection: keep-alive\r\n",
	"Connection: Upgrade\r\nUpgrade: websocket\r\n",
	"Connection: TE\r\nTE: trailers\r\n",
	"Expect: 100-continue\r\n",
	"Trailer: X-T\r\n",
	"Content-Type: text/event-stream\r\n",
	"Keep-Alive: timeout=5\r\n",
	"Max-Forwards: 0\r\n",
	"Accept: application/json\r\n",
	"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
	"X-A: 1\r\n",
	"Host: a\r\n",

	"\r\n",
	"\r",
	"\n",
	" ",
	":",
	"hello",
	"5\r\nhello\r\n",
	"5;x=y\r\nhello\r\n",
	"0\r\n\r\n",
	"0\r\nX-T: 1\r\n\r\n",
	"0\r\n",
	"10000\r\n",
	"100000\r\n",
	"fffffffffffffffff\r\n",
	"X-Long: " + strings.Repeat("l", 9000) + "\r\n",
	"X-Longest: " + strings.Repeat("l", 70000) + "\r\n",
	strings.Repeat("X-Many: 1\r\n", 130),

	filler(4096),
	filler(16384),
	filler(65535),
	filler(65536),
	filler(100000),
	filler(1 << 20),
}

// filler is content of that length in which every place differs from the next ones.
func filler(n int) string {
	b := make([]byte, 0, n+16)
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "~%d", i)
	}
	return string(b[:n])
}

// parse reads any input.
func parse(input []byte) (s script) {
	input = input[:min(len(input), inputMax)]
	room := bytesMax
	for _, b := range input {
		if b >= verbFirst {
			if len(s) == stepsMax {
				break
			}
			s = append(s, step{verb: verb(b-verbFirst) % verbs})
			continue
		}
		if len(s) == 0 {
			s = append(s, step{verb: clientSends})
		}
		last := &s[len(s)-1]
		if b < wordFirst {
			last.data = append(last.data, b)
			room--
		} else if w := words[int(b-wordFirst)%len(words)]; len(w) <= room {
			last.data = append(last.data, w...)
			room -= len(w)
		}
		if room <= 0 {
			break
		}
	}
	return s
}

// overtakes reports whether an endpoint may send something behind a response while the proxy
// is about to send the next request on the same connection. Then it is chance whether the
// proxy sees that in time: a loop goes by the events of its turn, a goroutine asks the
// kernel, and neither can know what comes a moment later.
func (s script) overtakes() bool {
	requests, hasty := 0, false
	for _, st := range s {
		if st.verb.client() {
			requests += bytes.Count(st.data, []byte("\r\n\r\n"))
		}
		hasty = hasty || st.verb == endpointSendsOn || st.verb == endpointSendsFIN
	}
	return hasty && requests > 1
}

// orderly is s with all of the endpoint's steps apart.
func (s script) orderly() script {
	s = slices.Clone(s)
	for i := range s {
		switch s[i].verb {
		case endpointSendsOn:
			s[i].verb = endpointSends
		case endpointSendsFIN:
			s[i].verb = endpointFIN
		}
	}
	return s
}

// atOnce reports whether the client leaves with bytes that the proxy has not read.
func (s script) atOnce() bool {
	return slices.ContainsFunc(s, func(st step) bool { return st.verb == clientSendsFIN })
}

// input is the shortest input for s, as parse reads it; with spell false words are used
// wherever they fit.
func (s script) input(spell bool) (out []byte) {
	for _, st := range s {
		out = append(out, verbFirst+byte(st.verb))
		for rest := st.data; len(rest) > 0; {
			word, size := byte(0), 0
			for i, w := range words {
				if (!spell || len(w) > 1000) && len(w) > size && bytes.HasPrefix(rest, []byte(w)) {
					word, size = wordFirst+byte(i), len(w)
				}
			}
			if size == 0 {
				word, size = rest[0], 1
			}
			out = append(out, word)
			rest = rest[size:]
		}
	}
	return out
}

// String is for people.
func (s script) String() string {
	var b strings.Builder
	for i, st := range s {
		fmt.Fprintf(&b, "%2d. %s %s\n", i+1, verbNames[st.verb], brief(st.data))
	}
	return b.String()
}

// brief quotes data and shortens what is long in it.
func brief(data []byte) string {
	text := string(data)
	for i := len(words) - 1; i >= 0; i-- {
		if w := words[i]; len(w) > 1000 {
			text = strings.ReplaceAll(text, w, fmt.Sprintf("<%.8s… %d bytes>", w, len(w)))
		}
	}
	if len(text) > 3000 {
		text = text[:1500] + fmt.Sprintf("<… %d bytes>", len(text)-3000) + text[len(text)-1500:]
	}
	return fmt.Sprintf("%q", text)
}
