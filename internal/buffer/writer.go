package buffer

import (
	"sync"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/invariants"
	"github.com/poise-lb/poise/internal/limits"
)

// One response of ordinary size leaves in one write: its head and its content are gathered.
// Content that fills a buffer by itself is written from where it lies.

// outBytes is a write buffer: what one read has brought and a head of ordinary size in front of
// it, so that a response of up to 16 KiB leaves in one write, chunked or not.
const outBytes = readBytes + headRoom

// writeBuffers are recycled; an array that grew beyond outBytes is recycled, too.
var writeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, outBytes); return &b }}

// A Writer gathers what is to be written and writes it at Flush, or sooner when it does
// not fit. The zero value with a Stream is ready. It is used by one task at a time.
type Writer struct {
	Stream engine.Stream
	Spares *Spares // of the worker whose tasks use the Writer; nil: it has none
	Out    []byte  // gathered; append to it between Room and Flush
	home   *[]byte
	Wrote  bool // the stream has taken bytes
}

// Room makes sure that Out has an array to append to.
func (w *Writer) Room() {
	if w.Out == nil {
		w.home = w.Spares.takeWrite()
		w.Out = (*w.home)[:0]
	}
}

// Fits reports whether n more bytes are gathered without a write. Otherwise the next Write or Reserve
// may wait, so that the stream's deadline is to be set.
func (w *Writer) Fits(n int) bool { return len(w.Out)+n <= outBytes }

// Write writes p, together with what was gathered if both fit into one write.
func (w *Writer) Write(p []byte) error {
	w.Room()
	if len(w.Out)+len(p) <= outBytes {
		w.Out = append(w.Out, p...)
		return nil
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(p) < limits.RelayBytes/2 {
		w.Room()
		w.Out = append(w.Out, p...)
		return nil
	}
	return w.write(p)
}

// write writes and notes whether anything was taken.
func (w *Writer) write(p []byte) error {
	n, err := w.Stream.Write(p)
	if (n > 0 || err == nil) && !w.Wrote { // set once: another task may read it then
		w.Wrote = true
	}
	return err
}

// Reserve makes sure that n more bytes fit behind what was gathered, flushing first if they
// do not: the caller then appends them to Out.
func (w *Writer) Reserve(n int) error {
	if len(w.Out) > 0 && len(w.Out)+n > outBytes {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	w.Room()
	return nil
}

// Flush writes what was gathered and gives the buffer back.
func (w *Writer) Flush() error {
	if len(w.Out) == 0 {
		w.Drop()
		return nil
	}
	err := w.write(w.Out)
	w.Drop()
	return err
}

// Drop gives the buffer back with whatever is in it.
func (w *Writer) Drop() {
	if w.home != nil {
		*w.home = (*w.home)[:0]
		if invariants.Enabled {
			invariants.Poison(*w.home)
		}
		w.Spares.giveWrite(w.home)
	}
	w.Out, w.home = nil, nil
}
