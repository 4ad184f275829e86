package front

import "time"

// What is shown to people, and what they say, is in wall-clock time; inside there are instants on
// the runtime's clock. 0 and the zero time stand for each other.

// Time is the wall-clock time of an instant.
func (srv *Server) Time(at time.Duration) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return srv.rt.Epoch().Add(at).Round(0)
}

// Instant is the instant of a wall-clock time.
func (srv *Server) Instant(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return srv.rt.Now() + time.Until(t)
}
