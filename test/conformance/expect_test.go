package conformance

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// head joins lines to a head.
func head(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

const hostField = "Host: example.com"

// get is a GET request.
func get(target string, fields ...string) string {
	return head(append([]string{"GET " + target + " HTTP/1.1", hostField}, fields...)...)
}

// post is the head of a POST request.
func post(fields ...string) string {
	return head(append([]string{"POST / HTTP/1.1", hostField}, fields...)...)
}

// reply is the head of a response.
func reply(status string, fields ...string) string {
	return head(append([]string{"HTTP/1.1 " + status}, fields...)...)
}

// hello is a whole response.
const hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

// answerTo is the response of an endpoint that says what it was asked for.
func answerTo(m *message) string {
	text := m.method() + " " + m.target()
	if m.method() == "HEAD" {
		return reply("200 OK", fmt.Sprintf("Content-Length: %d", len(text)))
	}
	return reply("200 OK", fmt.Sprintf("Content-Length: %d", len(text))) + text
}

// A check says what is wrong with a message; "": nothing.
type check func(m *message) string

func (p *play) check(m *message, checks []check) {
	for _, c := range checks {
		if wrong := c(m); wrong != "" {
			p.failf("%s", wrong)
		}
	}
}

// has: the field is there once, with that value.
func has(name, value string) check {
	return func(m *message) string {
		if got := m.values(name); len(got) != 1 || got[0] != value {
			return fmt.Sprintf("%s: %.60q", name, got)
		}
		return ""
	}
}

// lines: the field is there in exactly these lines.
func lines(name string, values ...string) check {
	return func(m *message) string {
		if got := m.values(name); !slices.Equal(got, values) {
			return fmt.Sprintf("%s: %q", name, got)
		}
		return ""
	}
}

// unfolded is has, with any whitespace between words.
func unfolded(name, value string) check {
	return func(m *message) string {
		if got := m.values(name); len(got) != 1 || strings.Join(strings.Fields(got[0]), " ") != value {
			return fmt.Sprintf("%s: %.60q", name, got)
		}
		return ""
	}
}

// elements: the field is a list of exactly these elements.
func elements(name string, values ...string) check {
	return func(m *message) string {
		if got := m.list(name); !slices.Equal(got, values) {
			return fmt.Sprintf("%s: %q", name, got)
		}
		return ""
	}
}

// lacks: the fields are not there.
func lacks(names ...string) check {
	return func(m *message) string {
		for _, name := range names {
			if got := m.values(name); len(got) > 0 {
				return fmt.Sprintf("%s: %.60s", name, got[0])
			}
		}
		return ""
	}
}

// without: the option is not among those of Connection.
func without(option string) check {
	return func(m *message) string {
		if m.has("Connection", option) {
			return "Connection: " + option
		}
		return ""
	}
}

// last: the last element of the list is that.
func last(name, element string) check {
	return func(m *message) string {
		if got := m.list(name); len(got) == 0 || got[len(got)-1] != element {
			return fmt.Sprintf("%s: %q", name, got)
		}
		return ""
	}
}

func content(text string) check {
	return func(m *message) string {
		if m.content != text {
			return fmt.Sprintf("content %.40q, %d bytes", m.content, len(m.content))
		}
		return ""
	}
}

func start(line string) check {
	return func(m *message) string {
		if m.start != line {
			return fmt.Sprintf("%.60q", m.start)
		}
		return ""
	}
}

func target(t string) check {
	return func(m *message) string {
		if m.target() != t {
			return fmt.Sprintf("target %.60q", m.target())
		}
		return ""
	}
}

func status(allowed ...int) check {
	return func(m *message) string {
		if !slices.Contains(allowed, m.status()) {
			return fmt.Sprintf("status %d", m.status())
		}
		return ""
	}
}

func framed(how string) check {
	return func(m *message) string {
		if m.framing != how {
			return fmt.Sprintf("content delimited by %q", m.framing)
		}
		return ""
	}
}

func unchunked(m *message) string {
	if m.framing == "chunked" {
		return "chunked"
	}
	return ""
}

// The ways a request comes out.

// refused: it is answered with an error, 400 if nothing else is allowed, and no endpoint
// sees anything of it. Status 0 allows to end the connection without an answer.
func refused(request string, allowed ...int) func(*play) {
	return func(p *play) { p.refuse(request, allowed).settled() }
}

// shut is refused, and the connection ends: it is not known where the next request begins.
func shut(request string, allowed ...int) func(*play) {
	return func(p *play) { p.refuse(request, allowed).ended() }
}

func (p *play) refuse(request string, allowed []int) *conn {
	p.serve(nil)
	c := p.dial()
	c.send(request)
	a, err := c.tryAnswer("GET")
	switch {
	case err == io.EOF && slices.Contains(allowed, 0):
	case err != nil:
		p.failf("response: %v", explain(err))
	case a.status() != 400 && !slices.Contains(allowed, a.status()):
		p.wholly()
		p.failf("answered %d", a.status())
	}
	p.next()
	p.notForwarded()
	return c
}

func (p *play) notForwarded() {
	if n := len(p.requests()); n > 0 {
		p.failf("forwarded")
	}
	p.wholly()
}

// brokenOff: content that is none. The answer may be an error or the end of the connection,
// which ends in either case, and no endpoint gets a whole request.
func brokenOff(request string) func(*play) {
	return func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(request)
		switch a, err := c.tryAnswer("GET"); {
		case err == errNothing:
			p.failf("response: %v", err)
		case err == nil && a.status() < 400:
			p.failf("answered %d", a.status())
		case err == nil:
			c.ended()
		}
		p.next()
		if len(p.requests()) > 0 {
			p.failf("forwarded as if it were whole")
		}
	}
}

// either: it is refused, or forwarded as exactly one request that passes the checks.
func either(request string, checks ...check) func(*play) {
	return func(p *play) {
		if c := p.eitherWay(request, checks); c != nil {
			c.settled()
		}
	}
}

// eitherAndShut is either, and the connection ends.
func eitherAndShut(request string, checks ...check) func(*play) {
	return func(p *play) {
		if c := p.eitherWay(request, checks); c != nil {
			c.ended()
		}
	}
}

// eitherWay returns nil if the connection has ended without an answer.
func (p *play) eitherWay(request string, checks []check) *conn {
	p.serve(nil)
	c := p.dial()
	c.send(request)
	a, err := c.tryAnswer("GET")
	if err != nil && err != io.EOF {
		p.failf("response: %v", err)
	}
	p.next()
	if err == io.EOF || a.status() >= 400 {
		if p.notForwarded(); err == io.EOF {
			return nil
		}
		return c
	}
	p.one(checks)
	return c
}

// one: exactly one request was forwarded, and passes the checks.
func (p *play) one(checks []check) {
	p.wholly()
	seen := p.requests()
	if len(seen) != 1 {
		p.failf("%d requests forwarded", len(seen))
	}
	p.check(seen[0], checks)
}

// forwarded: the endpoint gets it as one request, which passes the checks, and the client
// its answer. The connection is good for another one unless it was to be closed.
func forwarded(request string, checks ...check) func(*play) {
	return func(p *play) {
		p.serve(nil)
		c := p.dial()
		c.send(request)
		method, _, _ := strings.Cut(strings.TrimLeft(request, "\r\n"), " ")
		if a := c.answer(method); a.status() != 200 {
			p.failf("answered %d", a.status())
		}
		p.one(checks)
		c.settled()
	}
}

// The ways a response comes out.

// relayed: the client of a GET gets a response that passes the checks.
func relayed(response string, checks ...check) func(*play) {
	return relayedTo(get("/"), response, checks...)
}

// relayedTo is relayed with another request.
func relayedTo(request, response string, checks ...check) func(*play) {
	return func(p *play) {
		a := p.relay(request, response)
		p.check(a, checks)
	}
}

// relay has every attempt answered so.
func (p *play) relay(request, response string) *message {
	p.serve(func(*message) string { return response })
	c := p.dial()
	c.send(request)
	method, _, _ := strings.Cut(request, " ")
	return c.answer(method)
}

// rejected: the client gets 502, and nothing of the response.
func rejected(response string) func(*play) { return relayed(response, status(502)) }

// eitherRelayed: the client gets 502, or a response that passes the checks.
func eitherRelayed(response string, checks ...check) func(*play) {
	return func(p *play) {
		if a := p.relay(get("/"), response); a.status() != 502 {
			p.check(a, checks)
		}
	}
}

// truncated: the client can tell that the response is not whole; or it gets 502.
func truncated(response string) func(*play) {
	return func(p *play) {
		p.serve(func(*message) string { return response })
		c := p.dial()
		c.send(get("/"))
		switch a, err := c.tryAnswer("GET"); {
		case err == errCut, err == io.EOF, err == nil && a.status() == 502:
		case err != nil:
			p.failf("response: %v", explain(err))
		default:
			p.failf("passed on as if it were whole, delimited by %q", a.framing)
		}
	}
}

// unmixed: what is too much behind a response is no response to the next request, be it on
// the same connection of the client or on another one.
func unmixed(request, response string) func(*play) {
	return func(p *play) {
		method, _, _ := strings.Cut(request, " ")
		p.serve(func(m *message) string {
			if m.target() == nextTarget {
				return answerTo(m)
			}
			return response
		})
		c := p.dial()
		c.send(request)
		c.answer(method)
		other := p.dial()
		other.send(get(nextTarget))
		if a := other.answer("GET"); a.content != "GET "+nextTarget {
			p.failf("another client gets %d %.30q", a.status(), a.content)
		}
		c.settled()
	}
}
