package health

import (
	"cmp"
	"fmt"
	"testing"
	"time"
)

// The goal: nothing a source, a check, clients and the clock can do in any order brings a
// machine into a state that breaks a promise of the package. The method: breadth-first
// search over all reachable machines, with every input tried in each of them. Machines are
// small values with counters that stop at their thresholds, so the search ends by itself.

// step is the grain of time in the search; now stays where it is, deadlines move instead.
const (
	step = time.Second
	now  = 1000 * step
)

// past is what a specification may remember: facts about the history, kept apart from the
// machine and much simpler than it.
type past struct {
	passes  int   // passed probes since any other input: a failed probe or attempt, another check, an ejection
	fails   int   // failed probes in a row
	last    Event // the latest probe, CheckChanged if there was none
	deaf    bool  // the latest probe or attempt that could tell got no connection
	removed bool
	emptied bool
	barred  bool // an operator has ejected it, and has not taken that back
}

// a node of the search.
type node struct {
	m Machine
	p past
}

// later lets time go by: the deadline comes nearer.
func (n node) later(d time.Duration) node {
	if n.m.until > 0 {
		n.m.until = max(n.m.until-d, now-step)
	}
	if n.m.proof > 0 {
		n.m.proof = max(n.m.proof-d, now-step)
	}
	return n
}

// remember is the specification's own view of an input.
func (p past) remember(c *Config, in Input, from, to *Machine) past {
	if from.barred && attempt(in) {
		return p // an operator has ejected it
	}
	switch in.Event {
	case ProbePassed:
		p.passes, p.fails, p.last = min(p.passes+1, c.HealthyAfter), 0, in.Event
	case ProbeFailed, ProbeRefused:
		p.passes, p.fails, p.last = 0, min(p.fails+1, c.UnhealthyAfter), in.Event
	case AttemptFailed:
		// The breaker listens to healthy endpoints and to trials; the rest proves nothing.
		if from.state == Healthy && !c.Breaker.Off || from.state == HalfOpen && from.trials > 0 && !in.Stranger {
			p.passes = 0
		}
	case CheckChanged, CheckGone, OperatorAdmitted:
		p.passes, p.fails, p.last = 0, 0, CheckChanged
	case Removed:
		p.removed, p.barred = true, false
	case Emptied:
		p.emptied = p.emptied || p.removed
	}
	switch in.Event {
	case OperatorEjected:
		p.barred = !p.removed
	case OperatorReleased, OperatorAdmitted:
		p.barred = false
	}
	if to.state == Ejected && from.state != Ejected {
		p.passes = 0
	}
	p.deaf = p.hears(in, from, to)
	return p
}

// attempt reports whether in is the end of an attempt.
func attempt(in Input) bool { return in.Event >= AttemptSucceeded && in.Event <= AttemptAbandoned }

// hears says whether the endpoint could not be connected to, as far as in lets know.
func (p past) hears(in Input, from, to *Machine) (deaf bool) {
	trial := from.state == HalfOpen && from.trials > 0
	switch {
	case in.Event == ProbeRefused:
		return true
	case in.Event == ProbeFailed && in.Silent:
		return p.deaf
	case in.Event == AttemptFailed && (from.state == Healthy || from.state == Ejected || trial && !in.Stranger):
		return in.Unreached
	case in.Event == AttemptSucceeded && (from.state == Healthy || trial || from.state == Ejected && in.Began >= from.proof),
		in.Event <= ProbeFailed, in.Event == CheckChanged, in.Event == CheckGone, in.Event == OperatorAdmitted, to.state == Healthy && from.state != Healthy:
		return false
	}
	return p.deaf
}

// inputs are all that can happen, with everything that an input may carry.
func inputs() []Input {
	var all []Input
	for e := range Event(events) {
		in := Input{Event: e, Now: now}
		all = append(all, in)
		switch e {
		case AttemptFailed:
			for bits := range 16 {
				in := Input{Event: e, Now: now, Spare: bits&1 != 0, Stranger: bits&2 != 0, Unreached: bits&8 != 0}
				if bits&4 != 0 {
					in.Requests, in.Failures = 100, 60
				}
				all = append(all, in)
			}
		case AttemptAbandoned:
			in.Stranger = true
			all = append(all, in)
		case AskedToRest:
			all[len(all)-1].Rest, in.Rest = 3*step, 3*step
			in.Spare = true
			all = append(all, in)
		case ComparedWorse:
			in.Spare = true
			all = append(all, in)
		case AttemptSucceeded:
			in.Began = now
			all = append(all, in)
		case ProbeFailed:
			in.Silent = true
			all = append(all, in)
		}
	}
	return all
}

func configs() map[string]Config {
	all := map[string]Config{"defaults": {Probed: true}}
	for _, probed := range []bool{true, false} {
		for after := 1; after <= 3; after++ {
			for trials := 1; trials <= 3; trials += 2 {
				for _, rate := range []int{0, 50} {
					name := fmt.Sprintf("probed=%v/after=%d/trials=%d/rate=%d", probed, after, trials, rate)
					all[name] = Config{Probed: probed, UnhealthyAfter: after, HealthyAfter: 4 - after, Breaker: Breaker{
						ConsecutiveFailures: after, FailureRate: rate, OpenFor: 2 * step, Trials: trials,
					}}
				}
			}
		}
	}
	for _, trials := range []int{1, 6} {
		all[fmt.Sprintf("outliers/trials=%d", trials)] = Config{Probed: true, UnhealthyAfter: 2, HealthyAfter: 2, Breaker: Breaker{
			ConsecutiveFailures: 2, OpenFor: step, Trials: trials, Outliers: true,
		}}
	}
	all["outliers, no check"] = Config{Breaker: Breaker{ConsecutiveFailures: -1, OpenFor: step, Outliers: true}}
	all["off"] = Config{Probed: true, Breaker: Breaker{Off: true}}
	all["rate only"] = Config{Probed: true, Breaker: Breaker{ConsecutiveFailures: -1, FailureRate: 50, OpenFor: step}}
	return all
}

func TestEveryReachableMachineKeepsThePromises(t *testing.T) {
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			c := c.WithDefaults()
			explore(t, &c)
		})
	}
}

// explore visits every reachable node of one configuration.
func explore(t *testing.T, c *Config) {
	start := node{m: New(c), p: past{last: CheckChanged}}
	type origin struct {
		from node
		by   string
	}
	seen := map[node]origin{start: {}}
	queue := []node{start}
	all := inputs()
	reached := map[State]bool{}
	story := func(n node) (s string) {
		for n != start {
			o := seen[n]
			s = o.by + " → " + s
			n = o.from
		}
		return s
	}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		reached[n.m.state] = true
		visit := func(next node, by string) {
			if _, ok := seen[next]; !ok {
				seen[next] = origin{n, by}
				queue = append(queue, next)
			}
		}
		if err := sound(n, c); err != nil {
			t.Fatalf("%v\n%+v\nafter %s", err, n, story(n))
		}
		for _, in := range all {
			m := n.m
			change := m.Apply(c, in)
			next := node{m, n.p.remember(c, in, &n.m, &m)}
			if err := allowed(n, next, in, change, c); err != nil {
				t.Fatalf("%v\n%+v\n%+v\n%+v\nafter %s", err, n, in, next, story(n))
			}
			visit(next, fmt.Sprintf("event %d", in.Event))
		}
		m := n.m
		free, usable := m.Free(c), m.Usable(c)
		if m.Trial(c) != (free > 0) || free > 0 && !usable {
			t.Fatalf("a trial although %d are free\n%+v", free, n)
		}
		visit(node{m, n.p}, "trial")
		visit(n.later(step), "time")
	}
	t.Logf("%d machines", len(seen))
	for _, s := range []State{Healthy, Draining, Gone} {
		if !reached[s] {
			t.Errorf("%v was never reached: the search proves nothing", s)
		}
	}
	if !c.Breaker.Off && !(reached[Ejected] && reached[HalfOpen]) {
		t.Errorf("the breaker never acted: the search proves nothing")
	}
}

// sound checks what must hold in every state, whatever led there.
func sound(n node, c *Config) error {
	m := n.m
	switch {
	case m.Barred() != n.p.barred || (m.Cause() == Operator) != n.p.barred:
		return fmt.Errorf("ejected by an operator, and does not say so, or the other way round")
	case n.p.barred && (m.State() != Ejected || m.Usable(c) || m.Free(c) > 0 || m.Doubtful() || m.Kept() || m.trials > 0):
		return fmt.Errorf("ejected by an operator, and in use")
	case m.cause == Operator:
		return fmt.Errorf("the state below an operator's ejection is one")
	case (m.cause != None) != (m.state == Ejected):
		return fmt.Errorf("a cause without an ejection, or the other way round")
	case (m.until != 0) != (m.state == Ejected && m.cause.Passive()):
		return fmt.Errorf("a deadline without an ejection by the breaker or as an outlier, or the other way round")
	case m.outlier != (m.cause == Outlier || m.state == HalfOpen && m.outlier):
		return fmt.Errorf("an outlier, and neither ejected as one nor half-open")
	case m.strikes < 0 || m.strikes > doublingsMax || m.outlier && m.strikes == 0:
		return fmt.Errorf("an outlier %d times", m.strikes)
	case m.until > now+16*c.Breaker.OpenFor:
		return fmt.Errorf("ejected for longer than 16 × open_for")
	case (m.proof != 0) != (m.until != 0) || m.proof > m.until && m.proof > now+ProofAfter:
		return fmt.Errorf("an ejection by the breaker that attempts cannot end, or the other way round")
	case m.state != HalfOpen && m.trials != 0 || m.state != HalfOpen && !m.cause.Passive() && m.won != 0:
		return fmt.Errorf("trials outside half-open")
	case m.convicted && m.cause != Probes:
		return fmt.Errorf("convicted, and not ejected by probes")
	case m.kept && m.state != Healthy:
		return fmt.Errorf("kept in use, and not healthy")
	case m.trials < 0 || int(m.trials) > c.Breaker.Trials || m.won >= m.needed(c) && m.won > 0:
		return fmt.Errorf("%d trials, %d won", m.trials, m.won)
	case m.passes > 0 && m.fails > 0:
		return fmt.Errorf("probes both pass and fail")
	case m.state == Ejected && m.Usable(c):
		return fmt.Errorf("ejected and usable")
	case n.p.removed && (m.Usable(c) || m.Doubtful() || m.state != Draining && m.state != Gone):
		return fmt.Errorf("removed and not leaving")
	case n.p.emptied && m.state != Gone:
		return fmt.Errorf("gone and back")
	case n.p.removed:
		return nil
	case m.outlier && !returns(m, c):
		return fmt.Errorf("an outlier that never returns")
	case !handedOver(m):
		return fmt.Errorf("another process would have another machine")
	case n.p.passes >= c.HealthyAfter && !m.outlier && (m.state != Healthy || m.faults != 0 || m.row != 0 || m.kept):
		return fmt.Errorf("healthy_after probes passed, and the breaker still remembers something")
	case n.p.fails >= c.UnhealthyAfter && m.cause != Probes:
		return fmt.Errorf("unhealthy_after probes failed, and it is not ejected by probes")
	case m.Unreached() != n.p.deaf && m.state != Probing:
		return fmt.Errorf("whether connections come about is not what was heard last")
	case !n.p.barred && m.Doubtful() == (m.state != Ejected || n.p.deaf):
		return fmt.Errorf("a doubt where no connection comes about, or none where one does")
	}
	return untold(m, c)
}

// handedOver reports whether a process that takes over has the same machine, trials and the word of
// an operator aside, which are not part of it.
func handedOver(m Machine) bool {
	next, ok := m.Save(now).Machine(now)
	m.trials, m.barred = 0, false
	return ok && next == m
}

// returns reports whether an outlier is healthy when its time is over and its trials succeed.
func returns(m Machine, c *Config) bool {
	m.Apply(c, Input{Event: OperatorReleased, Now: now})
	if m.fails > 0 { // they keep it out until one passes
		m.Apply(c, Input{Event: ProbePassed, Now: now})
	}
	m.Apply(c, Input{Event: TimePassed, Now: max(now, m.until)})
	for range m.needed(c) {
		if m.state == HalfOpen && m.trials == 0 {
			m.Trial(c)
		}
		m.Apply(c, Input{Event: AttemptSucceeded, Now: now})
	}
	return m.state == Healthy
}

// untold checks what the hot path relies on: events it does not tell change nothing.
func untold(m Machine, c *Config) error {
	same := func(in Input) bool {
		n := m
		n.Apply(c, in)
		return n == m
	}
	if m.Barred() {
		for _, in := range inputs() {
			if attempt(in) && !same(in) {
				return fmt.Errorf("ejected by an operator, and an attempt changes it")
			}
		}
		return nil
	}
	if m.Calm() && !(same(Input{Event: AttemptSucceeded, Now: now}) && same(Input{Event: AttemptSucceeded, Now: now, Began: now})) {
		return fmt.Errorf("calm, and a success changes it")
	}
	if m.state == Healthy && !same(Input{Event: AttemptAbandoned, Now: now}) {
		return fmt.Errorf("healthy, and an abandoned attempt changes it")
	}
	if m.state == Healthy || m.state == HalfOpen {
		return nil
	}
	if m.state == Ejected {
		if !same(Input{Event: AttemptAbandoned, Now: now}) {
			return fmt.Errorf("ejected, and an abandoned attempt changes it")
		}
		return nil
	}
	for _, in := range inputs() {
		if attempt(in) && !same(in) {
			return fmt.Errorf("out of rotation, and an attempt changes it")
		}
	}
	return nil
}

// allowed checks what an input may do and what it must.
func allowed(from, to node, in Input, change Change, c *Config) error {
	a, b := from.m, to.m
	first := a.state == Probing || a.unsure
	switch {
	case change.From != a.State() || change.To != b.State() || change.Moved() != (a.State() != b.State() || a.Cause() != b.Cause() && b.Cause() != None):
		return fmt.Errorf("the change says something else: %+v", change)
	case a.barred && attempt(in) && (a != b || change.Forget):
		return fmt.Errorf("ejected by an operator, and an attempt changes it")
	case a.barred && attempt(in):
		return nil
	case in.Event >= OperatorEjected && from.p.removed && a != b:
		return fmt.Errorf("removed, and an operator changes it")
	case b.state == Probing && a.state != Probing:
		return fmt.Errorf("back to probing")
	case a.state == Probing && b.state == Healthy && in.Event != ProbePassed && in.Event != CheckGone && in.Event != OperatorAdmitted:
		return fmt.Errorf("in rotation unknown")
	case a.state == Probing && in.Event == ProbePassed && b.state != Healthy,
		first && !from.p.removed && (in.Event == ProbeFailed || in.Event == ProbeRefused) && b.cause != Probes:
		return fmt.Errorf("the first verdict does not decide")
	case a.cause == Probes && b.cause != Probes && in.Event != ProbePassed && in.Event != CheckGone && in.Event != Removed && in.Event != OperatorAdmitted:
		return fmt.Errorf("ejected by probes, and something else brings it back")
	case b.state == HalfOpen && a.state != HalfOpen && (in.Event != TimePassed || a.until > now ||
		from.p.last == ProbeFailed || from.p.last == ProbeRefused):
		return fmt.Errorf("half-open before its time")
	case a.cause.Passive() && b.state == Healthy && in.Event == AttemptSucceeded && in.Began < a.proof:
		return fmt.Errorf("brought back by an attempt that began before it was ejected")
	case a.cause.Passive() && b.state != Healthy && in.Event == AttemptSucceeded && in.Began >= a.proof && a.won+1 >= a.needed(c):
		return fmt.Errorf("as many last resorts succeeded as the breaker wants, and it stays out")
	case a.cause == Probes && in.Event == AttemptFailed && !b.convicted,
		a.cause == Probes && in.Event == AttemptSucceeded && in.Began >= a.proof && b.convicted:
		return fmt.Errorf("what attempts say of an endpoint that probes ejected is not heard")
	case a.state == Ejected && in.Event == AttemptFailed && (b.state != a.state || b.until != a.until || b.row != a.row):
		return fmt.Errorf("an ejected endpoint fails, and its ejection changes")
	case a.Usable(c) && !b.Usable(c) && in.Event == AttemptFailed && !in.Spare:
		return fmt.Errorf("the last one was ejected")
	case a.state != b.state && (in.Event == AttemptAbandoned || in.Event == CheckChanged || in.Event == Emptied && a.state != Draining):
		return fmt.Errorf("moved by something that says nothing")
	case c.Breaker.Off && b.cause.Passive():
		return fmt.Errorf("the breaker is off")
	case a.state == HalfOpen && a.trials > 0 && in.Event == AttemptFailed && in.Spare && !in.Stranger && !b.cause.Passive():
		return fmt.Errorf("a failed trial does not eject")
	case a.state == HalfOpen && in.Event == AttemptFailed && in.Stranger && a != b:
		return fmt.Errorf("a stranger counts")
	case in.Event == AskedToRest && a != b && (!in.Spare || a.state != Healthy || b.cause != Attempts || b.until != now+in.Rest || b.row != a.row),
		in.Event == AskedToRest && a == b && in.Spare && a.state == Healthy && !c.Breaker.Off:
		return fmt.Errorf("asked to rest, and it is %+v", b)
	case in.Event != AskedToRest && b.cause == Attempts && a.cause != Attempts && b.until != now+c.Breaker.OpenFor<<a.row:
		return fmt.Errorf("ejected until %v at row %d", b.until, a.row)
	}
	if err := cmp.Or(keeps(a, b, in, c), obeys(from, b, in), compared(a, b, in, c)); err != nil {
		return err
	}
	// The window goes when what it held was judged, or is made up for, and only then.
	forget := b.state == Healthy && a.state != Healthy ||
		b.cause.Passive() && !a.cause.Passive() ||
		b.state == Healthy && in.Event == ProbePassed && to.p.passes >= c.HealthyAfter ||
		b.state == Healthy && in.Event == OperatorAdmitted
	if change.Forget != forget {
		return fmt.Errorf("forget %v, want %v", change.Forget, forget)
	}
	return nil
}

// obeys checks what an operator's word does, and that it does nothing else: what lies below an
// ejection is the same when it begins and when it ends.
func obeys(from node, b Machine, in Input) error {
	a := from.m
	switch in.Event {
	case OperatorEjected:
		if a.barred, a.trials = true, 0; a != b && !from.p.removed {
			return fmt.Errorf("an operator ejects it, and it is %+v", b)
		}
	case OperatorReleased:
		if a.barred = false; a != b {
			return fmt.Errorf("the operator's ejection is over, and it is %+v", b)
		}
	case OperatorAdmitted:
		if b != (Machine{state: Healthy}) && !from.p.removed {
			return fmt.Errorf("an operator admits it, and it is %+v", b)
		}
	default:
		if a.barred != b.barred && in.Event != Removed {
			return fmt.Errorf("event %d ends an operator's ejection, or begins one", in.Event)
		}
	}
	return nil
}

// compared checks what comparisons do, and that nothing else makes an outlier or clears one but its
// trials, its probes, an operator or its removal.
func compared(a, b Machine, in Input, c *Config) error {
	begins := b.cause == Outlier && a.cause != Outlier
	lost := a.state == HalfOpen && a.outlier && in.Event == AttemptFailed && in.Spare
	switch {
	case begins && !(in.Event == ComparedWorse && in.Spare && a.state == Healthy && c.Breaker.Outliers || lost):
		return fmt.Errorf("event %d makes an outlier", in.Event)
	case begins && (b.until != now+c.Breaker.OpenFor<<a.strikes || b.strikes != min(a.strikes+1, doublingsMax)):
		return fmt.Errorf("an outlier until %v after %d strikes, with %d", b.until, a.strikes, b.strikes)
	case in.Event == ComparedWorse && in.Spare && a.state == Healthy && c.Breaker.Outliers && !begins:
		return fmt.Errorf("an outlier stays, and others are there")
	case in.Event == ComparedWorse && !begins && a != b:
		return fmt.Errorf("an outlier is not ejected, and something changes")
	case in.Event == ComparedAlike:
		if a.state == Healthy {
			a.strikes = max(0, a.strikes-1)
		}
		if a != b {
			return fmt.Errorf("it is like its peers, and it is %+v", b)
		}
	case b.strikes < a.strikes && in.Event != OperatorAdmitted && in.Event != Removed:
		return fmt.Errorf("event %d forgets a strike", in.Event)
	case a.outlier && b.state == Healthy && in.Event != AttemptSucceeded && in.Event != OperatorAdmitted && !(in.Event == AttemptFailed && !in.Spare):
		return fmt.Errorf("event %d brings an outlier back", in.Event)
	}
	return nil
}

// keeps checks that an endpoint is said to be kept exactly when it fails as often as would
// eject it, were there another one.
func keeps(a, b Machine, in Input, c *Config) error {
	if in.Event != AttemptFailed || in.Spare || a.state != Healthy {
		return nil
	}
	spared := a
	in.Spare = true
	if spared.Apply(c, in); (spared.state == Ejected) != b.kept && !a.kept {
		return fmt.Errorf("kept %v, and with a spare one it would be %v", b.kept, spared.state)
	}
	return nil
}

// FuzzMachine walks further than any search, with configurations of any size.
func FuzzMachine(f *testing.F) {
	f.Add(uint8(3), uint8(2), uint8(5), uint8(1), []byte{1, 1, 5, 5, 5, 5, 5, 17, 16, 4})
	f.Add(uint8(1), uint8(1), uint8(1), uint8(2), []byte{0, 5, 17, 17, 6, 16, 16, 4, 5, 9, 10})
	f.Fuzz(func(t *testing.T, unhealthy, healthy, failures, trials uint8, walk []byte) {
		c := Config{Probed: unhealthy%2 == 0, UnhealthyAfter: int(unhealthy), HealthyAfter: int(healthy), Breaker: Breaker{
			ConsecutiveFailures: int(failures), Trials: int(trials), FailureRate: int(trials % 101), OpenFor: step,
		}}.WithDefaults()
		all := inputs()
		n := node{m: New(&c), p: past{last: CheckChanged}}
		for _, b := range walk {
			switch i := int(b) % (len(all) + 2); i {
			case len(all):
				n.m.Trial(&c)
			case len(all) + 1:
				n = n.later(step)
			default:
				m := n.m
				change := m.Apply(&c, all[i])
				next := node{m, n.p.remember(&c, all[i], &n.m, &m)}
				if err := allowed(n, next, all[i], change, &c); err != nil {
					t.Fatalf("%v\n%+v\n%+v\n%+v", err, n, all[i], next)
				}
				n = next
			}
			if err := sound(n, &c); err != nil {
				t.Fatalf("%v\n%+v", err, n)
			}
		}
	})
}
