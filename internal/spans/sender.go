package spans

// One sender empties one ring into one exporter. Records wait until there are enough of them for
// a batch, or for a second:
//
//	0 s     the first record wakes the goroutine, which looks every 100 ms from now on
//	0.3 s   512 records: a batch
//	1.3 s   40 records, the oldest for a second: a batch
//	        the ring is empty: the goroutine sleeps until it is woken

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/record"
	"github.com/poise-lb/poise/trace"
)

const (
	batchMax  = 512                    // exchanges of a batch
	batchAge  = time.Second            // how long a record waits for others
	lookEvery = 100 * time.Millisecond // while records wait
	lateTime  = 2 * time.Second        // for records that were begun when the ring was replaced
	sayEvery  = time.Minute            // between lines about trouble that lasts
	breakTime = 50 * time.Millisecond  // for an exporter that was interrupted
)

// A sender is one ring, one exporter, and the goroutine between them, which alone uses the last
// fields.
type sender struct {
	conf     config.Tracing
	exporter trace.Exporter
	sink     *record.Sink
	log      *slog.Logger

	ctx       context.Context // of calls of the exporter
	interrupt context.CancelFunc
	wake      chan struct{} // of one slot: records have come, or one of the next two was set
	retired   atomic.Bool   // another sender has taken over
	stop      atomic.Bool   // Close was called
	ended     chan struct{}

	batch  []trace.Exchange
	failed bool // the last batch was not taken
	said   time.Time
}

func newSender(t *config.Tracing, e trace.Exporter, log *slog.Logger) *sender {
	d := &sender{conf: *t, exporter: e, sink: record.NewSink(t.Queue), log: log, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	d.ctx, d.interrupt = context.WithCancel(context.Background())
	d.sink.Wake, d.sink.Format = d.rouse, record.CompileSpans(t)
	return d
}

// rouse has run look at what has come.
func (d *sender) rouse() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// ask sets a flag for run to see.
func (d *sender) ask(flag *atomic.Bool) {
	flag.Store(true)
	d.rouse()
}

// run sends records until Close, or for a moment after another sender has taken over.
func (d *sender) run() {
	defer d.interrupt()
	for !d.stop.Load() && !d.retired.Load() {
		if d.sink.Park() {
			<-d.wake
			continue
		}
		d.gather()
		d.send()
	}
	if !d.stop.Load() {
		late := time.NewTimer(lateTime)
		defer late.Stop()
		for waiting := true; waiting && !d.stop.Load(); {
			select {
			case <-d.wake:
			case <-late.C:
				waiting = false
			}
		}
	}
	d.send()
}

// gather waits until what is in the ring is worth a batch.
func (d *sender) gather() {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for age := time.Duration(0); age < batchAge && d.sink.Pending() < batchMax; age += lookEvery {
		select {
		case <-look.C:
		case <-d.wake: // of stop or retired: nobody is parked
			if d.stop.Load() || d.retired.Load() {
				return
			}
		}
	}
}

// send sends all that is in the ring, batch by batch.
func (d *sender) send() {
	for {
		d.batch = d.sink.Spans(d.batch[:0], batchMax)
		if len(d.batch) == 0 {
			return
		}
		spans := 0
		for i := range d.batch {
			spans += d.batch[i].Spans()
		}
		lost, err := d.export()
		lost = min(max(lost, 0), spans)
		d.sink.Took(uint64(spans-lost), uint64(lost))
		d.say(lost, err)
		d.batch = nil // the exporter may have kept it
	}
}

// export calls the exporter. One that panics has lost the batch.
func (d *sender) export() (lost int, err error) {
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("the exporter of spans panicked", "panic", p)
			for i := range d.batch {
				lost += d.batch[i].Spans()
			}
		}
	}()
	return d.exporter.Export(d.ctx, d.batch)
}

// say logs that spans are not taken, at once and again while it lasts, and that they are taken
// again.
func (d *sender) say(lost int, err error) {
	switch {
	case err != nil && (!d.failed || time.Since(d.said) >= sayEvery):
		d.log.Error("spans are not taken", "lost", lost, "error", err)
		d.said = time.Now()
	case err == nil && d.failed:
		d.log.Info("spans are taken again", "lost", d.sink.Dropped())
	}
	d.failed = err != nil
}

// end waits until the sender has ended, or ctx is done and an exporter that was interrupted then
// does not return soon.
func (d *sender) end(ctx context.Context) {
	select {
	case <-d.ended:
		return
	case <-ctx.Done():
	}
	d.interrupt()
	select {
	case <-d.ended:
	case <-time.After(breakTime):
		d.log.Error("the exporter of spans does not return")
	}
}
