package nethttp

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// watched is content that sees whether the wait for it is bounded.
type watched struct {
	c       *client
	bounded bool
}

func (w *watched) Read([]byte) (int, error) {
	w.bounded = w.c.stalls.read.active()
	return 0, io.EOF
}

func (*watched) Close() error { return nil }

// TestPatience: a call of gRPC over HTTP/2 may be silent, and nothing else may.
func TestPatience(t *testing.T) {
	rt := goroutine.New()
	defer rt.Close()
	for _, test := range []struct {
		major   int
		content string
		bounded bool
	}{
		{2, "application/grpc", false},
		{2, "application/grpc+proto", false},
		{2, "application/grpc-web", true},
		{2, "text/plain", true},
		{1, "application/grpc", true},
	} {
		body := &watched{}
		r := httptest.NewRequest("POST", "/shop.Cart/Add", body)
		r.ProtoMajor, r.ProtoMinor = test.major, 2-test.major
		r.Header = http.Header{"Content-Type": {test.content}}
		c := &client{rt: rt, r: r, settings: &downstream.Settings{Limits: limits.Default()}}
		c.stalls = stallWatch{rt: rt, limit: time.Hour}
		body.c = c
		if err := c.fill(new(message.Request)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Content(true); err != io.EOF || body.bounded != test.bounded {
			t.Errorf("HTTP/%d, %s: %v, the wait is bounded: %v", test.major, test.content, err, body.bounded)
		}
		c.stalls.close()
	}
}
