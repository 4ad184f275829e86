package main

import (
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"
)

// A Reporter knows how busy this process is. The zero value is ready.
type Reporter struct {
	inFlight atomic.Int64
	latency  atomic.Int64 // of the latest responses, a moving average, in ns
	cpu      atomic.Int64 // part of the processors in use, in thousandths
	due      atomic.Int64 // when cpu is measured anew, in Unix ns
	used     time.Duration
	at       time.Time
}

// Handler returns next with a report in the head of each of its responses.
func (r *Reporter) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.inFlight.Add(1)
		began := time.Now()
		defer func() {
			r.inFlight.Add(-1)
			old := r.latency.Load()
			r.latency.Store(old + (int64(time.Since(began))-old)/16) // that two may meet does not matter
		}()
		r.measure(began)
		next.ServeHTTP(&reporting{ResponseWriter: w, reporter: r}, q)
	})
}

// report is the value of the field as of now.
func (r *Reporter) report() string {
	return fmt.Sprintf("TEXT cpu_utilization=%.3f,named_metrics.in_flight=%d,named_metrics.latency_ms=%.1f",
		float64(r.cpu.Load())/1000, r.inFlight.Load(), float64(r.latency.Load())/1e6)
}

// measure looks twice a second at how much processor time the process has used.
func (r *Reporter) measure(now time.Time) {
	due := r.due.Load()
	if now.UnixNano() < due || !r.due.CompareAndSwap(due, now.Add(500*time.Millisecond).UnixNano()) {
		return // not yet, or another request does it
	}
	used, ok := processorTime()
	if ok && !r.at.IsZero() {
		share := float64(used-r.used) / float64(now.Sub(r.at)) / float64(runtime.GOMAXPROCS(0))
		r.cpu.Store(int64(max(share, 0) * 1000))
	}
	r.used, r.at = used, now
}

// reporting adds the report when the head is written: then it is as new as it can be.
type reporting struct {
	http.ResponseWriter
	reporter *Reporter
	done     bool
}

// Unwrap lets http.ResponseController find what the writer below can do.
func (w *reporting) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *reporting) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.once()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *reporting) Write(b []byte) (int, error) {
	w.once()
	return w.ResponseWriter.Write(b)
}

// Flush is for handlers that ask for an http.Flusher.
func (w *reporting) Flush() {
	w.once()
	http.NewResponseController(w.ResponseWriter).Flush() // one that cannot has nothing to flush
}

func (w *reporting) once() {
	if !w.done {
		w.done = true
		w.Header().Set("Endpoint-Load-Metrics", w.reporter.report())
	}
}
