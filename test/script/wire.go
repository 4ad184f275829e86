package script

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// A conn is what an actor needs of a stream; engine.Stream has it.
type conn interface {
	io.ReadWriter
	SetReadDeadline(at time.Duration)
	CloseWrite() error
	Close() error
	Abort()
}

type field struct{ name, value string }

func parseField(text string) (field, error) {
	name, value, ok := strings.Cut(text, ":")
	if !ok || name == "" {
		return field{}, fmt.Errorf("%q is not a field: want \"Name: value\"", text)
	}
	return field{name, strings.Trim(value, " \t")}, nil
}

// A message is a request or a response as an actor read it.
type message struct {
	start    string
	fields   []field
	framing  string // none, length, chunked or until-close
	length   int
	content  []byte
	trailers []field
	ended    bool
}

// get returns the values of all fields of that name.
func (m *message) get(name string) []string { return values(m.fields, name) }

func values(fields []field, name string) []string {
	var all []string
	for _, f := range fields {
		if strings.EqualFold(f.name, name) {
			all = append(all, f.value)
		}
	}
	return all
}

func (m *message) String() string {
	var b strings.Builder
	fmt.Fprintln(&b, m.start)
	for _, f := range m.fields {
		fmt.Fprintf(&b, "%s: %s\n", f.name, f.value)
	}
	fmt.Fprintf(&b, "%.200q", m.content)
	return b.String()
}

// A wire reads HTTP/1 messages from a conn. It is a reader of its own, apart from the
// one under test, and takes nothing but what RFC 9112 has a sender write.
type wire struct {
	conn
	unread []byte
	room   [4096]byte
	idle   bool // an endpoint's, between requests; guarded by the endpoint's mu
}

// more reads once from the conn.
func (w *wire) more() error {
	n, err := w.Read(w.room[:])
	w.unread = append(w.unread, w.room[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

func (w *wire) line() (string, error) {
	for {
		if i := bytes.IndexByte(w.unread, '\n'); i >= 0 {
			line, ok := bytes.CutSuffix(w.unread[:i], []byte("\r"))
			if !ok || bytes.ContainsAny(line, "\r\x00") {
				return "", fmt.Errorf("line %q does not end in CR LF alone", w.unread[:i+1])
			}
			w.unread = w.unread[i+1:]
			return string(line), nil
		}
		if err := w.more(); err != nil {
			if err == io.EOF && len(w.unread) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}

// head reads a start line and the fields. The method is that of the request, "" if the
// message is a request.
func (w *wire) head(method string) (*message, error) {
	start, err := w.line()
	if err != nil {
		return nil, err
	}
	m := &message{start: start}
	if m.fields, err = w.fields(); err != nil {
		return m, fmt.Errorf("in the head of %q: %w", start, unexpected(err))
	}
	return m, m.frame(method)
}

func (w *wire) fields() ([]field, error) {
	var fields []field
	for {
		line, err := w.line()
		if err != nil || line == "" {
			return fields, err
		}
		f, err := parseField(line)
		if err != nil {
			return fields, err
		}
		fields = append(fields, f)
	}
}

// frame finds out how the content is delimited (RFC 9112 §6.3).
func (m *message) frame(method string) error {
	response := method != ""
	coding, length := m.get("Transfer-Encoding"), m.get("Content-Length")
	if len(length) > 1 || len(length) == 1 && len(coding) > 0 || len(coding) > 1 {
		return fmt.Errorf("ambiguous framing: %v", m)
	}
	status := 0
	if response {
		var err error
		if status, err = m.status(); err != nil {
			return err
		}
	}
	m.framing, m.length = "none", -1
	if len(length) == 1 {
		n, err := strconv.Atoi(length[0])
		if err != nil {
			return fmt.Errorf("Content-Length: %w", err)
		}
		m.length = n
	}
	switch {
	case response && (method == "HEAD" || status < 200 || status == 204 || status == 304):
		m.ended = true
	case len(coding) == 1 && coding[0] != "chunked":
		return fmt.Errorf("Transfer-Encoding: %s", coding[0])
	case len(coding) == 1:
		m.framing = "chunked"
	case m.length >= 0:
		m.framing = "length"
		m.ended = m.length == 0
	case response:
		m.framing = "until-close"
	default:
		m.ended = true
	}
	return nil
}

func (m *message) status() (int, error) {
	version, rest, _ := strings.Cut(m.start, " ")
	status, err := strconv.Atoi(rest[:min(3, len(rest))])
	if err != nil || !strings.HasPrefix(version, "HTTP/1.") || len(rest) < 4 || rest[3] != ' ' {
		return 0, fmt.Errorf("%q is no status line", m.start)
	}
	return status, nil
}

// part reads the next piece of the content, or its end.
func (w *wire) part(m *message) error {
	switch m.framing {
	case "chunked":
		return w.chunk(m)
	case "length":
		if len(w.unread) == 0 {
			if err := w.more(); err != nil {
				return unexpected(err)
			}
		}
		n := min(m.length-len(m.content), len(w.unread))
		m.content = append(m.content, w.unread[:n]...)
		w.unread = w.unread[n:]
		m.ended = len(m.content) == m.length
	case "until-close":
		if len(w.unread) == 0 {
			if err := w.more(); err == io.EOF {
				m.ended = true
			} else if err != nil {
				return err
			}
		}
		m.content = append(m.content, w.unread...)
		w.unread = nil
	}
	return nil
}

func (w *wire) chunk(m *message) error {
	line, err := w.line()
	if err != nil {
		return unexpected(err)
	}
	size, err := strconv.ParseUint(line, 16, 31)
	if err != nil {
		return fmt.Errorf("chunk line %q", line)
	}
	if size == 0 {
		m.trailers, err = w.fields()
		m.ended = err == nil
		return unexpected(err)
	}
	for len(w.unread) < int(size)+2 {
		if err := w.more(); err != nil {
			return unexpected(err)
		}
	}
	if string(w.unread[size:size+2]) != "\r\n" {
		return errors.New("a chunk does not end in CR LF")
	}
	m.content = append(m.content, w.unread[:size]...)
	w.unread = w.unread[size+2:]
	return nil
}

// rest reads the content to its end.
func (w *wire) rest(m *message) error {
	for !m.ended {
		if err := w.part(m); err != nil {
			return fmt.Errorf("after %d bytes of content: %w", len(m.content), err)
		}
	}
	return nil
}

// unexpected is the error of a stream that ends inside of a message.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// encode makes a message: a head of start line and fields, and the content as the options say.
func encode(start string, fields []field, o options, contentless bool) (head, content string) {
	var b strings.Builder
	b.WriteString(start + "\r\n")
	for _, f := range append(fields, o.fields...) {
		b.WriteString(f.name + ": " + f.value + "\r\n")
	}
	switch {
	case o.chunks != nil || o.trailers != nil || o.chunked:
		b.WriteString("Transfer-Encoding: chunked\r\n")
		for _, c := range o.chunks {
			content += encodeChunk(c)
		}
		if o.chunks != nil || o.trailers != nil {
			content += encodeEnd(o.trailers)
		}
	case o.length >= 0:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", o.length)
	case o.content != nil && !o.untilClose:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(*o.content))
	}
	if o.content != nil {
		content = *o.content
	}
	for i := range o.further {
		fmt.Fprintf(&b, "Further-%d: %d\r\n", i, i)
	}
	const padding = "Padding: \r\n"
	if room := o.head - b.Len() - len(padding) - len("\r\n"); room > 0 {
		b.WriteString(strings.Replace(padding, " ", " "+strings.Repeat("p", room), 1))
	}
	b.WriteString("\r\n")
	if contentless {
		content = ""
	}
	return b.String(), content
}

func encodeChunk(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }

func encodeEnd(trailers []field) string {
	end := "0\r\n"
	for _, f := range trailers {
		end += f.name + ": " + f.value + "\r\n"
	}
	return end + "\r\n"
}
