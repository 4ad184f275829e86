//go:build invariants

package buffer

import (
	"bytes"
	"testing"

	"github.com/poise-lb/poise/internal/engine/virtual"
)

// TestWhatIsGivenBackIsPoisoned: a slice of a buffer that was released reads as nonsense.
func TestWhatIsGivenBackIsPoisoned(t *testing.T) {
	w := virtual.New(1)
	a, b := w.Pipe()
	w.Go("test", func() {
		text := []byte("nobody may look at this later")
		a.Write(text)
		r := Reader{Stream: b}
		if err := r.Fill(); err != nil || !bytes.Equal(r.Buffered(), text) {
			t.Fatalf("%q, %v", r.Buffered(), err)
		}
		kept := r.Buffered()
		r.Advance(len(kept))
		r.Release()
		out := Writer{Stream: a}
		out.Room()
		out.Out = append(out.Out, text...)
		sent := out.Out
		if err := out.Flush(); err != nil {
			t.Fatal(err)
		}
		for _, stale := range [][]byte{kept, sent} {
			if bytes.ContainsAny(stale, "abcdefghijklmnopqrstuvwxyz ") {
				t.Errorf("a released buffer says %q", stale)
			}
		}
	})
	if err := w.Run(); err != nil {
		t.Fatal(err)
	}
}
