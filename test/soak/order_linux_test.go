package soak

import (
	"fmt"
	"math/rand/v2"
)

// An act is what an endpoint does besides answering.
type act uint8

const (
	plainly   act = iota
	slowly        // with pauses between pieces
	late          // after a pause
	hinting       // after an interim response
	closing       // and closes, as announced
	early         // before it has read the content
	resetHead     // not: it resets the connection, the first time it is asked
	resetBody     // in part: then it resets the connection
	dropping      // and closes without having announced it
	babbling      // and says more than it was asked
)

var acts = [...]string{"plainly", "slowly", "late", "hinting", "closing", "early", "reset before the head", "reset in the content", "dropping", "babbling"}

func (a act) String() string { return acts[a] }

// A framing says how content is delimited.
type framing uint8

const (
	byLength framing = iota
	inChunks
	untilClose
)

// An order is a request: what a client sends, and what an endpoint shall do.
type order struct {
	token   string
	service string
	method  string
	minor   int // HTTP/1.minor
	last    bool
	expect  bool // Expect: 100-continue

	pad     int // bytes of a field
	up      int // bytes of content; -1: none
	upFrame framing

	act       act
	status    int
	downPad   int
	down      int
	downFrame framing
	at        int // resetBody: after so many bytes; slowly, late: so many milliseconds
}

// String is also the value of a field, which must arrive as it was.
func (o *order) String() string {
	return fmt.Sprintf("%s /%s/%s HTTP/1.%d last=%t expect=%t pad=%d up=%d/%d; %s: %d pad=%d down=%d/%d at=%d",
		o.method, o.service, o.token, o.minor, o.last, o.expect, o.pad, o.up, o.upFrame, o.act, o.status, o.downPad, o.down, o.downFrame, o.at)
}

// idempotent reports whether the request may be sent twice.
func (o *order) idempotent() bool { return o.method != "POST" }

// replayed is the most content that a proxy has to keep for another attempt.
const replayed = 64 << 10

// repeatable reports whether the request can be sent again once it was sent whole.
func (o *order) repeatable() bool { return o.idempotent() && o.up <= replayed }

// empty reports whether the response has no content, whatever its fields say.
func (o *order) empty() bool { return o.method == "HEAD" || o.status == 204 || o.status == 304 }

// sizes are those at which something changes, and some between.
var sizes = [...]int{0, 1, 100, 5000, 16<<10 - 1, 16 << 10, 16<<10 + 1, 20_000, 64<<10 - 1, 64 << 10, 64<<10 + 1, 100_000}

func size(r *rand.Rand) int {
	switch r.IntN(20) {
	case 0:
		return 1<<20 + r.IntN(3) - 1
	case 1, 2, 3:
		return r.IntN(200_000)
	}
	return sizes[r.IntN(len(sizes))]
}

// draw draws an order without a token.
func draw(r *rand.Rand) *order {
	o := &order{minor: 1, up: -1, status: 200, service: []string{"calm", "calm", "rude", "wild", "h2c", "h2c"}[r.IntN(6)]}
	o.method = []string{"GET", "GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE"}[r.IntN(8)]
	if o.method == "POST" || o.method == "PUT" {
		o.up = size(r)
		o.upFrame = framing(r.IntN(2))
		o.expect = o.up > 0 && r.IntN(8) == 0
	}
	o.pad, o.downPad = pad(r), pad(r)
	o.down = size(r)
	o.downFrame = [...]framing{byLength, byLength, byLength, inChunks, inChunks, untilClose}[r.IntN(6)]
	if r.IntN(10) == 0 {
		o.status = []int{201, 204, 304, 404, 500, 503}[r.IntN(6)]
	}
	o.act = [...]act{plainly, plainly, plainly, slowly, late, hinting, closing, early, resetHead, resetBody, dropping, babbling}[r.IntN(12)]
	o.at = r.IntN(30)
	o.settle(r)
	return o
}

func pad(r *rand.Rand) int {
	switch r.IntN(12) {
	case 0:
		return r.IntN(20_000)
	case 1, 2:
		return r.IntN(2000)
	}
	return 0
}

// settle takes out what makes no sense together.
func (o *order) settle(r *rand.Rand) {
	if (o.status == 503 || o.act == resetHead) && o.service == "wild" {
		// It is asked for elsewhere, and there the one that is left may be down.
		o.service = "calm"
	}
	switch o.act {
	case hinting:
		if o.downFrame == inChunks && (o.service == "h2c" || o.service == "wild") {
			o.downFrame = byLength // trailers are fields that are set later: see respondH2
		}
	case dropping:
		o.service = "rude"
	case babbling:
		// The surplus has to arrive with the response: what comes later may meet the next
		// request, and then the order is not known.
		o.service, o.down, o.downPad = "rude", min(o.down, 5000), min(o.downPad, 1000)
		if o.downFrame == untilClose {
			o.downFrame = byLength
		}
	case early:
		if o.up < 0 {
			o.act = plainly
		}
	case resetBody:
		if o.down == 0 || o.empty() {
			o.act = plainly
			return
		}
		o.at = r.IntN(o.down)
		if o.service == "rude" && o.downFrame == untilClose { // a unix socket cannot be reset
			o.downFrame = inChunks
		}
	}
}

// clean is an order that nothing comes between, for pipelining.
func clean(r *rand.Rand) *order {
	o := draw(r)
	if o.service == "wild" {
		o.service = "calm"
	}
	switch o.act {
	case slowly, late, hinting:
		o.at = r.IntN(5)
	default:
		o.act = plainly
	}
	o.expect = false
	o.up = min(o.up, 2000)
	o.down = min(o.down, 70_000)
	if o.method == "POST" && o.service == "rude" {
		o.service = "calm"
	}
	return o
}
