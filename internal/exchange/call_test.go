package exchange

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/reason"
)

// A protocol that is not HTTP/1.1, see frames_test.go, carries exchanges by upstream.Call: the
// endpoint can say that it has not processed a request, calls share a connection, and there is
// no stream to splice or to tunnel through.

// exchange runs one exchange.
func (st *stage) exchange(v *visitor, method string) *Exchange {
	x := new(Exchange)
	v.request(x, method, "/path")
	*x.Client() = v.parts()
	x.Run(st.rt, st.table, &Peer{})
	return x
}

func pieces() [][]byte { return [][]byte{[]byte("one "), []byte("two "), []byte("three")} }

func TestAnotherProtocolCarriesAnExchange(t *testing.T) {
	st := newStage(t, 1)
	s := &frameSite{}
	s.listen(st, one)
	st.serve(one)
	v := &visitor{pieces: pieces()}
	st.run(func() {
		x := st.exchange(v, "POST")
		if x.log.BytesIn != 13 || x.log.BytesOut != 13 || len(reasons(x)) != 1 || x.log.Attempts()[0].Status != 200 {
			t.Errorf("in the log: %+v", x.log)
		}
	})
	if v.status != 200 || v.body.String() != "one two three" || !v.ended || len(v.trailers) != 1 {
		t.Errorf("status %d, %q, trailers %v", v.status, v.body.String(), v.trailers)
	}
	st.settled(one, 1, 0)
}

// A request that the endpoint has declined is sent again whatever its method, content and all,
// also to an endpoint of another protocol; neither endpoint is blamed.
func TestWhatWasNotProcessedIsSentAgain(t *testing.T) {
	for name, second := range map[string]func(*stage) func() string{
		"the same protocol": func(st *stage) func() string {
			s := &frameSite{}
			s.listen(st, two)
			return func() string { return s.contents[0] }
		},
		"HTTP/1.1": func(st *stage) func() string {
			s := &site{body: "h1"}
			s.listen(st, two)
			return func() string {
				_, content, _ := bytes.Cut(s.received.Bytes(), []byte("\r\n\r\n"))
				return string(content)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t, 1)
			first := &frameSite{declines: 1}
			first.listen(st, one)
			got := second(st)
			st.serve(one, two)
			v := &visitor{pieces: pieces()}
			st.run(func() {
				x := st.exchange(v, "POST")
				if r := reasons(x); !slices.Equal(r, []string{reason.EndpointRefused, ""}) || x.attempts != 1 {
					t.Errorf("in the log: %q, %d attempts", r, x.attempts)
				}
			})
			if v.status != 200 || !v.ended || got() != "one two three" || first.contents[0] != "one two three" {
				t.Errorf("status %d; the first got %q, the second %q", v.status, first.contents, got())
			}
			st.settled(one, 1, 0)
			st.settled(two, 1, 0)
		})
	}
}

// On a connection that was open before, a call that is declined is replaced by one on a fresh
// connection, within the attempt: the endpoint may have been about to end the old one.
func TestADeclinedCallIsReplacedOnce(t *testing.T) {
	st := newStage(t, 1)
	s := &frameSite{}
	s.listen(st, one)
	st.serve(one)
	st.run(func() {
		st.exchange(&visitor{}, "GET")
		s.declines = 1
		v := &visitor{pieces: pieces()}
		if x := st.exchange(v, "POST"); v.status != 200 || len(reasons(x)) != 1 || s.accepted != 2 {
			t.Errorf("status %d, attempts %q, %d connections", v.status, reasons(x), s.accepted)
		}
		s.declines = 2
		v = &visitor{pieces: pieces()}
		if st.exchange(v, "POST"); v.status != 503 || v.reason != reason.EndpointRefused || s.accepted != 3 {
			t.Errorf("status %d, %s, %d connections", v.status, v.reason, s.accepted)
		}
	})
	st.settled(one, 3, 0)
}

// What may have been processed is not sent again, and what is not at hand any more cannot be.
func TestWhatIsNotSentAgain(t *testing.T) {
	large := [][]byte{bytes.Repeat([]byte("x"), 70<<10)}
	for name, c := range map[string]struct {
		first    frameSite
		content  [][]byte
		reason   string
		failures uint64
	}{
		"a connection that broke":  {frameSite{breaks: true}, pieces(), reason.EndpointClosed, 1},
		"content that is too much": {frameSite{declines: 1}, large, reason.EndpointRefused, 0},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t, 1)
			first, second := c.first, &frameSite{}
			first.listen(st, one)
			second.listen(st, two)
			st.serve(one, two)
			v := &visitor{pieces: c.content}
			st.run(func() { st.exchange(v, "POST") })
			if v.reason != c.reason || len(first.contents) != 1 || len(second.contents) != 0 {
				t.Errorf("status %d, %s; %d and %d requests", v.status, v.reason, len(first.contents), len(second.contents))
			}
			st.settled(one, 1, c.failures)
		})
	}
}

// A protocol whose calls are no streams cannot switch to another one.
func TestNoTunnelWithoutAStream(t *testing.T) {
	st := newStage(t, 1)
	s := &frameSite{status: "101"}
	s.listen(st, one)
	st.serve(one)
	v := &visitor{}
	st.run(func() { st.exchange(v, "GET") })
	if v.status != 502 || v.reason != reason.UnexpectedUpgrade {
		t.Errorf("status %d, %s", v.status, v.reason)
	}
}

// The loser of a race is one call of many: it is cancelled alone, its connection carries on.
func TestALoserAmongOtherCalls(t *testing.T) {
	st := newStage(t, 1)
	slow, fast := &frameSite{delay: 10 * time.Second}, &site{delay: time.Second, body: "h1"}
	slow.listen(st, one)
	fast.listen(st, two)
	st.serve(one, two)
	beside, v := &visitor{pieces: pieces()}, &visitor{}
	st.run(func() {
		j := st.rt.Fork(func() { st.exchange(beside, "POST") })
		st.rt.Sleep(st.rt.Now() + time.Second)
		x := st.compete(st.rt, v)
		if r := reasons(x); !slices.Equal(r, []string{reason.Overtaken, ""}) {
			t.Errorf("in the log: %q", r)
		}
		j.Wait()
	})
	if v.body.String() != "h1" || beside.body.String() != "one two three" || slow.accepted != 1 || len(slow.cancelled) != 1 {
		t.Errorf("%q, beside it %q; %d connections, cancelled %v", v.body.String(), beside.body.String(), slow.accepted, slow.cancelled)
	}
	st.settled(one, 2, 0)
	st.settled(two, 1, 0)
}
