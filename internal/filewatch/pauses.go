package filewatch

// An access log in the folder of the configuration makes an event with every write. The system
// offers the events of a whole folder or none, but it merges an event with the one before it, if
// that has not been read and is the same. So after an event of a neighbour events
// are left unread for a while:
//
//	listen 2 ms   neighbours' events are read as they come, and what had queued up
//	pause 50 ms   at the next one: none is read, and this goroutine sleeps
//
// That bounds what a neighbour costs to a twentieth, and delays other events by 50 ms.

import (
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	pauseFor  = 50 * time.Millisecond
	listenFor = 2 * time.Millisecond
)

// pauses says when events are read. The zero value reads them; call stop in the end.
type pauses struct {
	timer *time.Timer // nil: there was no pause yet
	until time.Time   // neighbours' events are read until then, without a pause
	quiet bool        // a pause is under way
}

// neighbour is called with every event of another file.
func (p *pauses) neighbour() {
	if time.Now().Before(p.until) {
		return
	}
	p.quiet = true
	if p.timer == nil {
		p.timer = time.NewTimer(pauseFor)
		return
	}
	p.timer.Reset(pauseFor)
}

// over fires at the end of a pause.
func (p *pauses) over() <-chan time.Time {
	if !p.quiet {
		return nil
	}
	return p.timer.C
}

// listen ends a pause.
func (p *pauses) listen() {
	p.quiet, p.until = false, time.Now().Add(listenFor)
}

// unless is events, or nil in a pause.
func (p *pauses) unless(events <-chan fsnotify.Event) <-chan fsnotify.Event {
	if p.quiet {
		return nil
	}
	return events
}

func (p *pauses) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}
