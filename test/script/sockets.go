package script

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// socketStage plays on loopback sockets, in real time: every actor is a goroutine.
type socketStage struct {
	epoch  time.Time
	actors sync.WaitGroup
	// host is where endpoints listen. Each stage has an address of its own where the system has more
	// than one for loopback, so that no other play gets the port of an endpoint that refuses.
	host string
}

var stages atomic.Uint32 // so far

// newSocketStage starts its clock above zero, as engine.Runtime wants it.
func newSocketStage() *socketStage {
	s := &socketStage{epoch: time.Now().Add(-time.Second), host: "127.0.0.1"}
	if runtime.GOOS == "linux" {
		n := stages.Add(1)
		s.host = fmt.Sprintf("127.%d.%d.%d", 1+os.Getpid()%250, n>>8&255, n&255)
	}
	return s
}

func (s *socketStage) Now() time.Duration { return time.Since(s.epoch) }

func (s *socketStage) Sleep(d time.Duration) { time.Sleep(d) }

func (s *socketStage) Go(_ string, f func()) { s.actors.Go(f) }

// Listen takes the port of an endpoint that comes back; something else may hold it for
// a moment, such as the other end of a connection that is closing.
func (s *socketStage) Listen(address string) (listener, error) {
	if address == "" {
		address = s.host + ":0"
	}
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", address); err == nil {
			return socketListener{l, s.epoch}, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, err
}

func (s *socketStage) Dial(from, address string) (conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return socket{c.(*net.TCPConn), s.epoch}, nil
}

func (s *socketStage) BlackHole(string) error {
	return errors.New("a black hole needs a firewall on sockets: say only: virtual")
}

// NewWakeup returns one whose Wait bounds a wait by the clock of the stage.
func (s *socketStage) NewWakeup() wakeup { return socketWakeup{make(chan struct{}, 1), s} }

type socketWakeup struct {
	set   chan struct{}
	stage *socketStage
}

func (u socketWakeup) Set() {
	select {
	case u.set <- struct{}{}:
	default:
	}
}

func (u socketWakeup) Wait(by time.Duration) error {
	if by == 0 {
		<-u.set
		return nil
	}
	t := time.NewTimer(by - u.stage.Now())
	defer t.Stop()
	select {
	case <-u.set:
		return nil
	case <-t.C:
		return os.ErrDeadlineExceeded
	}
}

type socketListener struct {
	net.Listener
	epoch time.Time
}

func (l socketListener) Accept() (conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return socket{c.(*net.TCPConn), l.epoch}, nil
}

func (l socketListener) Address() string { return l.Addr().String() }

func (l socketListener) Close() { l.Listener.Close() }

// socket is a TCP connection as a conn.
type socket struct {
	*net.TCPConn
	epoch time.Time
}

func (s socket) SetReadDeadline(at time.Duration) {
	var t time.Time
	if at != 0 {
		t = s.epoch.Add(at)
	}
	s.TCPConn.SetReadDeadline(t)
}

// Abort resets the connection: nothing lingers.
func (s socket) Abort() {
	s.SetLinger(0)
	s.TCPConn.Close()
}
