package rig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// A Conn is the client's end of one HTTP/1.1 connection, one request after the other. It
// is for load: it allocates nothing after its first answers and costs little besides its
// two system calls. It knows answers with a Content-Length only.
type Conn struct {
	conn net.Conn
	buf  []byte
	w    int // buf[:w] has been read
}

// answerTime bounds the wait for one answer.
const answerTime = 15 * time.Second

// Dial connects to address.
func Dial(address string) (*Conn, error) {
	c, err := net.DialTimeout("tcp", address, answerTime)
	if err != nil {
		return nil, err
	}
	return NewConn(c), nil
}

// NewConn makes a Conn of a connection, which belongs to it from then on.
func NewConn(c net.Conn) *Conn { return &Conn{conn: c, buf: make([]byte, 8<<10)} }

// Close closes the connection.
func (c *Conn) Close() { c.conn.Close() }

// An Answer is a response. Its slices are valid until the next Do.
type Answer struct {
	Status int
	Head   []byte // with the empty line at its end
	Body   []byte
	Close  bool // the connection takes no further request
}

// Errors of Do that tell how much of an answer there was.
var (
	ErrNoAnswer = errors.New("connection ended without an answer")
	ErrCut      = errors.New("answer cut short")
)

// Do sends a request, which must be whole, and reads its answer.
func (c *Conn) Do(request []byte) (a Answer, err error) {
	c.w = 0
	c.conn.SetDeadline(time.Now().Add(answerTime))
	if _, err := c.conn.Write(request); err != nil {
		return a, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	head := -1
	for head < 0 {
		if err := c.fill(); err != nil {
			return a, err
		}
		head = bytes.Index(c.buf[:c.w], []byte("\r\n\r\n"))
	}
	a.Head = c.buf[:head+4]
	if !bytes.HasPrefix(a.Head, []byte("HTTP/1.")) || len(a.Head) < len("HTTP/1.1 200\r\n") {
		return a, fmt.Errorf("not an answer: %q", a.Head)
	}
	if a.Status, err = strconv.Atoi(string(a.Head[len("HTTP/1.1 "):len("HTTP/1.1 200")])); err != nil {
		return a, err
	}
	length, err := strconv.Atoi(string(a.Field("Content-Length")))
	if err != nil {
		return a, fmt.Errorf("answer without a length: %q", a.Head)
	}
	for c.w < len(a.Head)+length {
		if err := c.fill(); err != nil {
			return a, err
		}
	}
	a.Head, a.Body = c.buf[:head+4], c.buf[head+4:head+4+length]
	a.Close = bytes.EqualFold(a.Field("Connection"), []byte("close"))
	return a, nil
}

// fill reads more of an answer.
func (c *Conn) fill() error {
	if c.w == len(c.buf) {
		c.buf = append(c.buf, make([]byte, len(c.buf))...)
	}
	n, err := c.conn.Read(c.buf[c.w:])
	c.w += n
	switch {
	case n > 0:
		return nil
	case c.w > 0:
		return fmt.Errorf("%w: %w", ErrCut, err)
	case err == io.EOF:
		return ErrNoAnswer
	}
	return fmt.Errorf("%w: %w", ErrNoAnswer, err)
}

// Field is the value of a field of the head; nil if it is not there.
func (a *Answer) Field(name string) []byte {
	for rest := a.Head; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return bytes.TrimSpace(line[len(name)+1:])
		}
	}
	return nil
}
