package loop

import (
	"errors"
	"net"

	"github.com/poise-lb/poise/internal/engine"
)

// Tests have connections of package net, whose descriptors they give to a loop.

// Stream closes conn and returns a Stream of loop i with its descriptor. Only a task of that
// loop may call it.
func (e *Engine) Stream(i int, conn net.Conn) (engine.Stream, error) {
	fd, kind, err := detach(conn)
	if err != nil {
		return nil, err
	}
	s, err := e.loops[i].register(fd, kind, eventsIn)
	if err != nil {
		closeFD(fd)
		return nil, err
	}
	return s, nil
}

var errDescriptor = errors.New("loop: neither a TCP nor a unix connection")

// detach takes the descriptor out of a connection of package net, which is closed.
func detach(conn net.Conn) (fd int, k kind, err error) {
	switch c := conn.(type) {
	case *net.TCPConn:
		fd, err = duplicate(c)
	case *net.UnixConn:
		k = local
		fd, err = duplicate(c)
	default:
		err = errDescriptor
	}
	if err != nil {
		return -1, k, err
	}
	if k == tcp {
		prepare(fd)
	}
	conn.Close()
	return fd, k, nil
}
