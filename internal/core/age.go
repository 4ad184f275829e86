package core

// How long a client's connection is used: timeouts.max_age and limits.requests. A balancer below
// HTTP in front of several proxies gives a new one no share of the connections that are open. With
// these bounds they end bit by bit, always behind a response, so that no request is lost:
//
//	HTTP/1.1   the response to the last request has Connection: close
//	HTTP/2     the last request is followed by GOAWAY, in two steps: see mux.Conn.Leave; at max_age
//	           GOAWAY comes by itself, since one request may go on for hours: mux.Timeouts.Leave
//
// A connection of HTTP/1.1 without requests ends by timeouts.idle.

import (
	"time"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
)

// An age is that of a connection that was opened while a bound was set. The task of the connection
// uses it.
type age struct {
	downstream.Age
	requests int // so far
}

// age begins the age of a connection; nil: there is no bound.
func (p *Proxy) age(rt engine.Runtime) *age {
	if s := p.settings.Load(); s.MaxAge <= 0 && s.Requests <= 0 {
		return nil
	}
	return &age{Age: downstream.Age{Born: rt.Now(), Jitter: int(rt.Rand()%201) - 100}}
}

// over reports whether a connection of that age is not to be used further.
func (a *age) over(now time.Duration, s *downstream.Settings) bool {
	if s.Requests > 0 && a.requests >= s.Requests {
		return true
	}
	ends := a.Ends(s)
	return ends != 0 && now >= ends
}

// aged counts a request that has begun, and reports whether it is the last one of the connection.
func (c *connection) aged() bool {
	a := c.proxy.age
	if a == nil {
		return false
	}
	a.requests++
	return a.over(c.rt.Now(), c.proxy.settings.Load())
}
