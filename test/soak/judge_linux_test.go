package soak

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// slack is how much earlier than a request something may have happened that it meets: a
// busy machine reports late.
const slack = 500 * time.Millisecond

// hintsOfHedge counts responses of which no interim one came: those of a hedge are not passed on, and
// so there are no more of them than hedges that have won.
const hintsOfHedge = "responses without their hints"

// judge says what is wrong with a result; empty: nothing. What may go wrong is counted.
func (s *soak) judge(e *entry, r *result) string {
	from, to := e.from.Add(-slack), time.Now()
	switch {
	case r.corrupt != nil:
		return r.corrupt.Error()
	case r.status == 0 && e.act == resetBody && e.minor == 0:
		s.met.add("responses of HTTP/1.0 lost in their reset")
	case r.status == 0:
		return fmt.Sprintf("no response: %v", r.err)
	case r.reason != "":
		return s.judgeOwn(e, r, from, to)
	case r.status != e.status:
		return "another status"
	case !r.whole && e.act == resetBody:
		s.met.add("responses cut by order")
	case !r.whole && e.service == "wild" && e.begun.Load() && s.deaths.within(from, to) > 0:
		s.met.add("responses cut by a death")
	case !r.whole:
		return fmt.Sprintf("cut after %d bytes: %v", r.bytes, r.err)
	case e.act == resetBody:
		return fmt.Sprintf("looks whole after %d bytes although it was cut", r.bytes)
	case e.act == hinting && r.hints == 0 && e.minor > 0 && e.up < 0:
		s.met.add(hintsOfHedge)
		s.checked.Add(1)
	case r.hints > e.minor*int(e.heads.Load()), e.act == hinting && r.hints < e.minor:
		return fmt.Sprintf("%d hints", r.hints)
	default:
		s.checked.Add(1)
	}
	return ""
}

// judgeOwn is for what the proxy answered by itself.
func (s *soak) judgeOwn(e *entry, r *result, from, to time.Time) string {
	if r.status < 502 || r.status > 504 || !r.whole {
		return "refused"
	}
	switch {
	case r.reason == "endpoint-refused" && e.up > replayed:
		s.met.add("not to be repeated after GOAWAY")
	case e.act == resetHead && !e.repeatable():
		s.met.add("resets by order: " + r.reason)
	case e.service == "wild" && (!e.idempotent() || e.up > 0) && s.deaths.within(from, to) > 0:
		// Content that has not come to its end cannot be sent again.
		s.met.add("not to be repeated after a death: " + r.reason)
	case e.service == "wild" && s.deaths.within(from, to) > 2*killers:
		// So slow a machine that every endpoint was down when its turn came.
		s.met.add("deaths after deaths: " + r.reason)
	case e.service == "rude" && (!e.idempotent() || e.up > 0) && s.drops.within(from, to) > 0:
		s.met.add("not to be repeated on a dropped connection: " + r.reason)
	default:
		return "refused although it could have been served"
	}
	return ""
}

// say notes a failure with all that is known of it.
func (s *soak) say(kind, wrong string, e *entry, r *result) {
	s.fail("%s: %s\norder: %s\nresponse: %d reason=%q whole=%t bytes=%d hints=%d err=%v fields=%.300q\nendpoints that saw it: %d, that began to answer: %t, %v after it was sent",
		kind, wrong, e.text, r.status, r.reason, r.whole, r.bytes, r.hints, r.err, fmt.Sprint(r.fields), e.heads.Load(), e.begun.Load(), time.Since(e.from).Round(time.Millisecond))
	if r.reason != "" {
		s.t.Logf("%s: %s", e.service, s.states(e.service))
	}
	s.t.Logf("the proxy said last:%s", s.log.last())
	if isTimeout(r.err) {
		s.dump()
	}
}

// dump says once where everything waits: goroutines, and bytes in sockets.
func (s *soak) dump() {
	s.stuck.Do(func() {
		var sockets strings.Builder
		data, _ := os.ReadFile("/proc/net/tcp")
		for line := range strings.Lines(string(data)) {
			if !strings.Contains(line, " 00000000:00000000 ") {
				sockets.WriteString(line)
			}
		}
		s.t.Logf("somebody is stuck; sockets that hold bytes:\n%s\n%s", &sockets, stacks())
	})
}

// states is what the proxy knows of a service's endpoints.
func (s *soak) states(service string) string {
	var b strings.Builder
	for _, one := range s.front.Status().Services {
		if one.Name != service {
			continue
		}
		fmt.Fprintf(&b, "panic=%t", one.Panic)
		for _, e := range one.Endpoints {
			fmt.Fprintf(&b, "; %s %s %s, %d in flight, %d of %d failed", e.URL, e.State, e.Cause, e.InFlight, e.Failures, e.Attempts)
		}
	}
	return b.String()
}
