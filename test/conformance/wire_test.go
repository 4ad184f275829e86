package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A field is one line of a head or of a trailer section.
type field struct{ name, value string }

// A message is a request or a response as it came over the wire.
type message struct {
	start    string
	fields   []field
	content  string // as far as it came, if it was cut short
	trailers []field
	interim  []*message // the 1xx responses before it

	framing string // what delimits the content: "", "length", "chunked" or "close"
}

// values are those of all fields of that name, in order.
func (m *message) values(name string) (out []string) {
	for _, f := range m.fields {
		if strings.EqualFold(f.name, name) {
			out = append(out, f.value)
		}
	}
	return out
}

// list is the elements of a field that is a list, however it was cut into lines.
func (m *message) list(name string) (out []string) {
	for _, v := range m.values(name) {
		for e := range strings.SplitSeq(v, ",") {
			if e = strings.TrimSpace(e); e != "" {
				out = append(out, e)
			}
		}
	}
	return out
}

func (m *message) has(name, element string) bool {
	return slices.ContainsFunc(m.list(name), func(e string) bool { return strings.EqualFold(e, element) })
}

// status is that of a response, whose start line has been checked.
func (m *message) status() int {
	n, _ := strconv.Atoi(m.start[len("HTTP/1.1 "):len("HTTP/1.1 200")])
	return n
}

func (m *message) method() string { return strings.Split(m.start, " ")[0] }
func (m *message) target() string { return strings.Split(m.start, " ")[1] }

// Errors of reading. What is malformed has a text of its own.
var (
	errCut     = errors.New("cut short")
	errNothing = errors.New("nothing came")
)

// A conn is the client's or the endpoint's end of a connection with the proxy.
type conn struct {
	net.Conn
	play *play
	in   *bufio.Reader
}

func newConn(p *play, c net.Conn) *conn {
	p.own(c)
	return &conn{Conn: c, play: p, in: bufio.NewReaderSize(c, 4<<10)}
}

// wait bounds what follows.
func (c *conn) wait() { c.SetReadDeadline(time.Now().Add(c.play.patience)) }

// why makes an error of the connection one of ours.
func why(err error, begun bool) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errNothing
	case !begun:
		return io.EOF // a reset says no more than an end
	}
	return errCut
}

// line reads a line without its end, which has to be CRLF.
func (c *conn) line() (string, error) {
	c.wait()
	line, err := c.in.ReadString('\n')
	if err != nil {
		return "", why(err, line != "")
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(text, "\r\x00") {
		return "", fmt.Errorf("a line ends in %q", line[max(0, len(line)-4):])
	}
	return text, nil
}

// section reads field lines up to the empty line.
func (c *conn) section() (fields []field, err error) {
	for {
		line, err := c.line()
		if err == io.EOF {
			err = errCut
		}
		if err != nil || line == "" {
			return fields, err
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsFunc(name, notToken) {
			return fields, fmt.Errorf("not a field: %.40q", line)
		}
		fields = append(fields, field{name, strings.Trim(value, " \t")})
	}
}

func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

// head reads a start line and fields. io.EOF: the connection ended before.
func (c *conn) head() (*message, error) {
	m := &message{}
	var err error
	if m.start, err = c.line(); err != nil {
		return nil, err
	}
	m.fields, err = c.section()
	return m, err
}

// read reads a whole message whose head is m. Its framing must be beyond doubt, as a
// proxy's has to be.
func (c *conn) read(m *message, none, untilClose bool) error {
	lengths, codings := m.values("Content-Length"), m.values("Transfer-Encoding")
	switch {
	case len(lengths) > 1 || len(codings) > 1 || len(lengths)+len(codings) > 1 && !none:
		return fmt.Errorf("Content-Length %q beside Transfer-Encoding %q", lengths, codings)
	case none:
		return nil
	case len(codings) == 1:
		if !strings.EqualFold(codings[0], "chunked") {
			return fmt.Errorf("Transfer-Encoding: %s", codings[0])
		}
		m.framing = "chunked"
		return c.chunks(m)
	case len(lengths) == 1:
		n, err := strconv.ParseUint(lengths[0], 10, 62)
		if err != nil {
			return fmt.Errorf("Content-Length: %s", lengths[0])
		}
		m.framing = "length"
		return c.take(m, int(n))
	case untilClose:
		m.framing = "close"
		c.wait()
		rest, err := io.ReadAll(c.in)
		m.content = string(rest)
		return why(err, true)
	}
	return nil
}

// take reads n bytes of content.
func (c *conn) take(m *message, n int) error {
	buf := make([]byte, 64<<10)
	for n > 0 {
		c.wait()
		got, err := c.in.Read(buf[:min(n, len(buf))])
		m.content += string(buf[:got])
		if n -= got; err != nil {
			return why(err, true)
		}
	}
	return nil
}

func (c *conn) chunks(m *message) error {
	for {
		line, err := c.line()
		if err != nil {
			return cut(err)
		}
		size, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseUint(size, 16, 31)
		if err != nil {
			return fmt.Errorf("a chunk of size %.20q", line)
		}
		if n == 0 {
			m.trailers, err = c.section()
			return err
		}
		if err := c.take(m, int(n)); err != nil {
			return err
		}
		if line, err = c.line(); err != nil || line != "" {
			return cmpErr(cut(err), fmt.Errorf("a chunk ends in %.20q", line))
		}
	}
}

func cut(err error) error {
	if err == io.EOF {
		return errCut
	}
	return err
}

func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// tryRequest reads a request: io.EOF if none came.
func (c *conn) tryRequest() (*message, error) {
	m, err := c.head()
	if err != nil {
		return nil, err
	}
	return m, c.finishRequest(m)
}

// finishRequest checks the head of a request and reads its content.
func (c *conn) finishRequest(m *message) error {
	words := strings.Split(m.start, " ")
	if len(words) != 3 || words[0] == "" || words[1] == "" || !strings.HasPrefix(words[2], "HTTP/1.") {
		return fmt.Errorf("not a request line: %.60q", m.start)
	}
	if hosts := m.values("Host"); len(hosts) > 1 || len(hosts) == 0 && words[2] == "HTTP/1.1" {
		return fmt.Errorf("%d Host fields", len(hosts))
	}
	return c.read(m, false, false)
}

// tryHead reads the head of a final response, and the interim ones before it.
func (c *conn) tryHead() (*message, error) {
	var interim []*message
	for {
		m, err := c.head()
		if m != nil && !validStatusLine(m.start) {
			return nil, fmt.Errorf("not a status line: %.60q", m.start)
		}
		if err != nil {
			return nil, err
		}
		m.interim = interim
		status := m.status()
		forbidden := status < 200 || status == 204
		if forbidden && len(m.values("Content-Length"))+len(m.values("Transfer-Encoding")) > 0 {
			return nil, fmt.Errorf("%d with the length of content", status)
		}
		if status >= 200 || status == 101 {
			return m, nil
		}
		interim = append(interim, m)
	}
}

// validStatusLine: either version may be answered with HTTP/1.0 (RFC 9110 §2.5).
func validStatusLine(line string) bool {
	rest, ok := strings.CutPrefix(line, "HTTP/1.1 ")
	if !ok {
		rest, ok = strings.CutPrefix(line, "HTTP/1.0 ")
	}
	if !ok || len(rest) < 3 || rest[0] < '1' || rest[0] > '9' || len(rest) > 3 && rest[3] != ' ' {
		return false
	}
	_, err := strconv.ParseUint(rest[:3], 10, 16)
	return err == nil
}

// tryAnswer reads a final response to a request with that method. If its content is cut
// short the message is returned all the same.
func (c *conn) tryAnswer(method string) (*message, error) {
	m, err := c.tryHead()
	if err != nil {
		return nil, err
	}
	return m, c.finishAnswer(m, method)
}

func (c *conn) finishAnswer(m *message, method string) error {
	status := m.status()
	return c.read(m, method == "HEAD" || status < 200 || status == 204 || status == 304, true)
}
