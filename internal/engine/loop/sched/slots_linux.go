package sched

import "iter"

// An event names a slot and how often that slot had been used before. A descriptor that was
// closed may have events left in the batch, and its slot may have a new source by then: the
// number differs, and the event is dropped.
//
//	socket A takes slot 3, serial 0
//	one batch: an event of (3, 0), another event of (3, 0)
//	the task of A closes it: slot 3 is free, serial 1
//	socket B takes slot 3, serial 1
//	the second event of (3, 0) is dropped

// A Source is what events come from. Its methods are called on the loop, by no task.
type Source interface {
	// Event notes what happened, in the words of epoll, and wakes tasks.
	Event(events uint32)
	// Stop makes what waits for the source fail: the group is being closed.
	Stop()
	// End gives back what the source holds. The tasks have ended; it may have been closed.
	End()
}

// A Slot is the place of a source in its loop.
type Slot struct{ place, serial uint32 }

// slots find the source of an event. They come in pages, so that nothing is copied when
// there are more of them.
type slots struct {
	pages []*[page]slot
	used  uint32 // slots that were taken once
	free  []uint32
}

// page is a power of two.
const page = 256

type slot struct {
	source Source // nil: free
	serial uint32
}

func (s *slots) at(place uint32) *slot { return &s.pages[place/page][place%page] }

func (s *slots) take(from Source) Slot {
	var place uint32
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
	return Slot{place, x.serial}
}

func (s *slots) give(back Slot) {
	x := s.at(back.place)
	x.source = nil
	x.serial++
	s.free = append(s.free, back.place)
}

func (s *slots) dispatch(to Slot, events uint32) {
	if x := s.at(to.place); x.serial == to.serial && x.source != nil {
		x.source.Event(events)
	}
}

// sources are those of all slots that are taken.
func (s *slots) sources() iter.Seq[Source] {
	return func(yield func(Source) bool) {
		for place := range s.used {
			if x := s.at(place).source; x != nil && !yield(x) {
				return
			}
		}
	}
}

// taken is how many slots are.
func (s *slots) taken() int { return int(s.used) - len(s.free) }
