// Package demo holds what poise demo shows: small services to be balanced, a light load,
// and a table of what becomes of it.
package demo

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A Sample is one built-in service on a port of the loopback interface.
type Sample struct {
	Name  string
	Delay time.Duration // what it needs for an answer

	down   atomic.Bool
	socket net.Listener
	server *http.Server
	task   sync.WaitGroup
}

// Samples returns the services of the demonstration: two quick ones and a slow one.
func Samples() []*Sample {
	return []*Sample{
		{Name: "ada", Delay: 4 * time.Millisecond},
		{Name: "bob", Delay: 6 * time.Millisecond},
		{Name: "cleo", Delay: 40 * time.Millisecond},
	}
}

// Start serves on a free port.
func (s *Sample) Start() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("sample service %s: %w", s.Name, err)
	}
	s.socket = l
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	s.task.Go(func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.down.Store(true) // it then looks like what it is
		}
	})
	return nil
}

// URL is where the service is; valid after Start.
func (s *Sample) URL() string { return "http://" + s.socket.Addr().String() }

// Close ends the service and all its connections. It may be called without Start.
func (s *Sample) Close() {
	if s.server != nil {
		s.server.Close()
		s.task.Wait()
	}
}

// SetDown makes the service stop answering, as if it had crashed, or come back. It keeps
// its port, so that no other program gets it meanwhile.
func (s *Sample) SetDown(down bool) { s.down.Store(down) }

// ServeHTTP answers with the service's name after its delay.
func (s *Sample) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.down.Load() {
		hangUp(w)
		return
	}
	w.Header().Set("X-Sample", s.Name)
	if r.URL.Path == "/health" {
		return
	}
	wait := time.NewTimer(s.Delay)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-r.Context().Done():
		return
	}
	fmt.Fprintf(w, "hello from %s, which takes %v: %s %s\n", s.Name, s.Delay, r.Method, r.URL.RequestURI())
}

// hangUp resets the connection.
func hangUp(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's way to say the same
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}
