package script

import (
	"errors"
	"net"
	"sync"
	"time"
)

// socketStage plays on loopback sockets, in real time: every actor is a goroutine.
type socketStage struct {
	epoch  time.Time
	actors sync.WaitGroup
}

// newSocketStage starts its clock above zero, as engine.Runtime wants it.
func newSocketStage() *socketStage { return &socketStage{epoch: time.Now().Add(-time.Second)} }

func (s *socketStage) Now() time.Duration { return time.Since(s.epoch) }

func (s *socketStage) Sleep(d time.Duration) { time.Sleep(d) }

func (s *socketStage) Go(_ string, f func()) { s.actors.Go(f) }

// Listen takes the port of an endpoint that comes back; something else may hold it for
// a moment, such as the other end of a connection that is closing.
func (s *socketStage) Listen(address string) (listener, error) {
	if address == "" {
		address = "127.0.0.1:0"
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
