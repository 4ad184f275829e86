package loop

import (
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
)

// BenchmarkEcho: tasks of one loop ask tasks of another over TCP, 32 at once, 128 bytes each
// way. What counts is the processor time of a round trip, which is four system calls, two
// waits with deadlines, and the scheduler.
func BenchmarkEcho(b *testing.B) {
	e := startEngine(b, 2)
	l := serveOn(b, e, echo)
	rt := e.Runtime(1)
	const clients = 32
	b.ReportAllocs()
	began := processorTime(b)
	b.ResetTimer()
	done := make(chan struct{})
	e.Start(1, func() {
		defer close(done)
		var joins []engine.Join
		for i := range clients {
			joins = append(joins, rt.Fork(func() { askRepeatedly(b, rt, l.Addr().String(), (b.N+i)/clients) }))
		}
		for _, j := range joins {
			j.Wait()
		}
	})
	<-done
	b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
}

func askRepeatedly(b *testing.B, rt engine.Runtime, address string, times int) {
	s, err := rt.Dial(&engine.Dial{Network: "tcp", Address: address})
	if err != nil {
		b.Error(err)
		return
	}
	defer s.Close()
	buf := make([]byte, 128)
	for range times {
		s.SetWriteDeadline(rt.Now() + time.Minute)
		if _, err := s.Write(buf); err != nil {
			b.Error(err)
			return
		}
		for n := 0; n < len(buf); {
			s.SetReadDeadline(rt.Now() + time.Minute)
			m, err := s.Read(buf[n:])
			if err != nil {
				b.Error(err)
				return
			}
			n += m
		}
	}
}
