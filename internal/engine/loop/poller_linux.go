package loop

import (
	"iter"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Events are asked for once and reported when they come (EPOLLET). EPOLLRDHUP is the
// peer's FIN, also behind bytes nobody has read; EPOLLPRI is urgent data, in front of
// which a read ends early.
const (
	eventsIn     = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET
	eventsInOut  = eventsIn | unix.EPOLLOUT
	eventsBell   = unix.EPOLLIN | unix.EPOLLET
	eventsAccept = unix.EPOLLIN | unix.EPOLLEXCLUSIVE
)

// batch is how many events are fetched at once.
const batch = 512

// A poller is an epoll instance and the events fetched last.
type poller struct {
	epoll  int
	bell   int // an eventfd whose events interrupt a wait
	events [batch]unix.EpollEvent
	n      int
	fault  func(op, fd int) error // of tests: the error of epoll_ctl; nil: none
}

func (p *poller) open() (err error) {
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if p.bell, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		closeFD(p.epoll)
	}
	return err
}

func (p *poller) close() {
	closeFD(p.epoll)
	closeFD(p.bell)
}

// add asks for the events of fd; they carry place and serial.
func (p *poller) add(fd int, events uint32, place, serial uint32) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, events, place, serial)
}

func (p *poller) change(fd int, events uint32, place, serial uint32) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, events, place, serial)
}

func (p *poller) control(op, fd int, events uint32, place, serial uint32) error {
	if p.fault != nil {
		if err := p.fault(op, fd); err != nil {
			return err
		}
	}
	return unix.EpollCtl(p.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(place), Pad: int32(serial)})
}

func (p *poller) remove(fd int) {
	unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil)
}

// poll fetches events that are there, and reports whether there are any. It cannot wait, so
// the scheduler need not know.
func (p *poller) poll() bool {
	// The kernel writes to the array, which is part of a loop and does not move.
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.events[0])), batch, 0, 0, 0)
	p.n = int(n)
	if e != 0 {
		p.n = 0
	}
	return p.n > 0
}

// napMax is how long a nap lasts at most. A shorter limit would come before the kernel's
// next tick, and have it set the clock's alarm for every nap.
const napMax = 10 * time.Millisecond

// nap waits for events, for that long at most, and keeps the processor.
func (p *poller) nap(most time.Duration) {
	ms := (min(most, napMax) + time.Millisecond - 1) / time.Millisecond // rather too long than in vain
	n, err := unix.EpollWait(p.epoll, p.events[:], int(ms))
	p.n = n
	if err != nil { // EINTR
		p.n = 0
	}
}

// happened is the number of events fetched.
func (p *poller) happened() int { return p.n }

// A source is what events come from. event is called on the loop, by no task.
type source interface{ event(events uint32) }

// slots find the source of an event. An event names a slot and the serial number of who
// had it then: what is left of a closed descriptor's is recognised and dropped. They come in
// pages, so that nothing is copied when there are more of them.
type slots struct {
	pages []*[page]slot
	used  uint32 // slots that were taken once
	free  []uint32
}

// page is a power of two.
const page = 256

type slot struct {
	source source // nil: free
	serial uint32
}

func (s *slots) at(place uint32) *slot { return &s.pages[place/page][place%page] }

func (s *slots) take(from source) (place, serial uint32) {
	if n := len(s.free); n > 0 {
		place = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		if place = s.used; place/page == uint32(len(s.pages)) {
			s.pages = append(s.pages, new([page]slot))
		}
		s.used++
	}
	x := s.at(place)
	x.source = from
	return place, x.serial
}

func (s *slots) give(place uint32) {
	x := s.at(place)
	x.source = nil
	x.serial++
	s.free = append(s.free, place)
}

func (s *slots) dispatch(place, serial, events uint32) {
	if x := s.at(place); x.serial == serial && x.source != nil {
		x.source.event(events)
	}
}

// sources are those of all slots that are taken.
func (s *slots) sources() iter.Seq[source] {
	return func(yield func(source) bool) {
		for place := range s.used {
			if x := s.at(place).source; x != nil && !yield(x) {
				return
			}
		}
	}
}

// taken is how many slots are.
func (s *slots) taken() int { return int(s.used) - len(s.free) }

// A queue holds tasks in the order in which they are to run.
type queue struct {
	tasks []*task
	head  int
}

func (q *queue) len() int { return len(q.tasks) - q.head }

func (q *queue) push(t *task) { q.tasks = append(q.tasks, t) }

// begin returns how many tasks are to run before events are looked at again.
func (q *queue) begin() int {
	if q.head > 0 {
		n := copy(q.tasks, q.tasks[q.head:])
		clear(q.tasks[n:])
		q.tasks, q.head = q.tasks[:n], 0
	}
	return len(q.tasks)
}

func (q *queue) pop() *task {
	t := q.tasks[q.head]
	q.tasks[q.head] = nil
	q.head++
	return t
}
