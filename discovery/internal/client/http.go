package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A DialFunc is net.Dialer.DialContext, or in tests something like it.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Options are what the HTTP clients of registries differ in.
type Options struct {
	Dial    DialFunc      // nil: the network
	TLS     *tls.Config   // nil: the system's roots; it is cloned
	Timeout time.Duration // for a connection, and for its handshake; 0: 3 s
	Idle    int           // connections that are kept for later; 0: one
	Direct  bool          // do not use the proxy that the environment names
}

// NewHTTP returns a client with connections of its own, as Over.
func NewHTTP(o Options) *http.Client {
	if o.Timeout <= 0 {
		o.Timeout = 3 * time.Second
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: o.Timeout, KeepAlive: 15 * time.Second}).DialContext
	}
	t := &http.Transport{
		DialContext:            o.Dial,
		TLSClientConfig:        o.TLS.Clone(),
		TLSHandshakeTimeout:    o.Timeout,
		MaxIdleConnsPerHost:    max(o.Idle, 1),
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if !o.Direct {
		t.Proxy = http.ProxyFromEnvironment
	}
	return Over(t)
}

// Over returns a client that does not follow redirects: a redirected POST loses its content,
// and a redirected request shows its credentials to another server.
func Over(t *http.Transport) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Servers checks the URLs of servers. Those without a scheme get the given one; "": each
// needs its own. An empty list is the URL fallback; "": it is an error. Errors do not
// repeat a URL, which may hold a password though this is not the place for one; unless
// credentials says that it is.
func Servers(list []string, scheme, fallback string, credentials bool) ([]*url.URL, error) {
	if len(list) == 0 && fallback != "" {
		list = []string{fallback}
	}
	if len(list) == 0 {
		return nil, errors.New("no servers")
	}
	out := make([]*url.URL, len(list))
	for i, text := range list {
		u, err := server(text, scheme, credentials)
		if err != nil {
			return nil, fmt.Errorf("server %d %w", i+1, err)
		}
		out[i] = u
	}
	return out, nil
}

// server checks one URL. What it returns has no slash at the end of its path.
func server(text, scheme string, credentials bool) (*url.URL, error) {
	text = strings.TrimSpace(text)
	if !strings.Contains(text, "://") && scheme != "" {
		text = scheme + "://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("is not a URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("is neither an http:// nor an https:// URL")
	case u.User != nil && !credentials:
		return nil, errors.New("has credentials in its URL: the configuration has a place of its own for them")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("has a query in its URL")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// Send sends a request with content, or without if that is nil, and returns the answer
// whatever its status. Errors hold neither the URL nor the content.
func Send(ctx context.Context, c *http.Client, method, address string, header http.Header, content []byte) (*http.Response, error) {
	var body io.Reader
	if content != nil {
		body = bytes.NewReader(content)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, errors.New("the path does not make a URL")
	}
	if header != nil {
		req.Header = header
	}
	res, err := c.Do(req)
	return res, Plain(ctx, err)
}

// Ask is Send with content in JSON, nil: without, for an answer of status 200. Another one is a
// StatusError, to which explain adds what the content says.
func Ask(ctx context.Context, c *http.Client, method, address string, header http.Header, in any, explain func(e *StatusError, content []byte)) (*http.Response, error) {
	var content []byte
	if in != nil {
		var err error
		if content, err = json.Marshal(in); err != nil {
			return nil, err
		}
	}
	res, err := Send(ctx, c, method, address, header, content)
	if err != nil || res.StatusCode == http.StatusOK {
		return res, err
	}
	defer res.Body.Close()
	e := Refused(res, "")
	said, _ := io.ReadAll(io.LimitReader(res.Body, 16<<10)) // as much as there is
	explain(e, said)
	return nil, e
}

// Read reads the content of an answer to its end, so that the connection can be used
// again, and closes it.
func Read(ctx context.Context, res *http.Response, most int) ([]byte, error) {
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, int64(most)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the answer broke off: %w", Plain(ctx, err))
	case len(data) > most:
		return nil, fmt.Errorf("%w: more than %d MiB", ErrLong, most>>20)
	}
	return data, nil
}

// Decode is Read of an answer in JSON into out; nil: what it says does not matter.
func Decode(ctx context.Context, res *http.Response, most int, out any) error {
	data, err := Read(ctx, res, most)
	if err == nil && out != nil && json.Unmarshal(data, out) != nil {
		err = errors.New("the answer is not the JSON of such a server")
	}
	return err
}

// ReadLine reads one line, with its end, of at most so many bytes. What it returns is valid
// until the next read. What there is of a last line comes with the error.
func ReadLine(r *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if line == nil && !errors.Is(err, bufio.ErrBufferFull) {
			return part, err
		}
		line = append(line, part...)
		switch {
		case len(line) > most:
			return nil, fmt.Errorf("a message is longer than %d MiB", most>>20)
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}

// Plain makes an error readable: without the URL of the request, with the cause of ctx's
// end if that has ended, and with a deadline that has passed as ErrSilent. nil is nil.
func Plain(ctx context.Context, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return ErrSilent
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// A StatusError is an answer with a status that says no.
type StatusError struct {
	Status  int
	Message string        // what the server says, or what we know better; "": the status's own text
	After   time.Duration // from Retry-After of 429 and 503: not to be asked again before; 0: there was none
}

func (e *StatusError) Error() string {
	text := strings.ToValidUTF8(e.Message[:min(len(e.Message), messageBytes)], "")
	if text == "" {
		text = http.StatusText(e.Status)
	}
	return fmt.Sprintf("status %d: %s", e.Status, text)
}

// Status is the status that err is about; 0: it is no answer's.
func Status(err error) int {
	if e, ok := errors.AsType[*StatusError](err); ok {
		return e.Status
	}
	return 0
}

const (
	messageBytes = 200 // of what a server says about an error
	// afterMost bounds Retry-After: a source of a registry that is back sooner than it said
	// should not be stale for hours.
	afterMost = time.Minute
)

// Refused is the error of an answer, with a message that was found in it.
func Refused(res *http.Response, message string) *StatusError {
	e := &StatusError{Status: res.StatusCode, Message: message}
	if e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable {
		e.After = parseAfter(res.Header.Get("Retry-After"), time.Now())
	}
	return e
}

// parseAfter reads Retry-After (RFC 9110 §10.2.3): seconds, or a date. What cannot be read
// is 0.
func parseAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, afterMost)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), afterMost)
}

// retryAfter returns how long the servers that err is about want to be left alone, with up
// to a tenth more, so that many clients do not come back at once. Of joined errors it is
// the least: that server may be asked then.
func retryAfter(err error) time.Duration {
	after := least(err)
	return after + rand.N(after/10+1)
}

func least(err error) time.Duration {
	switch e := err.(type) {
	case *StatusError:
		return e.After
	case interface{ Unwrap() []error }:
		all := e.Unwrap()
		out := time.Duration(0)
		for i, one := range all {
			if after := least(one); i == 0 || after < out {
				out = after
			}
		}
		return out
	case interface{ Unwrap() error }:
		return least(e.Unwrap())
	}
	return 0
}
