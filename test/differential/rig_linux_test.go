package differential

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise"
)

// processors is how many Go gets: more than there are threads that could want one, so that
// a goroutine that is woken never waits for one. See calm.
const processors = 12

// A rig is two proxies that live as long as the process, and the endpoints behind them.
type rig struct {
	sides [2]*side
	calm  *calm
	room  []byte
}

// A side is one proxy and what is around it.
type side struct {
	engine   string
	proxy    *poise.Proxy
	front    *net.TCPAddr
	endpoint listener
	log      *lines
	served   chan error
}

var engines = [2]string{"loop", "goroutine"}

// newRig starts them. The loop engine gets one loop, so that it has one pool of connections
// as the goroutine engine has.
func newRig(tb testing.TB) *rig {
	tb.Helper()
	before := runtime.GOMAXPROCS(1)
	tb.Cleanup(func() { runtime.GOMAXPROCS(before) })
	r := &rig{room: make([]byte, 256<<10)}
	for i, engine := range engines {
		s, err := newSide(engine)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(s.close)
		r.sides[i] = s
	}
	var err error
	if r.calm, err = newCalm(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(r.calm.close)
	if _, err := r.play([2]script{warmUp, warmUp}, fast); err != nil { // the loops start with the first connection
		tb.Fatal(err)
	}
	runtime.GOMAXPROCS(processors)
	return r
}

var warmUp = script{{clientSends, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}}

// newSide starts a proxy. Its waits are as long as they are by default: a play ends long
// before them. An endpoint that fails is not taken out: that would outlive a play.
func newSide(engine string) (*side, error) {
	s := &side{engine: engine, log: &lines{}, served: make(chan error, 1)}
	var err error
	if s.endpoint, err = listen(); err != nil {
		return nil, err
	}
	s.proxy, err = poise.New(poise.Config{
		HalfClose: "leave", // what clients do is a FIN mostly, and it is their leaving that is compared
		Services: map[string]poise.Service{"all": {
			Retry:       poise.Retry{SameAfter: -1}, // when an attempt is made again is no difference between engines
			Endpoints:   []poise.Endpoint{{URL: fmt.Sprintf("http://127.0.0.1:%d", s.endpoint.port)}},
			Breaker:     poise.Breaker{Off: true},
			Connections: poise.Connections{ConnectTimeout: 10 * time.Second},
		}},
		Routes: []poise.Route{{Service: "all"}},
		Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Engine: engine,
	})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.front = l.Addr().(*net.TCPAddr)
	go func() { s.served <- s.proxy.Serve(l) }() // ends with close
	return s, nil
}

func (s *side) close() {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	s.proxy.Close(over)
	<-s.served
	unix.Close(s.endpoint.fd)
}

// busy reports whether the proxy has a client, or an exchange under way.
func (s *side) busy() bool {
	status := s.proxy.Status()
	return status.Load.Clients > 0 || status.Services[0].Endpoints[0].InFlight > 0
}

// lines are what a proxy has logged: it has no reason to.
type lines struct {
	mu   sync.Mutex
	text []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

// take returns what was logged since the last time.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := string(l.text)
	l.text = nil
	return text
}
