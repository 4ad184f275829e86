package endpoint

// What was learned of an endpoint, for another process: see Proxy.Handover.

import (
	"math"
	"time"
)

// Learned is the estimate of latency and failure in a form for JSON. The zero value: nothing was
// measured.
type Learned struct {
	Latency float32       `json:"latency,omitempty"` // ns, as it was Age ago
	Failing float32       `json:"failing,omitempty"` // 0 to 1, as it was Age ago
	Typical time.Duration `json:"typical,omitempty"` // ns, as Endpoint.Typical
	Age     time.Duration `json:"age,omitempty"`     // ns since the latest change
	Failed  bool          `json:"failed,omitempty"`  // the latest attempt did
}

// Learned returns what is known at the instant now. Any goroutine may call it.
func (e *Endpoint) Learned(now time.Duration) Learned {
	l := Learned{Failed: e.failed.Load()}
	if at := e.latency.at.Load(); at != 0 {
		l.Latency, l.Failing = unpack(e.latency.word.Load())
		l.Age = now - time.Duration(at)
		l.Typical = e.Typical().Duration()
	}
	return l
}

// Learn makes l what is known at the instant now. It is for the owner of the endpoint, before
// the first attempt. What makes no sense is ignored.
func (e *Endpoint) Learn(l Learned, now time.Duration) {
	e.failed.Store(l.Failed)
	if !(l.Latency >= 0) || !(l.Failing >= 0 && l.Failing <= 1) || l.Latency > math.MaxInt64 || l.Age < 0 || l.Age > forgetTime || l.Latency == 0 && l.Failing == 0 {
		return
	}
	at := int64(now - l.Age) // below zero if it is older than this process, which is fine
	if at == 0 {
		at = -1
	}
	e.latency.word.Store(pack(l.Latency, l.Failing))
	e.latency.at.Store(at)
	if l.Typical > 0 {
		e.typical.level.Store(int32(levelOf(float32(l.Typical)) | countMask))
	}
}
