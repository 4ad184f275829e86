// Package sockets has listeners that this process did not open: those of the process whose place
// it takes, or of systemd. Each waits under the address of the configuration that it is for.
package sockets

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
)

// Named is a listener with its address in the configuration: "127.0.0.1:8080", ":443" or
// "unix:/run/poise.sock".
type Named struct {
	Name     string
	Listener net.Listener
}

// A Set has the listeners that wait. A nil Set is empty. Any goroutine may call its methods.
type Set struct {
	mu     sync.Mutex
	byName map[string]net.Listener
}

// New returns a Set of listeners, whose names differ.
func New(all []Named) *Set {
	s := &Set{byName: make(map[string]net.Listener)}
	for _, one := range all {
		s.byName[one.Name] = one.Listener
	}
	return s
}

// Listen returns the listener that waits for an address, or opens one. An address is
// host:port, or unix: and a path.
func (s *Set) Listen(address string) (net.Listener, error) {
	if l := s.take(address); l != nil {
		return l, nil
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return net.Listen("unix", path)
	}
	return net.Listen("tcp", address)
}

// Has reports whether a listener waits for an address.
func (s *Set) Has(address string) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byName[address] != nil
}

func (s *Set) take(address string) net.Listener {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.byName[address]
	delete(s.byName, address)
	return l
}

// Close closes what nothing has asked for, and returns the names.
func (s *Set) Close() (left []string) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, l := range s.byName {
		left = append(left, name)
		l.Close()
	}
	clear(s.byName)
	slices.Sort(left)
	return left
}

// Keep makes sure that the path of a unix socket outlives l, whose place another process's
// takes. Other listeners stay as they are.
func Keep(l net.Listener) {
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
}

// Kind is what l is, for messages.
func Kind(l net.Listener) string { return fmt.Sprintf("%s %s", l.Addr().Network(), l.Addr()) }
