package exchange

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/virtual"
	"github.com/poise-lb/poise/internal/extra"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/internal/route"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/internal/upstream"
	"github.com/poise-lb/poise/internal/upstream/h1"
	"github.com/poise-lb/poise/policy"
)

// A stage is a service with its endpoints on the virtual engine, and what an exchange needs
// to run there without a proxy around it.
type stage struct {
	t     *testing.T
	w     *virtual.World
	rt    engine.Runtime
	svc   *service.Service
	pools map[string]upstream.Pool // by address; the others have h1 pools
	known map[string]*endpoint.Endpoint
	table *Table
	// policy of the service; nil: inOrder.
	policy  policy.Policy
	breaker health.Breaker
}

// inOrder is the policy of a stage: the first endpoint that was not tried.
type inOrder struct{}

func (inOrder) Build(_, usable []*endpoint.Endpoint, _ policy.Picker) policy.Picker {
	return first(usable)
}

type first []*endpoint.Endpoint

func (f first) Pick(a *policy.Attempt) *endpoint.Endpoint {
	for _, e := range f {
		if !a.Tried.Has(e) {
			return e
		}
	}
	return nil
}

func newStage(t *testing.T, seed uint64) *stage {
	w := virtual.New(seed)
	return &stage{t: t, w: w, rt: w.Runtime(), pools: make(map[string]upstream.Pool)}
}

// serve makes the service with endpoints at these addresses, tried in this order.
func (st *stage) serve(addresses ...string) {
	st.known = make(map[string]*endpoint.Endpoint)
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	st.svc = service.New("web", st.rt, service.Settings{
		Policy: cmp.Or[policy.Policy](st.policy, inOrder{}), Breaker: st.breaker,
		Attach: func(e *endpoint.Endpoint) any {
			st.known[e.ID().Address] = e
			if p := st.pools[e.ID().Address]; p != nil {
				return p
			}
			return h1.NewPool(e, &upstream.Settings{
				ConnectTimeout: 10 * time.Second, IdleTimeout: time.Minute, StallTimeout: time.Minute, MaxIdle: 10,
			}, nil)
		},
	}, nil)
	specs := make([]endpoint.Spec, len(addresses))
	for i, a := range addresses {
		specs[i] = endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: a}}
	}
	st.svc.Update(specs)
	tree, err := route.Build([]route.Pattern{{Path: "/**"}})
	if err != nil {
		st.t.Fatal(err)
	}
	st.table = &Table{
		Tree: tree, Stall: time.Minute, Logger: quiet,
		Routes: []Route{{
			Timeout: time.Minute,
			Cells:   record.NewCells[record.RouteCell](1),
			Service: &Service{Service: st.svc, Name: "web", Retry: Retry{Connect: true, Reset: true, Timeout: true, Extra: extra.Limits{Share: -1}}},
		}},
	}
}

// endpoint is the endpoint at address.
func (st *stage) endpoint(address string) *endpoint.Endpoint { return st.known[address] }

// run plays f as a task until all tasks have ended.
func (st *stage) run(f func()) {
	st.t.Helper()
	st.w.Go("test", f)
	if err := st.w.Run(); err != nil {
		st.t.Error(err)
	}
}

// settled checks that no attempt is counted at the endpoint any more, and how many have
// ended and failed there.
func (st *stage) settled(address string, attempts, failures uint64) {
	st.t.Helper()
	s := st.endpoint(address).Stats(st.rt.Now())
	if s.InFlight != 0 || s.Attempts != attempts || s.Failures != failures {
		st.t.Errorf("%s: %d in flight, %d attempts of which %d failed; want %d and %d", address, s.InFlight, s.Attempts, s.Failures, attempts, failures)
	}
}

// visitor is a client whose request content comes in pieces.
type visitor struct {
	downstream.Client // what is not overridden panics
	pieces            [][]byte
	watched           engine.Interrupter
	status            int
	reason            string
	body              bytes.Buffer
	trailers          []message.Field
	ended, cut        bool
}

func (v *visitor) parts() downstream.Client {
	return downstream.Client{RequestContent: v, ResponseWriter: v, Connection: v}
}

func (v *visitor) Content(bool) ([]byte, error) {
	if len(v.pieces) == 0 {
		return nil, io.EOF
	}
	p := v.pieces[0]
	v.pieces = v.pieces[1:]
	return p, nil
}

func (v *visitor) ContentRead() bool           { return len(v.pieces) == 0 }
func (v *visitor) Trailers() []message.Field   { return nil }
func (v *visitor) Skip()                       {}
func (v *visitor) StopContent()                {}
func (v *visitor) Write(p []byte) error        { v.body.Write(p); return nil }
func (v *visitor) Flush() error                { return nil }
func (v *visitor) Sent() bool                  { return v.status != 0 }
func (v *visitor) Cut()                        { v.cut = true }
func (v *visitor) Protocol() string            { return "a test" }
func (v *visitor) CloseAfter()                 {}
func (v *visitor) Watch(up engine.Interrupter) { v.watched = up }
func (v *visitor) Unwatch(engine.Interrupter)  { v.watched = nil }

func (v *visitor) End(t []message.Field) error {
	v.ended, v.trailers = true, t
	return nil
}

func (v *visitor) Head(r *message.Response) error {
	v.status = r.Status
	reason, _ := message.Get(r.Fields, ReasonField)
	v.reason = string(reason)
	return nil
}

// request makes x a request for path, with content if the visitor has some.
func (v *visitor) request(x *Exchange, method, path string) {
	x.Request.Reset()
	q := &x.Request
	q.Method, q.Path, q.Host, q.Minor, q.KeepAlive = []byte(method), []byte(path), []byte("example.com"), 1, true
	if len(v.pieces) > 0 {
		q.Body, q.Length = message.Length, int64(len(bytes.Join(v.pieces, nil)))
	}
}

// site is an HTTP/1.1 endpoint that answers every request alike.
type site struct {
	hints    time.Duration // before an interim response with the content as its hint; 0: there is none
	delay    time.Duration // before the response head, or after the hints
	status   int           // 0: 200
	breaks   bool          // close the connection instead of a response
	body     string
	accepted int
	received bytes.Buffer
	ended    int // connections
}

func (s *site) listen(st *stage, address string) {
	l := st.w.Listen(address)
	st.w.Daemon(address, func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.accepted++
			st.w.Daemon(address, func() { s.serve(st.rt, c) })
		}
	})
}

func (s *site) serve(rt engine.Runtime, c engine.Stream) {
	defer func() { s.ended++; c.Close() }()
	buf := make([]byte, 4096)
	for n := 0; ; {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		s.received.Write(buf[n : n+m])
		if n += m; !bytes.Contains(buf[:n], []byte("\r\n\r\n")) {
			continue
		}
		n = 0
		if s.hints > 0 {
			rt.Sleep(rt.Now() + s.hints)
			fmt.Fprintf(c, "HTTP/1.1 103 Early Hints\r\nLink: %s\r\n\r\n", s.body)
		}
		rt.Sleep(rt.Now() + s.delay)
		if s.breaks {
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%s", cmp.Or(s.status, 200), len(s.body), s.body)
	}
}
