package nethttp

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine/goroutine"
)

// TestCutKeepsWhatWasWritten: the client of a response that is cut short gets the part that there is,
// its head above all, and sees that it is a part.
func TestCutKeepsWhatWasWritten(t *testing.T) {
	rt := goroutine.New()
	defer rt.Close()
	for _, http2 := range []bool{false, true} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := &client{rt: rt, w: w, r: r, ctl: http.NewResponseController(w)}
			c.stalls = stallWatch{rt: rt, ctl: c.ctl, limit: time.Hour}
			defer c.close()
			w.Header().Set("Content-Length", "10")
			c.Write([]byte("half"))
			if c.Cut(); c.cut {
				panic(http.ErrAbortHandler)
			}
		}))
		s.EnableHTTP2 = http2
		s.StartTLS()
		defer s.Close()
		r, err := s.Client().Get(s.URL)
		if err != nil {
			t.Errorf("HTTP/2 %v: %v", http2, err)
			continue
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != 200 || string(body) != "half" || err == nil || r.ProtoMajor == 2 != http2 {
			t.Errorf("%s: %d %q, %v", r.Proto, r.StatusCode, body, err)
		}
	}
}
