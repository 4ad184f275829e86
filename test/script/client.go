package script

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// A client plays one client connection, step by step on the script's task.
type client struct {
	play *play
	at   string // its own address; "" for any
	jar  string // of its latest request, for the cookies that the response sets; empty: none
	wire *wire  // nil until the first step that needs it

	methods []string // of requests whose final response has not begun
	current *message // a response whose content is being read
}

// do runs one step.
func (c *client) do(words []string) error {
	word, rest := words[0], words[1:]
	if word == "wait" {
		d, err := parseDuration(rest)
		c.play.stage.Sleep(d)
		return err
	}
	if word == "renew" {
		return c.renew()
	}
	if err := c.connect(); err != nil {
		return err
	}
	switch word {
	case "send":
		return c.send(rest)
	case "raw":
		return c.raw(strings.Join(rest, ""))
	case "expect":
		if len(rest) == 0 {
			return errors.New("expect what?")
		}
		c.wire.SetReadDeadline(c.play.stage.Now() + c.play.patience)
		return c.expect(rest)
	case "finish":
		return c.wire.CloseWrite()
	case "close":
		return c.leave((*wire).hangUp)
	case "abort":
		return c.leave((*wire).Abort)
	}
	return fmt.Errorf("%s: a client cannot do that", word)
}

func (c *client) connect() error {
	if c.wire != nil {
		return nil
	}
	stream, err := c.play.stage.Dial(c.at, c.play.entrance)
	if err != nil {
		return err
	}
	if c.play.http2 {
		stream = newCrossing(stream, c.play.stage.Now)
	}
	c.wire = &wire{conn: stream}
	return nil
}

func (w *wire) hangUp() { w.Close() }

// leave ends the connection; the next step opens another.
func (c *client) leave(end func(*wire)) error {
	if c.wire != nil {
		end(c.wire)
	}
	c.wire, c.methods, c.current = nil, nil, nil
	return nil
}

// renew does what clients do when the last response said that the connection ends: it
// opens another one. Otherwise the connection has to be good for the next request.
func (c *client) renew() error {
	if c.current != nil && slices.Contains(c.current.get("Connection"), "close") {
		return c.leave((*wire).hangUp)
	}
	return nil
}

// send writes a request: METHOD TARGET and options.
func (c *client) send(words []string) error {
	if len(words) < 2 {
		return errors.New("a method and a target are needed")
	}
	o, err := parseOptions(words[2:])
	if err != nil {
		return err
	}
	c.jar = o.cookies
	c.play.cookies(&o)
	version := " HTTP/1.1"
	if o.old {
		version = " HTTP/1.0"
	}
	target := words[1] + strings.Repeat("a", max(0, o.target-len(words[1])))
	var host []field
	if o.host != "none" {
		host = []field{{"Host", o.host}}
	}
	head, content := encode(words[0]+" "+target+version, host, o, false)
	return c.raw(head + content)
}

// raw writes text as it is. If it begins like a request it counts as one.
func (c *client) raw(text string) error {
	line, _, _ := strings.Cut(text, "\r\n")
	if method, rest, _ := strings.Cut(line, " "); strings.Contains(rest, " HTTP/1.") {
		c.methods = append(c.methods, method)
	}
	_, err := c.wire.Write([]byte(text))
	return err
}

func (c *client) expect(words []string) error {
	switch words[0] {
	case "head":
		if len(words) < 2 {
			return errors.New("no status")
		}
		return c.response(words[1], words[2:], false)
	case "content":
		return c.content(strings.Join(words[1:], ""))
	case "end":
		return c.end(words[1:])
	case "cut":
		return c.cut()
	case "closed":
		return c.closed()
	case "goaway":
		return c.told()
	case "nothing":
		return c.nothing(words[1:])
	case "raw":
		return c.exactly(strings.Join(words[1:], ""))
	}
	return c.response(words[0], words[1:], true)
}

// response reads the next head, and all of its content if whole, and compares. Interim
// responses without a request are skipped.
func (c *client) response(status string, words []string, whole bool) error {
	o, err := parseOptions(words)
	if err != nil {
		return err
	}
	method := "GET"
	if len(c.methods) > 0 {
		method = c.methods[0]
	}
	m, err := c.wire.head(method)
	for err == nil && status >= "200" && strings.HasPrefix(m.start, "HTTP/1.1 1") {
		m, err = c.wire.head(method)
	}
	if err != nil {
		return fmt.Errorf("no response: %w", err)
	}
	if status >= "200" && len(c.methods) > 0 {
		c.methods = c.methods[1:]
	}
	c.current = m
	got, _ := m.status()
	if strconv.Itoa(got) != status {
		c.wire.rest(m)
		return fmt.Errorf("status %d, want %s:\n%v", got, status, m)
	}
	if whole {
		if err := c.wire.rest(m); err != nil {
			return err
		}
	}
	c.play.keepCookies(c.jar, m)
	if err := c.play.answeredBy(m, o); err != nil {
		return err
	}
	if err := m.match(o); err != nil {
		return fmt.Errorf("%w, in:\n%v", err, m)
	}
	return nil
}

// content reads exactly this much more of the content.
func (c *client) content(want string) error {
	if c.current == nil {
		return errors.New("no response is being read")
	}
	for len(c.current.content) < len(want) {
		if c.current.ended {
			return fmt.Errorf("the content ended after %q", c.current.content)
		}
		if err := c.wire.part(c.current); err != nil {
			return fmt.Errorf("%w after %q", err, c.current.content)
		}
	}
	if got := string(c.current.content); !strings.HasPrefix(got, want) {
		return fmt.Errorf("content %s, want %s", brief(got), brief(want))
	}
	// What was expected is taken off, so that the next expectation begins behind it.
	c.current.content = c.current.content[len(want):]
	if c.current.framing == "length" {
		c.current.length -= len(want)
	}
	return nil
}

// end expects the end of the content in good order, with nothing left of it.
func (c *client) end(words []string) error {
	o, err := parseOptions(words)
	if err != nil {
		return err
	}
	if err := c.wire.rest(c.current); err != nil {
		return err
	}
	if o.content == nil && len(c.current.content) > 0 {
		return fmt.Errorf("there is more content: %s", brief(string(c.current.content)))
	}
	return c.current.match(o)
}

// cut expects that the content ends so that a client sees it is not all.
func (c *client) cut() error {
	switch err := c.wire.rest(c.current); {
	case err == nil:
		return fmt.Errorf("the content ended in good order (framing %s)", c.current.framing)
	case timedOut(err):
		return fmt.Errorf("the connection is still open: %w", err)
	}
	return nil
}

// closed expects the end of the connection, by FIN or reset, and no byte before it.
func (c *client) closed() error {
	if len(c.wire.unread) == 0 {
		switch err := c.wire.more(); {
		case timedOut(err):
			return errors.New("the connection is still open")
		case err != nil:
			return nil
		}
	}
	return fmt.Errorf("got %q", c.wire.unread)
}

// told expects that the connection's end was announced, or is while this waits, on a connection that
// is open.
func (c *client) told() error {
	x, ok := c.wire.conn.(*crossing)
	if !ok {
		return errors.New("only HTTP/2 has GOAWAY")
	}
	for !x.away {
		if err := x.frame(x.readBy); err != nil {
			return fmt.Errorf("no GOAWAY came: %w", err)
		}
	}
	return nil
}

// nothing expects that no byte comes, nor the end, for a time.
func (c *client) nothing(words []string) error {
	d, err := parseDuration(words)
	if err != nil {
		return err
	}
	c.wire.SetReadDeadline(c.play.stage.Now() + d)
	if len(c.wire.unread) == 0 {
		if err = c.wire.more(); timedOut(err) {
			return nil
		}
	}
	return fmt.Errorf("got %q, %v", c.wire.unread, err)
}

// exactly expects these bytes next.
func (c *client) exactly(want string) error {
	for len(c.wire.unread) < len(want) {
		if err := c.wire.more(); err != nil {
			return fmt.Errorf("%w after %q, want %q", err, c.wire.unread, want)
		}
	}
	if got := string(c.wire.unread[:len(want)]); got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	c.wire.unread = c.wire.unread[len(want):]
	return nil
}

func timedOut(err error) bool {
	return errors.Is(err, engine.ErrTimeout) || errors.Is(err, os.ErrDeadlineExceeded)
}

// sleepUntil polls a condition that another task brings about.
func sleepUntil(s stage, limit time.Duration, done func() bool) bool {
	for by := s.Now() + limit; !done(); s.Sleep(time.Millisecond) {
		if s.Now() > by {
			return false
		}
	}
	return true
}
