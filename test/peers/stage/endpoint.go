//go:build linux

package stage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/internal/http2"
)

// Paths that the endpoint knows; every other one has the small answer. What a proxy is
// measured with ends in one of them, whatever route leads there.
const (
	PathSize = "/size/" // followed by a number: an answer of so many bytes
	PathWait = "/wait"  // never answered
	PathTalk = "/talk"  // upgraded, as a WebSocket; then every byte comes back
	// PathStall is never answered, and no content that comes with it is read.
	PathStall = "/stall"
)

// Small is the size of the small answer.
const Small = 128

// headMax bounds a request's head as the endpoint sees it, after the proxy's additions.
const headMax = 4 << 10

// prefaceHead is how much of HTTP/2's preface looks like a head.
const prefaceHead = len("PRI * HTTP/2.0\r\n\r\n")

// wsKey and wsAccept are the pair of RFC 6455 §1.3: proxies may check that they fit.
const (
	wsKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	wsAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

var errNoRequest = errors.New("not a request")

// An endpoint answers whatever connects to one of its listeners.
type endpoint struct {
	loop    *loop
	answers map[int][]byte // by size, with their heads
	blocks  map[int][]byte // the heads by size, as HTTP/2 has them
	names   map[string]string
	scratch []byte // what bodies are read into, to be forgotten
	waiting int    // requests that are never answered, of open connections
	refused int    // connections that there was no descriptor for
}

func newEndpoint(l *loop) *endpoint {
	return &endpoint{loop: l, answers: make(map[int][]byte), blocks: make(map[int][]byte), names: make(map[string]string),
		scratch: make([]byte, 256<<10)}
}

// accept serves a listener for as long as there is a loop.
func (e *endpoint) accept(fd int) {
	e.loop.start(func(t *task) {
		if t.take(fd, unix.EPOLLIN) != nil {
			return
		}
		for t.await(unix.EPOLLIN) == nil {
			for {
				c, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
				if err == unix.EMFILE {
					e.refused++
				}
				if err != nil {
					break // no connection there any more, or no descriptor left: the next event shows it
				}
				unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
				e.loop.start(func(t *task) {
					if t.take(c, unix.EPOLLIN) == nil {
						e.serve(t)
					}
				})
			}
		}
	})
}

// serve answers one request after the other.
func (e *endpoint) serve(t *task) {
	buf := make([]byte, headMax)
	for n := 0; ; {
		end := -1
		for end < 0 {
			if n == len(buf) {
				return
			}
			m, err := t.Read(buf[n:])
			if err != nil {
				return
			}
			from := max(n-3, 0)
			n += m
			if i := bytes.Index(buf[from:n], []byte("\r\n\r\n")); i >= 0 {
				end = from + i + 4
			}
		}
		if bytes.HasPrefix(buf, []byte(http2.Preface[:prefaceHead])) {
			e.multiply(t, buf[:n])
			return
		}
		target, length, err := request(buf[:end])
		if err != nil {
			return
		}
		if strings.HasSuffix(target, PathStall) {
			t.await(unix.EPOLLRDHUP) // until the client leaves
			return
		}
		have := min(n-end, length)
		n = copy(buf, buf[end+have:n])
		for length -= have; length > 0; {
			m, err := t.Read(e.scratch[:min(length, len(e.scratch))])
			if err != nil {
				return
			}
			length -= m
		}
		if !e.answer(t, target) {
			return
		}
	}
}

// answer reports whether the connection takes another request.
func (e *endpoint) answer(t *task, target string) bool {
	switch {
	case strings.HasSuffix(target, PathWait):
		e.waiting++
		defer func() { e.waiting-- }()
		t.Read(e.scratch) // ends when the client leaves
		return false
	case strings.HasSuffix(target, PathTalk):
		e.talk(t)
		return false
	}
	size := Small
	if _, number, ok := strings.Cut(target, PathSize); ok {
		size, _ = strconv.Atoi(number)
	}
	text := e.answers[size]
	if text == nil {
		text = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nDate: Tue, 04 Aug 2026 12:00:00 GMT\r\n"+
			"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n", size)
		text = append(text, bytes.Repeat([]byte("x"), size)...)
		e.answers[size] = text
	}
	_, err := t.Write(text)
	return err == nil
}

// talk says that it is a WebSocket and sends back what comes.
func (e *endpoint) talk(t *task) {
	_, err := t.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Accept: " + wsAccept + "\r\n\r\n"))
	for err == nil {
		var n int
		if n, err = t.Read(e.scratch); err == nil {
			_, err = t.Write(bytes.Clone(e.scratch[:n])) // others use it while this one waits
		}
	}
}

// request reads the target and the length of the content off a head.
func request(head []byte) (target string, length int, err error) {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	parts := bytes.Split(line, []byte(" "))
	if len(parts) != 3 || !bytes.HasPrefix(parts[2], []byte("HTTP/1.")) {
		return "", 0, errNoRequest
	}
	if v := field(head, "Content-Length"); v != nil {
		if length, err = strconv.Atoi(string(v)); err != nil {
			return "", 0, errNoRequest
		}
	} else if field(head, "Transfer-Encoding") != nil {
		return "", 0, fmt.Errorf("%w: chunked, which the client did not send", errNoRequest)
	}
	return string(parts[1]), length, nil
}

// field is the value of a field of a head, without the spaces around it; nil if it is not
// there.
func field(head []byte, name string) []byte {
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return bytes.TrimSpace(line[len(name)+1:])
		}
	}
	return nil
}

// readAnswer reads one answer: its status, and that its content is as long as it says.
// buf takes the head, and must have room for it and the first of the content.
func readAnswer(r io.Reader, buf, scratch []byte) (head []byte, status int, err error) {
	n, end := 0, -1
	for end < 0 {
		if n == len(buf) {
			return nil, 0, fmt.Errorf("a head of more than %d bytes", n)
		}
		m, err := r.Read(buf[n:])
		if err != nil {
			return nil, 0, err
		}
		from := max(n-3, 0)
		n += m
		if i := bytes.Index(buf[from:n], []byte("\r\n\r\n")); i >= 0 {
			end = from + i + 4
		}
	}
	head = buf[:end]
	if end < len("HTTP/1.1 200\r\n\r\n") || !bytes.HasPrefix(head, []byte("HTTP/1.")) {
		return nil, 0, fmt.Errorf("not an answer: %q", head)
	}
	if status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return nil, 0, fmt.Errorf("not an answer: %q", head)
	}
	if status == 101 {
		return head, status, nil
	}
	length, err := strconv.Atoi(string(field(head, "Content-Length")))
	if err != nil {
		return nil, 0, fmt.Errorf("an answer without a length: %q", head)
	}
	length -= n - end
	for length > 0 {
		m, err := r.Read(scratch[:min(length, len(scratch))])
		if err != nil {
			return nil, 0, fmt.Errorf("%d bytes of content missing: %w", length, err)
		}
		length -= m
	}
	if length < 0 {
		return nil, 0, fmt.Errorf("%d bytes too many", -length)
	}
	return head, status, nil
}
