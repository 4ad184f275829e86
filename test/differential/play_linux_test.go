package differential

import (
	"errors"
	"time"
)

// A pace is how patiently a play is played.
type pace struct {
	quiet time.Duration // for which nothing may move before the next step, besides calm
	other time.Duration // for which one engine may lag behind the other
	left  time.Duration // the same, after the client has left

	// impatient: a play ends where one engine lags behind after the client has left. Most
	// plays of a fuzzer do, or it would do little else than wait for the watchdog of the
	// goroutine engine.
	impatient bool

	// orderly: the endpoint's steps are apart, all of them.
	orderly bool
}

var (
	// fast trusts calm.
	fast = pace{other: 100 * time.Millisecond, left: 700 * time.Millisecond}
	// slow is for finding out whether what was seen was chance.
	slow = pace{quiet: 5 * time.Millisecond, other: 200 * time.Millisecond, left: 500 * time.Millisecond}
)

// settleMax is when a process that does not come to rest is given up.
const settleMax = 30 * time.Second

// A stage is one side of a play: a client, and the endpoint's connections in the order in
// which they came.
type stage struct {
	side   *side
	client *peer
	conns  []*peer
	last   int  // the connection that something came on last: the endpoint's steps go there
	left   bool // the client has ended its side
	atOnce bool // with the last bytes it sent
}

// pump moves what can be moved.
func (s *stage) pump(room []byte) (moved bool) {
	for c := s.side.endpoint.accept(); c != nil; c = s.side.endpoint.accept() {
		s.conns = append(s.conns, c)
		s.last = len(s.conns) - 1
		moved = true
	}
	if s.client.fd >= 0 {
		moved = s.client.pump(room) || moved
	}
	for i, c := range s.conns {
		before := len(c.in)
		if c.fd >= 0 && c.pump(room) {
			moved = true
		}
		if len(c.in) > before {
			s.last = i
		}
	}
	return moved
}

// take takes a step.
func (s *stage) take(st step) {
	p := s.client
	if !st.verb.client() {
		if len(s.conns) == 0 {
			return
		}
		p = s.conns[s.last]
	}
	if p.fd < 0 {
		return
	}
	if !p.finish && !p.done {
		p.out = append(p.out, st.data...)
	}
	switch st.verb {
	case clientSendsFIN:
		p.finish, s.atOnce = true, true
	case endpointSendsFIN:
		p.finish = true
	case clientHolds, endpointHolds:
		p.holds, p.held = !p.holds, true
	}
}

// finish takes the part of a step that comes when all has settled.
func (s *stage) finish(st step) {
	p := s.client
	if !st.verb.client() {
		if len(s.conns) == 0 {
			return
		}
		p = s.conns[s.last]
	}
	switch st.verb {
	case clientFIN, endpointFIN:
		p.finish = true
	case clientResets, endpointResets:
		p.reset()
	}
	s.left = s.left || s.client.finish || s.client.fd < 0
}

// endpointEnds ends the endpoint's side of all connections, and reports whether there was one.
func (s *stage) endpointEnds() (any bool) {
	for _, c := range s.conns {
		if !c.finish && c.fd >= 0 {
			c.finish, any = true, true
		}
	}
	return any
}

// read has every peer read: what a reset would discard has to have been taken. A peer that resets
// need not.
func (s *stage) read(before step) {
	if before.verb != clientResets {
		s.client.holds = false
	}
	for i, c := range s.conns {
		if before.verb != endpointResets || i != s.last {
			c.holds = false
		}
	}
}

// A result is what a play looked like. differs is empty if both sides looked the same.
type result struct {
	stages  [2]*stage
	differs string
	at      int       // the step after which they differed, from 1
	ended   bool      // early, for want of patience
	waits   time.Time // since when it is waited that the client is noticed to have left
}

// play plays a script, the same for both unless a test wants otherwise. It ends early where
// the two differ.
func (r *rig) play(scripts [2]script, how pace) (res result, err error) {
	for i, s := range r.sides {
		st := &stage{side: s}
		if st.client, err = connect(s.front); err != nil {
			break
		}
		res.stages[i] = st
	}
	defer func() {
		if e := r.clear(&res); err == nil {
			err = e
		}
	}()
	if err != nil {
		return res, err
	}
	if how.orderly {
		scripts = [2]script{scripts[0].orderly(), scripts[1].orderly()}
	}
	c := scripts[0].compared()
	steps := max(len(scripts[0]), len(scripts[1]))
	for i := range steps {
		res.at = i + 1
		if err := r.step(&res, scripts, i, how); err != nil {
			return res, err
		}
		if scripts[0].follows(i) {
			continue
		}
		if goOn, err := r.await(c, &res, how); !goOn {
			return res, err
		}
	}
	res.at = steps + 1
	return res, r.end(c, &res, how)
}

// follows reports whether the step after i is to follow at once.
func (s script) follows(i int) bool {
	return i+1 < len(s) && s[i].verb.goesOn() && s[i+1].verb.client() == s[i].verb.client()
}

func (r *rig) step(res *result, scripts [2]script, i int, how pace) error {
	late := false // something of the step waits until all has settled
	for k, s := range res.stages {
		if i >= len(scripts[k]) {
			continue
		}
		st := scripts[k][i]
		switch st.verb {
		case clientFIN, clientResets, endpointFIN, endpointResets:
			late = true
			s.read(st)
		}
		s.take(st)
		s.pump(r.room)
	}
	if !late {
		for _, s := range res.stages {
			s.left = s.left || s.client.finish
		}
		if scripts[0].follows(i) {
			return nil
		}
		return r.settle(res, how)
	}
	if err := r.settle(res, how); err != nil {
		return err
	}
	for k, s := range res.stages {
		if i < len(scripts[k]) {
			s.finish(scripts[k][i])
		}
	}
	return r.settle(res, how)
}

// end ends what the script has left open: first the endpoint's side, then the client's. After
// that a proxy has no reason to keep the client's connection.
func (r *rig) end(c comparison, res *result, how pace) error {
	for _, s := range res.stages {
		s.read(step{})
	}
	if err := r.settle(res, how); err != nil {
		return err
	}
	for again := true; again; { // a pipelined request may come on a connection of its own each
		again = false
		for _, s := range res.stages {
			again = s.endpointEnds() || again
		}
		if err := r.settle(res, how); err != nil {
			return err
		}
		if goOn, err := r.await(c, res, how); !goOn {
			return err
		}
	}
	for _, s := range res.stages {
		s.left, s.client.finish = true, true
	}
	if err := r.settle(res, how); err != nil {
		return err
	}
	c.ended = true
	_, err := r.await(c, res, how)
	return err
}

// await waits until both sides look the same, or for as long as one may lag behind. It
// reports whether the play can go on.
func (r *rig) await(c comparison, res *result, how pace) (goOn bool, err error) {
	patience := how.other
	if res.stages[0].left {
		patience = how.left
	}
	for began := time.Now(); ; {
		if res.differs = c.compare(res.stages); res.differs == "" {
			if res.noticed(how) {
				return true, nil
			}
			began = time.Now()
		}
		if how.impatient && res.stages[0].left && !c.ended {
			res.differs, res.ended = "", true
			return false, nil
		}
		if time.Since(began) > patience {
			return false, nil
		}
		time.Sleep(time.Millisecond)
		if err := r.settle(res, how); err != nil {
			return false, err
		}
	}
}

// noticeMost is how long it may take until a goroutine has noticed that its client has left.
const noticeMost = 300 * time.Millisecond

// noticed reports whether nothing is to come of it any more that the client has left. That
// both engines have not noticed it may well be how they look the same.
func (res *result) noticed(how pace) bool {
	s := res.stages[0]
	if !s.left || s.client.end != open || how.impatient {
		return true
	}
	if res.waits.IsZero() {
		res.waits = time.Now()
	}
	return time.Since(res.waits) > noticeMost
}

var errRestless = errors.New("the process does not come to rest")

// settle returns when nothing moves any more.
func (r *rig) settle(res *result, how pace) error {
	began := time.Now()
	moved := began
	for calm := 0; calm < 2 || how.quiet > 0 && time.Since(moved) < how.quiet; {
		if how.quiet > 0 {
			time.Sleep(time.Millisecond)
		}
		if !r.calm.now() {
			calm = 0
			yield()
		} else {
			calm++
		}
		for _, s := range res.stages {
			if s != nil && s.pump(r.room) {
				calm, moved = 0, time.Now()
			}
		}
		if calm == 0 && time.Since(began) > settleMax {
			return errRestless
		}
	}
	return nil
}

var errKept = errors.New("a proxy keeps the connection of a client that has reset it")

// clear leaves nothing behind: what comes next finds no connection that it could use, and
// none is opened any more for what was before. That nothing moves does not say so, since the
// kernel delivers a reset later where the machine is busy: then a request that was waiting is
// sent again on a new connection. The proxies themselves say when they are through.
func (r *rig) clear(res *result) error {
	for _, s := range res.stages {
		if s == nil {
			continue
		}
		s.pump(r.room)
		s.client.reset()
		for _, c := range s.conns {
			c.reset()
		}
	}
	for began := time.Now(); ; {
		r.settle(&result{}, fast)
		busy := false
		for _, s := range r.sides {
			busy = s.busy() || busy // asked first: what was opened before is in the queue
			for c := s.endpoint.accept(); c != nil; c = s.endpoint.accept() {
				c.reset()
				busy = true
			}
		}
		if !busy {
			return nil
		}
		if time.Since(began) > settleMax {
			return errKept
		}
	}
}
