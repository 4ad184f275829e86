package exchange

import (
	"bytes"
	"testing"

	"github.com/poise-lb/poise/internal/limits"
)

// TestContentIsSecuredForTheNextAttempt: content that is certain to be sent again is kept
// although it does not fit, and only until that attempt has begun.
func TestContentIsSecuredForTheNextAttempt(t *testing.T) {
	var c content
	piece := make([]byte, limits.ReplayBytesMax*3/4)
	c.take(piece, true)
	if !c.secure() {
		t.Fatal("what fits is lost")
	}
	c.take(piece, true)
	if c.lost() || len(c.kept) != 2*len(piece) {
		t.Fatalf("lost=%t, %d bytes are kept", c.lost(), len(c.kept))
	}
	c.resume()
	c.take([]byte("x"), true)
	if !c.lost() || c.secure() || c.room() >= 0 {
		t.Errorf("what does not fit is kept: lost=%t, room %d", c.lost(), c.room())
	}
	c.reset()
	c.take([]byte("again"), true)
	if c.lost() || !bytes.Equal(c.kept, []byte("again")) {
		t.Errorf("after reset: lost=%t, %q", c.lost(), c.kept)
	}
}
