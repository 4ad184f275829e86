package loop

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/invariants"
	"golang.org/x/sys/unix"
)

// burst is how often in a row a task may read and write before others have their turn.
const burst = 32

// A loop runs tasks, one at a time, on the goroutine main. All fields belong to it but
// those that say so.
type loop struct {
	engine *Engine
	number int

	clock   atomic.Int64 // now; 0 while the kernel waits for events. Read from anywhere
	clients atomic.Int32 // connections of clients, and those on their way here. From anywhere
	mail    mailbox      // from anywhere

	now      time.Duration // when the present task was resumed
	yielded  time.Duration // when goroutines last had a chance
	poller   poller
	gate     gate
	slots    slots
	timers   timers
	ready    queue // tasks for this turn; those woken meanwhile are for the next
	woken    queue // tasks woken by events of tasks: for this turn still
	current  *task
	running  atomic.Pointer[task] // current, for Engine.Watch; nil if nobody watches
	budget   int                  // of current
	alive    int                  // tasks that have not returned
	turns    uint32               // so far; it may come round
	spare    []*task              // coroutines without work
	leaving  []int                // descriptors to be closed before the next turn
	arrivals []*arrival           // to be used again
	held     []*listener          // that wait for a client to leave
	name     unix.RawSockaddrAny  // that ownAddr was told last
	nameSize uint32
	pipes    pipes
	buffers  buffers
	shakes   int     // handshakes worked on since events were looked at
	shaking  []*task // that wait for others to be worked on

	stopping bool
	over     bool
}

var _ engine.Runtime = (*loop)(nil)

func newLoop(e *Engine, number int) (*loop, error) {
	l := &loop{engine: e, number: number}
	if err := l.poller.open(); err != nil {
		return nil, err
	}
	if err := l.gate.init(l.poller.epoll, l.poller.poll); err != nil {
		l.poller.close()
		return nil, err
	}
	// The first slot is the mailbox's: a letter is an event, and what it says is read
	// every turn anyway.
	l.mail.bell = l.poller.bell
	place, serial := l.slots.take(nothing{})
	if err := l.poller.add(l.poller.bell, eventsBell, place, serial); err != nil {
		l.close()
		return nil, err
	}
	l.tick()
	return l, nil
}

func (l *loop) close() {
	l.gate.close()
	l.poller.close()
}

// nothing is a source whose events need no attention.
type nothing struct{}

func (nothing) event(uint32) {}

// main is the loop. A Goexit of a task ends the goroutine that resumed it too: another
// one goes on, since all there is to know is in l.
func (l *loop) main() {
	defer func() {
		if l.over {
			l.engine.done.Done()
			return
		}
		l.current = nil
		l.running.Store(nil)
		go l.main()
	}()
	for !l.finished() {
		l.turn()
	}
	l.end()
	l.over = true
}

// turn waits for something to do and does it. It may be left in the middle, by a Goexit,
// and begun again. No task runs before all events of the
// batch are noted: what a task closes cannot have one to come.
func (l *loop) turn() {
	for _, fd := range l.leaving {
		closeFD(fd)
	}
	l.leaving = l.leaving[:0]
	l.admitMore()
	l.turns++
	l.wait()
	for i := range l.poller.happened() {
		e := &l.poller.events[i]
		l.slots.dispatch(uint32(e.Fd), uint32(e.Pad), e.Events)
	}
	l.poller.n = 0
	l.timers.expire(l.now)
	if l.mail.any.Load() {
		l.mail.deliver(l)
	}
	for range l.ready.begin() {
		l.resume(l.ready.pop())
	}
	for n := wokenMost; n > 0 && l.woken.len() > 0; n-- {
		l.resume(l.woken.pop())
	}
	l.woken.begin()
}

// wait fetches events, and waits for them if there is nothing else to do.
func (l *loop) wait() {
	l.poller.poll()
	l.tick()
	if l.poller.n > 0 || l.ready.len() > 0 || l.woken.len() > 0 || l.mail.any.Load() {
		return
	}
	at, timed := l.timers.first()
	if timed && at <= l.now {
		return
	}
	l.mail.asleep.Store(true)
	if !l.mail.any.Load() { // looked at after asleep is set: the writer sees the one or we the other
		l.sleep(at, timed)
	}
	l.mail.asleep.Store(false)
}

// tick reads the clock.
func (l *loop) tick() time.Duration {
	l.now = time.Since(l.engine.epoch)
	l.clock.Store(int64(l.now))
	return l.now
}

// resume lets t run until it waits.
func (l *loop) resume(t *task) {
	l.tick()
	l.budget = burst
	l.current = t
	t.queued = false
	if l.engine.watch != nil {
		l.running.Store(t)
		t.next()
		l.running.Store(nil)
	} else {
		t.next()
	}
	l.current = nil
	if l.now-l.yielded >= turnMax {
		l.yield()
	}
}

// wake lets t, which is parked, go on. Whoever is woken looks again at what it waits for.
func (l *loop) wake(t *task) {
	if t != nil && !t.queued {
		t.queued = true
		l.ready.push(t)
	}
}

// wakeSoon is wake for a task that runs in this turn, before events are looked at again.
func (l *loop) wakeSoon(t *task) {
	if !t.queued {
		t.queued = true
		l.woken.push(t)
	}
}

// caller is the calling task.
func (l *loop) caller() *task {
	t := l.current
	if t == nil {
		panic("loop: a call that waits from outside of a task")
	}
	return t
}

// park stops the calling task until it is woken.
func (l *loop) park() {
	t := l.caller()
	if invariants.Enabled && t.locks > 0 {
		panic("loop: a task waits while it holds a lock")
	}
	t.yield(struct{}{})
}

// pause lets others run.
func (l *loop) pause() {
	l.wake(l.current)
	l.park()
}

// spend lets others run if the calling task has done much already.
func (l *loop) spend() {
	if l.budget--; l.budget < 0 {
		l.pause()
	}
}

// stop makes everything that waits fail.
func (l *loop) stop() {
	if l.stopping {
		return
	}
	l.stopping = true
	for s := range l.slots.sources() {
		switch s := s.(type) {
		case *stream:
			s.Interrupt(engine.ErrStopping)
		case *listener:
			s.end()
		}
	}
	for _, t := range l.timers.heap {
		if t, ok := t.owner.(*task); ok && t.until != 0 {
			l.wake(t)
		}
	}
}

// finished reports whether the loop has stopped and nothing is left to run. From then on
// it takes no letters.
func (l *loop) finished() bool {
	return l.stopping && l.alive == 0 && l.ready.len() == 0 && l.woken.len() == 0 && l.mail.shut()
}

// end gives back what the loop holds, streams that nobody closed included.
func (l *loop) end() {
	for s := range l.slots.sources() {
		if s, ok := s.(*stream); ok {
			s.Close()
		}
	}
	for _, fd := range l.leaving {
		closeFD(fd)
	}
	for _, t := range l.spare {
		t.next() // without work it returns
	}
	l.spare, l.leaving = nil, nil
	l.pipes.closeAll()
	l.close()
	l.clock.Store(0)
}

// Now is when the calling task was resumed; for goroutines that are no tasks it may lag
// by as long as the loop runs one.
func (l *loop) Now() time.Duration {
	if now := l.clock.Load(); now != 0 {
		return time.Duration(now)
	}
	return time.Since(l.engine.epoch)
}

// Rand draws from the runtime's generator, which is per thread and needs no lock.
func (l *loop) Rand() uint64 { return rand.Uint64() }

// Worker is the loop's number among all workers.
func (l *loop) Worker() int { return l.engine.first + l.number }
