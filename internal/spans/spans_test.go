package spans

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/trace"
)

// receiver is an exporter and its kind. It fails while err is set, and waits while stuck is.
type receiver struct {
	mu      sync.Mutex
	batches []int // exchanges of each
	opened  int
	closed  int
	err     error
	stuck   chan struct{}
}

func (r *receiver) Open(t config.Tracing, _ *slog.Logger) (trace.Exporter, error) {
	if t.OTLP.Endpoint == "" {
		return nil, nil
	}
	if t.ServiceName == "broken" {
		return nil, errors.New("broken")
	}
	r.opened++
	return r, nil
}

func (r *receiver) Export(ctx context.Context, batch []trace.Exchange) (int, error) {
	if r.stuck != nil {
		select {
		case <-r.stuck:
		case <-ctx.Done():
			return len(batch), ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return len(batch), r.err
	}
	r.batches = append(r.batches, len(batch))
	return 0, nil
}

func (r *receiver) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed++
	return nil
}

// ends is how often it was closed.
func (r *receiver) ends() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

func (r *receiver) total() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.batches {
		n += b
	}
	return n
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func tracing(name string, queue int) *config.Tracing {
	return &config.Tracing{OTLP: config.OTLP{Endpoint: "http://x"}, ServiceName: name, Queue: queue}
}

func put(s *record.Sink, n int) {
	for range n {
		s.Put(&record.Exchange{Method: []byte("GET"), Span: &record.Span{ID: [8]byte{1}}})
	}
}

func open(t *testing.T, s *Spans, c *config.Tracing) *record.Sink {
	t.Helper()
	sink, err := s.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

// TestBatches: a few wait for a second, many leave at once, and Close takes what is left.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(receiver)
		s := New(r, quiet)
		sink := open(t, s, tracing("a", 4096))
		put(sink, 3)
		time.Sleep(900 * time.Millisecond)
		if n := r.total(); n != 0 {
			t.Errorf("%d exchanges after 0.9 s", n)
		}
		time.Sleep(200 * time.Millisecond)
		if n := r.total(); n != 3 {
			t.Errorf("%d exchanges after 1.1 s, want 3", n)
		}
		put(sink, 1200)
		// The sender may begin before all of them are there, so the last ones may wait for a second.
		time.Sleep(150 * time.Millisecond)
		if n := r.total(); n < 1203-batchMax || slices.Max(r.batches) != batchMax {
			t.Errorf("%v after 0.15 s, want batches of at most %d", r.batches, batchMax)
		}
		time.Sleep(batchAge)
		if n := r.total(); n != 1203 || slices.Max(r.batches) != batchMax {
			t.Errorf("%v after 1.15 s, want 1203 exchanges in batches of at most %d", r.batches, batchMax)
		}
		put(sink, 5)
		s.Close(context.Background())
		if sent, lost := s.Counts(); sent != 1208 || lost != 0 || r.total() != 1208 || r.ends() != 1 {
			t.Errorf("%d sent, %d lost, %d received, closed %d times", sent, lost, r.total(), r.ends())
		}
		if sink, err := s.Open(tracing("b", 4096)); sink != nil || err != nil {
			t.Errorf("open after Close: %v, %v", sink, err)
		}
	})
}

// TestWhatIsLostIsCounted: by a receiver that hangs, a queue that is full, and one that refuses.
func TestWhatIsLostIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{stuck: make(chan struct{})}
		s := New(r, quiet)
		sink := open(t, s, tracing("a", 64))
		put(sink, 64)
		time.Sleep(2 * time.Second) // all are with the receiver
		put(sink, 100)
		if _, lost := s.Counts(); lost != 36 {
			t.Errorf("%d lost, want the 36 beyond the queue", lost)
		}
		close(r.stuck)
		time.Sleep(2 * time.Second)
		r.mu.Lock()
		r.err = errors.New("refused")
		r.mu.Unlock()
		put(sink, 10)
		time.Sleep(2 * time.Second)
		if sent, lost := s.Counts(); sent != 128 || lost != 46 {
			t.Errorf("%d sent, %d lost; want 128 and 46", sent, lost)
		}
		s.Close(context.Background())
	})
}

// TestCloseDoesNotWaitForAReceiverThatHangs longer than closeFor.
func TestCloseDoesNotWaitForAReceiverThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{stuck: make(chan struct{})}
		s := New(r, quiet)
		put(open(t, s, tracing("a", 1024)), 700)
		time.Sleep(2 * time.Second)
		began := time.Now()
		s.Close(context.Background())
		if took := time.Since(began); took > closeFor {
			t.Errorf("Close took %s", took)
		}
		if sent, lost := s.Counts(); sent != 0 || lost != 700 {
			t.Errorf("%d sent, %d lost", sent, lost)
		}
	})
}

// TestAReloadLosesNothing: the same configuration keeps the sender; another one takes over, and
// what the old one had, or still gets, arrives.
func TestAReloadLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(receiver)
		s := New(r, quiet)
		first := open(t, s, tracing("a", 4096))
		put(first, 3)
		if again := open(t, s, tracing("a", 4096)); again != first || r.opened != 1 {
			t.Errorf("the same configuration opened %d exporters", r.opened)
		}
		second := open(t, s, tracing("b", 4096))
		put(first, 4) // an exchange that began before
		put(second, 5)
		time.Sleep(5 * time.Second)
		if n := r.total(); n != 12 || r.ends() != 1 {
			t.Errorf("%d received, %d closed; want 12 and 1", n, r.ends())
		}
		if off := open(t, s, new(config.Tracing)); off != nil {
			t.Error("spans are made without an endpoint")
		}
		put(second, 2)
		time.Sleep(5 * time.Second)
		if n := r.total(); n != 14 || r.ends() != 2 {
			t.Errorf("%d received, %d closed; want 14 and 2", n, r.ends())
		}
		s.Close(context.Background())
	})
}

// TestMistakesOfTheConfiguration change nothing.
func TestMistakesOfTheConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, err := New(nil, quiet).Open(tracing("a", 64)); err == nil || !strings.Contains(err.Error(), "tracing.OTLP()") {
			t.Errorf("a program without an exporter: %v", err)
		}
		if sink, err := New(nil, quiet).Open(new(config.Tracing)); sink != nil || err != nil {
			t.Errorf("off: %v, %v", sink, err)
		}
		r := new(receiver)
		s := New(r, quiet)
		sink := open(t, s, tracing("a", 64))
		for _, bad := range []*config.Tracing{tracing("broken", 64), {Always: []string{"error"}}} {
			if _, err := s.Open(bad); err == nil {
				t.Errorf("%+v was accepted", bad)
			}
		}
		put(sink, 1)
		s.Close(context.Background())
		if r.total() != 1 {
			t.Error("the sender in force was lost")
		}
	})
}

// TestAnExporterThatPanics loses its batch, not the proxy.
func TestAnExporterThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(panics{}, quiet)
		put(open(t, s, tracing("a", 64)), 2)
		s.Close(context.Background())
		if _, lost := s.Counts(); lost != 2 {
			t.Errorf("%d lost, want 2", lost)
		}
	})
}

type panics struct{}

func (panics) Open(config.Tracing, *slog.Logger) (trace.Exporter, error)      { return panics{}, nil }
func (panics) Export(context.Context, []trace.Exchange) (lost int, err error) { panic("exporter") }
