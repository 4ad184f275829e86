package mux

// A connection as a whole: what it is opened with, the first frames, and its end.
//
//	opening    SETTINGS and WINDOW_UPDATE are gathered (a client's preface before them)
//	settled    the peer's first SETTINGS have come
//	draining   no further streams: GOAWAY was sent or has come, or identifiers are used up
//	over       err is set: every stream has failed, nothing is sent any more

import (
	"errors"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/limits"
)

// What streams and connections fail with, beside the errors of engine and *http2.Error.
var (
	// ErrReset says that the peer has ended a stream with RST_STREAM.
	ErrReset = errors.New("h2: the peer has reset the stream")
	// ErrRefused says that the peer has certainly not processed a request: it says so with
	// REFUSED_STREAM, or with a GOAWAY that leaves the stream out.
	ErrRefused = errors.New("h2: the peer has not processed the request")
	// ErrEnough says that the peer takes no more content: it has answered (RFC 9113 §8.1), or has
	// closed the connection, in which case what it has said before is read all the same.
	ErrEnough = errors.New("h2: the peer wants no more of the content")
	// ErrFull says that a connection takes no further stream.
	ErrFull = errors.New("h2: the connection takes no further stream")
)

// Options are what a Conn is opened with.
type Options struct {
	Runtime engine.Runtime
	Stream  engine.Stream
	Spares  *Spares // not nil; shared by all connections of a side
	Server  bool    // the peer is a client, which opens the streams
	Early   []byte  // has been read from Stream already, less than a buffer; it is copied

	// Limits bound the heads of the peer; nil: limits.Default.
	Limits *limits.Head
	// Streams is how many the peer may have open at once; of a client: how many are opened there
	// at most, if the peer allows it; 0: StreamsDefault.
	Streams int
	// Connect: extended CONNECT is offered to the peer (RFC 8441). For a server.
	Connect bool

	Timeouts Timeouts
}

// Timeouts bound the waits of a connection; zero: none.
type Timeouts struct {
	Head  time.Duration // from the first byte of a preface or a frame that begins a head to its last
	Idle  time.Duration // without a stream
	Stall time.Duration // the peer's socket takes nothing
	// Leave is the instant at which Leave is called for a connection that has not been left; 0: it
	// is not. It counts from the next wait on. For a server.
	Leave time.Duration
	// Silence is how long nothing may come while streams are open until the peer is asked by
	// PING whether it is there. For a client.
	Silence time.Duration
}

// StreamsDefault is how many requests a client may have open at once on one connection.
const StreamsDefault = 100

// A Conn is one connection. New opens it. Tasks of one worker use it.
type Conn struct {
	rt       engine.Runtime
	stream   engine.Stream
	lock     engine.Lock
	spares   *Spares
	worker   *spares
	server   bool
	timeouts Timeouts

	// Of the task that reads.
	in        *[]byte // nil: nothing is buffered
	r, w      int     // unread: (*in)[r:w]
	decoder   http2.Decoder
	block     []byte // the fragments of a head that has not come whole
	blockOf   http2.Frame
	fragments int           // of block; 0: no head is open
	skip      []byte        // room for heads that are not used
	headBy    time.Duration // instant by which what has begun with a head must be there; 0: nothing has
	readBy    time.Duration // deadline of the read under way; 0: none
	waits     wait          // what it waits for
	late      bool          // that was over, but bytes were here: the next read finds them
	preface   bool          // has come, or is not to come

	streams opened // by identifier: those that a task uses
	opened  int    // streams in use by tasks; a client: those that have no identifier yet, too
	most    int    // how many the peer may have open; a client: we, at most
	offered int    // of a server: how many the last SETTINGS allow, which hold once they are acknowledged
	unacked int    // our SETTINGS that the peer has not acknowledged
	last    uint32 // the highest identifier so far: of the peer's streams, or of ours
	resets  resets // that we have reset lately
	peer    http2.Settings
	settled bool
	pinged  int           // PINGs in the present silence that were not answered
	mute    bool          // one was answered, and no head or content has come since
	guard   guard         // what the peer may still cost
	budget  int           // left for windows of streams
	taken   int           // content received since the connection's window was opened again
	since   time.Duration // instant since which no stream is open

	writing
	away    bool     // GOAWAY was sent, or has come: no further streams
	said    bool     // by GOAWAY, which stream of the peer is the last
	leaving bool     // the last GOAWAY waits for the answer to a PING
	early   []uint32 // streams that were answered before their request had ended
	asked   int      // of early: those of which a PING asks
	err     error    // why it is over; nil: it is not
}

// New opens a connection on o.Stream, which it uses until Close. Its first frames are
// gathered, and leave with what is said next, or at Flush.
func New(o *Options) *Conn {
	c := &Conn{
		rt: o.Runtime, stream: o.Stream, lock: o.Runtime.NewLock(), spares: o.Spares, server: o.Server,
		worker: o.Spares.of(o.Runtime), timeouts: o.Timeouts, most: o.Streams, preface: !o.Server,
		peer: http2.DefaultSettings(), budget: budgetBytes,
	}
	if c.most == 0 {
		c.most = StreamsDefault
	}
	c.offered = c.most
	c.decoder.Limits, c.decoder.Connect = o.Limits, o.Connect
	c.encoder.Indexing = o.Server
	c.window = http2.WindowDefault
	c.guard.begin(c.rt.Now())
	c.since = c.rt.Now()
	c.flushTask, c.flushed = c.flush, c.rt.NewWakeup()
	if s, ok := o.Stream.(lowWaterer); ok && o.Server {
		s.LowWater(lowWater)
	}
	c.lock.Lock()
	c.introduce(o)
	c.lock.Unlock()
	if len(o.Early) > 0 {
		c.in = c.worker.ins.take()
		c.w = copy(*c.in, o.Early)
	}
	return c
}

// introduce gathers the first frames.
func (c *Conn) introduce(o *Options) {
	c.unacked = 1
	c.room(frameRoom)
	head := http2.Setting{ID: http2.SettingHeadSize, Value: uint32(c.limits().Bytes)}
	window := http2.Setting{ID: http2.SettingWindow, Value: uint32(c.firstWindow())}
	switch {
	case !o.Server:
		c.out = append(c.out, http2.Preface...)
		c.out = http2.AppendSettings(c.out, http2.Setting{ID: http2.SettingPush}, window, head)
	case o.Connect:
		c.out = http2.AppendSettings(c.out, http2.Setting{ID: http2.SettingMaxStreams, Value: uint32(c.most)}, window, head,
			http2.Setting{ID: http2.SettingConnect, Value: 1})
	default:
		c.out = http2.AppendSettings(c.out, http2.Setting{ID: http2.SettingMaxStreams, Value: uint32(c.most)}, window, head)
	}
	c.out = http2.AppendWindowUpdate(c.out, 0, windowConn-http2.WindowDefault)
}

func (c *Conn) limits() *limits.Head {
	if c.decoder.Limits == nil {
		c.decoder.Limits = &defaultLimits
	}
	return c.decoder.Limits
}

// offer tells a client by SETTINGS what holds from now on. More streams than before are taken at
// once, fewer when the client has acknowledged that: until then it may not know. The lock is held.
func (c *Conn) offer(streams int) {
	c.offered, c.most = streams, max(c.most, streams)
	c.unacked++
	c.room(frameRoom)
	c.out = http2.AppendSettings(c.out, http2.Setting{ID: http2.SettingMaxStreams, Value: uint32(streams)},
		http2.Setting{ID: http2.SettingHeadSize, Value: uint32(c.limits().Bytes)})
	c.dirty()
}

// acknowledged is called when the peer has taken SETTINGS of ours. The lock is held.
func (c *Conn) acknowledged() {
	if c.unacked--; c.unacked == 0 {
		c.most = c.offered
	}
}

var defaultLimits = limits.Default() // read only

// Configure has heads that have not begun held to other limits, a client to other numbers of
// streams (0: StreamsDefault), and waits to other timeouts. The task that reads calls it.
func (c *Conn) Configure(l *limits.Head, streams int, t Timeouts) {
	if streams == 0 {
		streams = StreamsDefault
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	head := c.limits().Bytes
	c.decoder.Limits, c.timeouts = l, t
	if c.server && c.err == nil && (streams != c.offered || c.limits().Bytes != head) {
		c.offer(streams)
	}
}

// Err is why the connection is over; nil: it is not.
func (c *Conn) Err() error {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.err
}

// Draining reports whether the connection takes no further stream.
func (c *Conn) Draining() bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.away || c.err != nil
}

// Interrupt has every wait of the connection and its streams fail with err, for good. It may be
// called by any task of the worker.
func (c *Conn) Interrupt(err error) { c.stream.Interrupt(err) }
