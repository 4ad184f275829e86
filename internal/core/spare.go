package core

// What a worker keeps for its next connection. An event loop opens and closes thousands of
// connections in a second, each with the same few objects, and only its tasks touch them: so they
// are kept in plain lists, where taking one costs a few instructions, no allocation, and no visit to
// a sync.Pool.
//
//	connection 1 opens    connection A made    session X made
//	connection 1 rests                         X kept
//	connection 2 opens    B made               X
//	connection 2 closes   B kept               X kept
//	connection 3 opens    B                    X
//
// No client may see what another one has left. A connection is emptied as a whole when it is kept,
// not field by field, so no field can be forgotten; what still used it would meet a nil stream. It is
// not kept where something may refer to it later: after a panic, and with a concurrent protocol, whose
// exchanges are tasks of their own.
//
// Connections of goroutines are left to the collector, since other goroutines (a drain, a listener
// that is full) may have found them just before.

import "github.com/poise-lb/poise/internal/engine"

const (
	// These bound the connections and sessions that a worker keeps. A connection has some 200
	// bytes, a session some kilobytes with the room for its heads.
	connectionsMax = 256
	sessionsMax    = 8
)

// spare is what one event loop keeps; only its tasks use it.
type spare struct {
	connections []*connection
	sessions    []*session
	_           [64]byte
}

// connection returns one to be filled in. kept: rt has spares, since the stream is an engine.Rester.
func (p *Proxy) connection(rt engine.Runtime, kept bool) *connection {
	if !kept {
		return new(connection)
	}
	of := &p.spare[rt.Worker()]
	if n := len(of.connections); n > 0 {
		c := of.connections[n-1]
		of.connections = of.connections[:n-1]
		return c
	}
	c := new(connection)
	c.wake = func() { c.serve(true) } // made once: it serves every request
	return c
}

// recycle keeps a connection that has left, if nothing can refer to it any more.
func (p *Proxy) recycle(c *connection) {
	if c.wake == nil || c.protocol.Concurrent {
		return
	}
	if of := &p.spare[c.worker]; len(of.connections) < connectionsMax {
		*c = connection{wake: c.wake}
		of.connections = append(of.connections, c)
	}
}

// newSession returns a session that is not in use, perhaps one that has served another connection.
func (c *connection) newSession() *session {
	if c.wake != nil {
		of := &c.proxy.spare[c.worker]
		if n := len(of.sessions); n > 0 {
			s := of.sessions[n-1]
			of.sessions = of.sessions[:n-1]
			return s
		}
	}
	return sessions.Get().(*session)
}

// recycleSession keeps a session for newSession.
func (c *connection) recycleSession(s *session) {
	if c.wake != nil {
		if of := &c.proxy.spare[c.worker]; len(of.sessions) < sessionsMax {
			of.sessions = append(of.sessions, s)
			return
		}
	}
	sessions.Put(s)
}
