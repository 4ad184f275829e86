package record

import "sync/atomic"

const countersShards = 16 // a power of two

// Counters count exchanges for the metrics. The zero value is ready; all methods may be
// called by any task at once. They are spread over shards, each on cache lines of its
// own, so that workers do not disturb one another.
type Counters struct {
	shards [countersShards]counters
}

type counters struct {
	classes  [6]atomic.Uint64 // by the first digit of the status; 0: no response head
	bytesIn  atomic.Uint64
	bytesOut atomic.Uint64
	_        [64]byte
}

// Add counts one exchange. worker is that of the runtime; any number will do.
func (c *Counters) Add(worker, status int, bytesIn, bytesOut int64) {
	s := &c.shards[uint(worker)%countersShards]
	class := status / 100
	if class < 0 || class >= len(s.classes) {
		class = 0
	}
	s.classes[class].Add(1)
	if bytesIn > 0 {
		s.bytesIn.Add(uint64(bytesIn))
	}
	if bytesOut > 0 {
		s.bytesOut.Add(uint64(bytesOut))
	}
}

// Totals are the sums of all shards at about one moment.
type Totals struct {
	Classes  [6]uint64 // exchanges by the first digit of the status; 0: no response head was sent
	BytesIn  uint64
	BytesOut uint64
}

// Totals adds the shards up.
func (c *Counters) Totals() Totals {
	var t Totals
	for i := range c.shards {
		s := &c.shards[i]
		for class := range s.classes {
			t.Classes[class] += s.classes[class].Load()
		}
		t.BytesIn += s.bytesIn.Load()
		t.BytesOut += s.bytesOut.Load()
	}
	return t
}
