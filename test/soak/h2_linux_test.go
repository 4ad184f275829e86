package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// clientsH2 speak HTTP/2, over connections that a TLS listener hands on to net/http. Their
// numbers are those odd ones that follow the other clients'.
const clientsH2 = 2

func numberH2(i int) int { return clients + 2*i + 1 }

// speakH2 makes requests over HTTP/2 until the round is over.
func (c *client) speakH2(over func() bool) {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: addressOf(c.number)}}
	t := &http.Transport{
		TLSClientConfig:    c.soak.trust.Clone(),
		ForceAttemptHTTP2:  true,
		DisableCompression: true,
		// A connection whose last request was given up is busy for a moment longer, so the
		// CloseIdleConnections below may miss it.
		IdleConnTimeout: time.Second,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return from.DialContext(ctx, "tcp", c.soak.front.secure)
		},
	}
	for !over() {
		for n := c.rand.IntN(20); n >= 0 && !over(); n-- {
			// Several at once, on one connection.
			var group sync.WaitGroup
			for range 1 + c.rand.IntN(6) {
				group.Go(c.askH2(t))
			}
			group.Wait()
		}
		t.CloseIdleConnections()
		c.soak.done.add("HTTP/2")
	}
}

// orderH2 is an order that HTTP/2 can carry.
func orderH2(r *rand.Rand) *order {
	o := draw(r)
	o.expect = false
	if o.act == hinting {
		o.act = plainly
	}
	if o.up == 0 { // it says nothing of content that is none
		o.up = 1
	}
	return o
}

// askH2 draws a request, which what it returns makes. Some are given up on their way.
func (c *client) askH2(t *http.Transport) func() {
	e := c.soak.issue(c.number, orderH2(c.rand))
	cancelled, soon := c.rand.IntN(8) == 0, time.Duration(c.rand.IntN(30))*time.Millisecond
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if cancelled {
			defer time.AfterFunc(soon, cancel).Stop()
		}
		c.makeH2(ctx, t, e)
	}
}

func (c *client) makeH2(ctx context.Context, t *http.Transport, e *entry) {
	q, err := http.NewRequestWithContext(ctx, e.method, "https://soak.example/"+e.service+"/"+e.token, nil)
	if err != nil {
		c.soak.fail("HTTP/2: %v", err)
		return
	}
	q.Header.Set("X-Token", e.token)
	q.Header.Set("X-Order", e.text)
	if e.pad > 0 {
		q.Header.Set("X-Pad", text(e.token, e.pad))
	}
	if e.up > 0 {
		q.Body = io.NopCloser(io.LimitReader(reader{contentOf(e.token, upwards)}, int64(e.up)))
		if q.ContentLength = int64(e.up); e.upFrame == inChunks {
			q.ContentLength = -1
			q.Trailer = http.Header{"X-End": {e.token}}
		}
	}
	r := c.answerH2(t, q, e)
	if ctx.Err() != nil && errors.Is(r.err, context.Canceled) {
		c.soak.met.add("HTTP/2 requests given up")
		return
	}
	if e.act == early && r.status == 0 && errors.Is(r.err, errHeadless) {
		c.soak.met.add("early responses that HTTP/2 lost")
		return
	}
	why := fmt.Sprint(r.err)
	if r.status == 0 && e.heads.Load() == 0 && (strings.Contains(why, "GOAWAY") || strings.Contains(why, "REFUSED_STREAM")) {
		// The connection was about to be closed, here or at the endpoint, and what was not begun
		// may be sent again (RFC 9113 §6.8, §8.7).
		c.soak.met.add("requests that HTTP/2 sent away")
		return
	}
	if wrong := c.soak.judge(e, r); wrong != "" {
		c.soak.say("HTTP/2", wrong, e, r)
	}
}

var errHeadless = errors.New("no response head")

func (c *client) answerH2(t *http.Transport, q *http.Request, e *entry) *result {
	r := &result{}
	a, err := t.RoundTrip(q)
	if err != nil {
		r.err = fmt.Errorf("%w: %w", errHeadless, err)
		return r
	}
	defer a.Body.Close()
	r.status, r.reason = a.StatusCode, a.Header.Get("Poise-Reason")
	r.fields = map[string]string{"protocol": a.Proto, "endpoint": a.Header.Get("X-Endpoint")}
	switch {
	case a.ProtoMajor != 2:
		r.corrupt = fmt.Errorf("it speaks %s", a.Proto)
	case r.reason != "":
		_, r.err = io.Copy(io.Discard, a.Body)
		r.whole = r.err == nil
	case a.Header.Get("X-Token") != e.token:
		r.corrupt = fmt.Errorf("token %q", a.Header.Get("X-Token"))
	case a.Header.Get("X-Pad") != text(e.token, e.downPad):
		r.corrupt = errors.New("a field is another one")
	case e.empty():
		// Go's client takes the length in a 304 for that of content to come.
		r.whole = true
	default:
		c.contentH2(r, a, e)
	}
	return r
}

func (c *client) contentH2(r *result, a *http.Response, e *entry) {
	want, buf := contentOf(e.token, downwards), make([]byte, 8<<10)
	for {
		n, err := a.Body.Read(buf)
		if !want.has(buf[:n]) {
			r.corrupt = fmt.Errorf("wrong content after %d bytes", r.bytes)
			return
		}
		r.bytes += n
		switch {
		case err == io.EOF && r.bytes != e.down && e.act != resetBody:
			r.corrupt = fmt.Errorf("%d bytes of content, which looks whole", r.bytes)
			return
		case err == io.EOF:
			r.whole = true
			return
		case err != nil:
			r.err = err
			return
		}
	}
}

// reader is content as an io.Reader without an end.
type reader struct{ *content }

func (r reader) Read(p []byte) (int, error) {
	r.read(p)
	return len(p), nil
}
