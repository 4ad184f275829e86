// Package sockets has listeners that this process did not open: those of the process whose place
// it takes, or of systemd. Each waits under a name that says what in the configuration it is for.
package sockets

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
)

// Named is a listener with its name: the address of an entry of listen, as the configuration
// writes it ("127.0.0.1:8080", ":443"), or what Admin and Status return.
type Named struct {
	Name     string
	Listener net.Listener
}

// Admin is the name of the admin API's listener, and Status that of the listener for probes. They
// differ from those of listen where all are "127.0.0.1:0".
func Admin(address string) string { return "admin at " + address }

// Status is the name of the listener for probes: see Admin.
func Status(address string) string { return "status at " + address }

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

// Take returns the listener that waits under a name, and is the caller's from now on; nil: none
// does.
func (s *Set) Take(name string) net.Listener {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.byName[name]
	delete(s.byName, name)
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

// Reason is what the operating system says of an address that cannot be opened, without the words
// of package net around it, which repeat the address.
func Reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return errors.New(strings.TrimPrefix(err.Error(), "bind: "))
}

// Kind is what l is, for messages.
func Kind(l net.Listener) string { return fmt.Sprintf("%s %s", l.Addr().Network(), l.Addr()) }
