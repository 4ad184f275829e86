//go:build linux

package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// Addresses are those of the endpoints.
type Addresses struct {
	Two  [2]string // on 127.0.0.1
	Many uint16    // a port that every address of 127.0.0.0/8 has
}

// Main runs the commands that come by in and writes Addresses and then a Result for each
// to out, all of them lines of JSON. It returns at the end of in.
func Main(in io.Reader, out io.Writer) error {
	debug.SetGCPercent(400)
	s, addresses, err := newServer()
	if err != nil {
		return err
	}
	to := json.NewEncoder(out)
	if err := to.Encode(addresses); err != nil {
		return err
	}
	for from := json.NewDecoder(in); ; {
		var c Command
		if err := from.Decode(&c); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		r, err := s.do(c)
		if err != nil {
			r.Error = err.Error()
		}
		if err := to.Encode(r); err != nil {
			return err
		}
	}
}

// A server is the stage as a whole.
type server struct {
	loop     *loop
	endpoint *endpoint
	held     *load
}

func newServer() (*server, Addresses, error) {
	var a Addresses
	l, err := newLoop()
	if err != nil {
		return nil, a, err
	}
	s := &server{loop: l, endpoint: newEndpoint(l)}
	local := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for i := range a.Two {
		fd, port, err := listen(netip.AddrPortFrom(local, 0))
		if err != nil {
			return nil, a, err
		}
		s.endpoint.accept(fd)
		a.Two[i] = netip.AddrPortFrom(local, port).String()
	}
	fd, port, err := listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	if err != nil {
		return nil, a, fmt.Errorf("the whole loopback: %w", err)
	}
	s.endpoint.accept(fd)
	a.Many = port
	return s, a, nil
}

func (s *server) do(c Command) (Result, error) {
	// What the last turn left is collected now, so that a turn of plain requests, which
	// allocates next to nothing, has no collection in it.
	runtime.GC()
	switch c.Kind {
	case Release:
		return Result{}, s.release()
	case Child:
		return s.child(c)
	}
	ld, err := newLoad(s.loop, c)
	if err != nil {
		return Result{}, err
	}
	if err := punctual(); err != nil {
		return Result{}, err
	}
	refused := s.endpoint.refused
	var r Result
	if c.Kind == Hold {
		if s.held != nil {
			return r, fmt.Errorf("something is held already")
		}
		s.held = ld
		r, err = ld.hold(s.endpoint)
	} else {
		r, err = ld.turn()
	}
	if s.endpoint.refused > refused && err == nil {
		err = fmt.Errorf("the endpoint ran out of descriptors")
	}
	return r, err
}

// punctual has the waits of all threads last no longer than asked for: by default the
// kernel may add 50 µs. A new thread has what the one that made it has.
func punctual() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		err := os.WriteFile("/proc/"+t.Name()+"/timerslack_ns", []byte("1"), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// release closes what is held, and sees what the proxy does then.
func (s *server) release() error {
	if s.held == nil {
		return nil
	}
	for _, t := range s.held.tasks {
		s.loop.stop(t)
	}
	s.held = nil
	end := time.Now().Add(50 * time.Millisecond)
	return s.loop.run(func(time.Time) time.Time { return end })
}
