package mux

// What a peer may cost. RFC 9113 §10.5 names what is legal and dear: resets, empty frames, small
// window updates, floods of SETTINGS, PING, CONTINUATION. Each costs points of a balance that
// time and ordinary requests fill again; when nothing is left the connection ends with
// ENHANCE_YOUR_CALM. The figures are those of nghttp2, where it has the same bound.
//
//	a stream that the peer resets, or that we reset because of it    1, and 1 more if it was refused
//	SETTINGS, PING, their answers, PRIORITY, an unknown frame        1, but one per stream is free
//	WINDOW_UPDATE that changes nothing                               1, but two for each DATA frame
//	                                                                 that we have sent are free
//	empty DATA that does not end its stream                          1
//	a frame that breaks a rule without ending the connection         10
//
// A client that cancels every second request for ever stays above zero; one that only opens and
// resets streams ends after a thousand. Small messages cost nothing: streams of gRPC have them.
//
// A connection that is closed is opened again, and a handshake costs us more than a hundred resets.
// So a client whose balance is below half is slowed down before it is closed (Pace):
//
//	500 resets                       at once
//	the other 500                    32 in each tenth of a second
//	the connection ends              1.7 s later, rather than after some milliseconds

import (
	"time"

	"github.com/poise-lb/poise/internal/http2"
)

const (
	balanceMost   = 1000 // points
	balanceFill   = 33   // points each second
	freeMost      = 64   // frames that cost nothing because streams were opened
	smallUpdate   = 256  // bytes below which WINDOW_UPDATE costs, where there is room already
	fragmentsMost = 8    // frames of one head
	answersMost   = 1000 // answers to SETTINGS and PING that the peer has not taken
	streamsEver   = 1 << 30
)

// guard is the balance of a connection.
type guard struct {
	points int           // left
	at     time.Duration // instant up to which time has filled it
	free   int           // control frames that cost nothing
	owed   int           // WINDOW_UPDATEs that cost nothing, as they answer content
}

func (g *guard) begin(now time.Duration) {
	*g = guard{points: balanceMost, at: now, free: freeMost}
}

// fill adds what time has earned.
func (g *guard) fill(now time.Duration) {
	if n := int((now - g.at) * balanceFill / time.Second); n > 0 {
		g.points = min(g.points+n, balanceMost)
		g.at += time.Duration(n) * time.Second / balanceFill
	}
}

// charge takes n points, and returns the error that ends the connection if none are left.
func (c *Conn) charge(n int) *http2.Error {
	g := &c.guard
	if g.points -= n; g.points > 0 {
		return nil
	}
	g.fill(c.rt.Now())
	if g.points > 0 {
		return nil
	}
	return errCalm
}

// paceFor is how long a connection is not read whose balance is below half, after some dozens of
// requests.
const paceFor = 100 * time.Millisecond

// Pace is for how long the owner is to read nothing, having had some dozens of streams; 0: it goes on.
func (c *Conn) Pace() time.Duration {
	c.lock.Lock()
	defer c.lock.Unlock()
	g := &c.guard
	if g.points >= balanceMost/2 || c.err != nil {
		return 0
	}
	if g.fill(c.rt.Now()); g.points >= balanceMost/2 {
		return 0
	}
	return paceFor
}

// control charges for a frame that carries no request.
func (c *Conn) control() *http2.Error {
	if c.guard.free > 0 {
		c.guard.free--
		return nil
	}
	return c.charge(1)
}

// owedMost bounds what a peer that credits nothing may save up.
const owedMost = 1 << 16

// sent is called for a DATA frame that we send: some peers credit each of them, however small,
// once for the stream and once for the connection.
func (g *guard) sent() { g.owed = min(g.owed+2, owedMost) }

// small charges for a WINDOW_UPDATE that lets nothing through that was held.
func (c *Conn) small() *http2.Error {
	if c.guard.owed > 0 {
		c.guard.owed--
		return nil
	}
	return c.control()
}

// earned is called for a stream that has begun.
func (g *guard) earned() { g.free = min(g.free+1, freeMost) }

// ended is called for a stream that has ended in good order.
func (g *guard) ended() {
	if g.points < balanceMost {
		g.points++
	}
}

// resets are the streams that we have reset lately: frames may be on their way that the peer has
// sent before it knew (RFC 9113 §5.1).
type resets struct {
	ids [64]uint32
	n   uint8
}

func (r *resets) add(id uint32) {
	r.ids[r.n%uint8(len(r.ids))] = id
	r.n++
}

func (r *resets) has(id uint32) bool {
	for _, x := range r.ids {
		if x == id {
			return true
		}
	}
	return false
}
