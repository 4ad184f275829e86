package differential

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A comparison is of two stages.
type comparison struct {
	// loose: much is sent, or something in two writes at once, and how much of it a proxy finds
	// when it looks is chance. So is then
	//   - where one chunk ends and the next one begins: a proxy makes one of what it has got;
	//   - how a connection ends that a proxy closes for what it has found: the kernel resets it
	//     if more has come meanwhile.
	// Whatever else differs has to differ every time: see judge.
	loose bool
	// spliced: content may pass without being looked at, and then the loop leaves in the
	// kernel what an endpoint sends behind it. The connection is not used again, but closed
	// only when a request could use it, as it is on both engines if such bytes come somewhat
	// later; and a kernel resets a connection that is closed before all has been read.
	spliced bool
	// ended: both sides of everything have ended, and so has the client's connection.
	ended bool
}

const (
	// looseFrom is how much data in a step does not come in one piece any more: the proxy's
	// buffers take no more of a message beside its head.
	looseFrom = 4 << 10
	// spliceFrom is how much content is worth a pipe.
	spliceFrom = 64 << 10
)

// compared is how a script's plays are compared.
func (s script) compared() (c comparison) {
	size := 0
	for _, st := range s {
		size += len(st.data)
		if len(st.data) >= looseFrom || st.verb.goesOn() || st.verb == clientHolds || st.verb == endpointHolds {
			c.loose = true
		}
	}
	c.spliced = size >= spliceFrom
	return c
}

// compare says what differs between two stages, the loop's first; nothing: "".
func (c comparison) compare(s [2]*stage) string {
	var b strings.Builder
	one, two := s[0].client, s[1].client
	// A client that leaves with its last bytes has left before a loop looks at them: they may
	// be good for less of a request, or of an answer to what is wrong with them, or for
	// nothing. A goroutine deals with them and notices later.
	less := func(one, two *peer) bool {
		return s[0].atOnce && two.end != open && bytes.HasPrefix(c.plain(two.in), c.plain(one.in))
	}
	if !less(one, two) && !c.stuck(one, two) {
		c.bytes(&b, s, "the client", one.in, two.in)
	}
	// The kernel resets a connection that is closed before those bytes have been read.
	if !(s[0].atOnce && one.end != open && two.end != open) && !one.holds {
		c.ends(&b, s, "the client", one.end, two.end)
	}
	if len(s[0].conns) != len(s[1].conns) {
		fmt.Fprintf(&b, "%s opens %d connections to the endpoint, %s %d\n", s[0].side.engine, len(s[0].conns), s[1].side.engine, len(s[1].conns))
	}
	for i := range min(len(s[0].conns), len(s[1].conns)) {
		name := fmt.Sprintf("the endpoint's connection %d", i+1)
		one, two := s[0].conns[i], s[1].conns[i]
		// Content that turns out to be wrong takes with it what was gathered to be sent in one
		// write: of much content more or less.
		wrong := c.loose && one.end != open && two.end != open && c.similar(one, two)
		if !less(one, two) && !c.stuck(one, two) && !wrong {
			c.bytes(&b, s, name, one.in, two.in)
		}
		if !(c.spliced && two.end != open) && !one.holds {
			c.ends(&b, s, name, one.end, two.end)
		}
	}
	for _, s := range s {
		if c.ended && s.client.end == open {
			fmt.Fprintf(&b, "%s keeps the connection of a client that has left\n", s.side.engine)
		}
	}
	return b.String()
}

// stuck reports whether the two got more and less of the same because they do not read, or
// did not when the proxy gave up: then that is what fitted into the buffers of the kernel.
func (c comparison) stuck(one, two *peer) bool {
	return one.holds || one.held && one.end != open && two.end != open && c.similar(one, two)
}

// similar reports whether what one of them got is the front of what the other one got.
func (c comparison) similar(one, two *peer) bool {
	got, want := c.plain(one.in), c.plain(two.in)
	return bytes.HasPrefix(got, want) || bytes.HasPrefix(want, got)
}

// ends compares how a connection has ended.
func (c comparison) ends(b *strings.Builder, s [2]*stage, name string, one, two end) {
	if c.loose && (one == fin || one == reset) && (two == fin || two == reset) {
		return
	}
	if one != two {
		fmt.Fprintf(b, "%s: by %s %s, by %s %s\n", name, s[0].side.engine, endNames[one], s[1].side.engine, endNames[two])
	}
}

// bytes compares what came on a connection.
func (c comparison) bytes(b *strings.Builder, s [2]*stage, name string, one, two []byte) {
	got, want := c.plain(one), c.plain(two)
	if bytes.Equal(got, want) {
		return
	}
	same := 0
	for same < min(len(got), len(want)) && got[same] == want[same] {
		same++
	}
	fmt.Fprintf(b, "%s gets other bytes from %d on:\n  %-9s %7d %s\n  %-9s %7d %s\n", name, same,
		s[0].side.engine, len(got), around(got, same), s[1].side.engine, len(want), around(want, same))
}

// around shows b from shortly before the place where it differs.
func around(b []byte, at int) string {
	from := max(0, at-60)
	text := brief(b[from:min(len(b), at+400)])
	if from > 0 {
		text = "…" + text
	}
	return text
}

// The clock of the machine is no engine's.
var date = regexp.MustCompile(`\r\nDate: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT\r\n`)

func (c comparison) plain(b []byte) []byte {
	if c.loose { // first, since content may hold a date too, and in two chunks
		b = joinChunks(b)
	}
	return date.ReplaceAll(b, []byte("\r\nDate: (now)\r\n"))
}

var coded = []byte("\r\nTransfer-Encoding: chunked\r\n")

// joinChunks makes one chunk of all that follow each other. It leaves everything else as it
// is, and also what looks like chunks but does not follow a head that announces them.
func joinChunks(b []byte) (out []byte) {
	for {
		i := bytes.Index(b, coded)
		if i < 0 {
			return append(out, b...)
		}
		end := bytes.Index(b[i:], []byte("\r\n\r\n"))
		if end < 0 {
			return append(out, b...)
		}
		out = append(out, b[:i+end+4]...)
		b = b[i+end+4:]
		var content []byte
		for {
			data, n := chunk(b)
			if n == 0 {
				break
			}
			content = append(content, data...)
			b = b[n:]
		}
		if len(content) > 0 {
			out = append(append(out, "(in chunks)"...), content...)
		}
		if len(content) > 0 && len(b) > 0 { // what was cut short is to be the front of what was not
			out = append(out, "(end)"...)
		}
	}
}

// chunk reads a chunk with data, as this proxy writes it, and also the front of one; n 0:
// there is none.
func chunk(b []byte) (data []byte, n int) {
	line := bytes.Index(b[:min(len(b), 18)], []byte("\r\n"))
	if line <= 0 {
		return nil, 0
	}
	size, err := strconv.ParseUint(string(b[:line]), 16, 32)
	if err != nil || size == 0 {
		return nil, 0
	}
	rest := b[line+2:]
	if uint64(len(rest)) < size+2 {
		return rest[:min(uint64(len(rest)), size)], len(b)
	}
	return rest[:size], line + 2 + int(size) + 2
}
