package loop

import (
	"sync/atomic"

	"github.com/poise-lb/poise/internal/buffer"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/loop/sched"
	"golang.org/x/sys/unix"
)

// Which events are asked for. They are reported once, when they come (EPOLLET). EPOLLRDHUP
// is the peer's FIN, also behind bytes that were not read yet; EPOLLPRI is urgent data, in
// front of which a read ends early.
const (
	eventsIn     = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET
	eventsInOut  = eventsIn | unix.EPOLLOUT
	eventsAccept = unix.EPOLLIN | unix.EPOLLEXCLUSIVE
)

// A loop is a scheduler with sockets: the Runtime of the tasks that it runs. Its fields
// belong to the loop but those that say so.
type loop struct {
	sched.Loop
	engine *Engine

	clients atomic.Int32 // connections of clients, and those on their way here. From any goroutine

	arrivals []*arrival          // to be used again
	crowded  []*listener         // that wait for a client to leave
	name     unix.RawSockaddrAny // that ownAddr got last
	nameSize uint32
	pipes    pipes
	buffers  buffers
	spares   buffer.Spares // of connections served here
}

var (
	_ sched.Source  = (*stream)(nil)
	_ sched.Source  = (*listener)(nil)
	_ engine.Stream = (*stream)(nil)
	_ engine.Rester = (*stream)(nil)

	_ buffer.Sparer = (*loop)(nil)
)

// Spares implements buffer.Sparer.
func (l *loop) Spares() *buffer.Spares { return &l.spares }
