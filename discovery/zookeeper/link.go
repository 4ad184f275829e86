package zookeeper

import (
	"context"
	"errors"
	"net"
	"path"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/poise-lb/poise/discovery/internal/client"
)

var (
	errClosed  = errors.New("the connection was closed")
	errLost    = errors.New("the connection was lost")
	errExpired = errors.New("the session has expired")
	errRefused = errors.New("the servers refuse the session")
)

// A link is one session over one connection: when that is lost, so is the link, and
// its users read everything again by another. (The client library would keep the
// session. But it is then refused for ever by servers that lost their data, because it
// has seen more than they have.) It is safe for concurrent use.
type link struct {
	conn     *zk.Conn
	ended    <-chan zk.Event // closed when the library's goroutines have ended
	dialling context.Context // ends by cancel
	cancel   context.CancelFunc
	ready    chan struct{} // closed when there is a session
	dead     chan struct{} // closed when it is lost

	mu     sync.Mutex
	err    error // why it is dead
	isUp   bool
	socket net.Conn
	boxes  map[string][]*mailbox // by the path that they watch
	strays int                   // watches that have no reader any more
	users  int                   // guarded by the pool's mutex
}

// straysMax is how many forgotten watches a link may carry: the protocol's way to take
// one back is not in the library.
const straysMax = 10_000

// open connects to a server and waits for a session.
func open(ctx context.Context, server, user, password string) (*link, error) {
	l, err := connect(server)
	if err != nil {
		return nil, err
	}
	t := time.NewTimer(openTimeout)
	defer t.Stop()
	select {
	case <-l.ready:
		_, err := call(ctx, l, openTimeout, func() (struct{}, error) { return struct{}{}, l.greet(user, password) })
		if err == nil {
			return l, nil
		}
		l.fail(err)
	case <-l.dead:
	case <-t.C:
		l.fail(client.ErrSilent)
	case <-ctx.Done():
		l.fail(ctx.Err())
	}
	err = l.err
	l.close()
	return nil, err
}

// greet makes the first request of a session, which sets no watch: the library, once it has said
// that there is a session, sends the watches that it knows once more, as those of the session
// before. It has nearly always done so when this answer is here; if not, every watch fires at
// once, and what it watches is read again.
func (l *link) greet(user, password string) error {
	if user != "" {
		return l.conn.AddAuth("digest", []byte(user+":"+password))
	}
	_, _, err := l.conn.Exists("/")
	return err
}

// connect begins a link, which lives as long as its first connection.
func connect(server string) (*link, error) {
	l := &link{ready: make(chan struct{}), dead: make(chan struct{}), boxes: make(map[string][]*mailbox)}
	dialled := false
	dial := func(network, address string, _ time.Duration) (net.Conn, error) {
		if dialled { // the library has lost the connection
			l.fail(errLost)
			return nil, errLost
		}
		dialled = true
		conn, err := l.dial(network, address, readMax, true)
		if err != nil {
			l.fail(err)
		}
		return conn, err
	}
	return l, l.start([]string{server}, sessionTime, dial, l.event)
}

// start starts the client library, which connects by dial and says by event what becomes of it.
func (l *link) start(servers []string, session time.Duration, dial zk.Dialer, event zk.EventCallback) (err error) {
	l.dialling, l.cancel = context.WithCancel(context.Background())
	l.conn, l.ended, err = zk.Connect(servers, session, zk.WithDialer(dial), zk.WithHostProvider(&hosts{servers: servers}),
		zk.WithLogger(silence{}), zk.WithLogInfo(false), zk.WithEventCallback(event),
		zk.WithMaxBufferSize(frameMax), zk.WithMaxConnBufferSize(sendMax))
	if err != nil {
		l.cancel()
	}
	return err
}

// dial connects. No read of the connection waits longer than most; once says that the session ends
// with the connection. What was connected before is closed: the library leaves the connection of a
// session that has expired open.
func (l *link) dial(network, address string, most time.Duration, once bool) (net.Conn, error) {
	l.hangUp()
	d := net.Dialer{Timeout: openTimeout}
	conn, err := d.DialContext(l.dialling, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.socket = conn
	if l.dialling.Err() != nil { // close has not seen it
		conn.Close()
	}
	return &frames{Conn: conn, once: once, most: most}, nil
}

// hangUp closes the connection, if there is one.
func (l *link) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.socket != nil {
		l.socket.Close()
	}
}

// sendMax is the largest request. The library allocates it for every connection.
const sendMax = 256 << 10

// event is called by the library's goroutine and may not block.
func (l *link) event(e zk.Event) {
	if e.Type == zk.EventSession {
		switch e.State {
		case zk.StateHasSession:
			l.mu.Lock()
			defer l.mu.Unlock()
			if !l.isUp {
				l.isUp = true
				close(l.ready)
			}
		case zk.StateExpired:
			l.fail(errExpired)
		case zk.StateAuthFailed:
			l.fail(zk.ErrAuthFailed)
		case zk.StateDisconnected:
			l.fail(errLost)
		}
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.boxes[e.Path] {
		b.put("")
	}
	for _, b := range l.boxes[path.Dir(e.Path)] {
		b.put(path.Base(e.Path))
	}
}

// fail ends the link, if nothing has yet.
func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		close(l.dead)
	}
}

// why is the reason of its end, nil while it lives.
func (l *link) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// close ends the session, in peace if the link is alive, and waits for the library's
// goroutines. Of a dead link, one of them may take a second more.
func (l *link) close() {
	quit := make(chan struct{})
	go func() {
		defer close(quit)
		l.conn.Close() // waits for the answer, for at most a second
	}()
	if l.why() == nil {
		<-quit
		l.fail(errClosed)
	}
	l.cancel()
	l.hangUp()
	for range l.ended {
	}
}

// call runs f, which asks the server, and does not wait for it longer than until the
// link is dead, ctx is done or the time is over, which kills the link.
func call[T any](ctx context.Context, l *link, timeout time.Duration, f func() (T, error)) (T, error) {
	t := time.NewTimer(timeout)
	defer t.Stop()
	v, err := answer(ctx, l, t.C, f)
	if disconnected(err) {
		l.fail(errLost)
		err = l.why()
	}
	return v, err
}

// answer is call with the errors of the library as they are. A nil channel is never over.
func answer[T any](ctx context.Context, l *link, over <-chan time.Time, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	got := make(chan result, 1)
	go func() { // the library has no contexts; it answers all questions of a dead link
		v, err := f()
		got <- result{v, err}
	}()
	var none T
	select {
	case r := <-got:
		return r.value, r.err
	case <-l.dead:
		return none, l.why()
	case <-ctx.Done():
		return none, ctx.Err()
	case <-over:
		l.fail(client.ErrSilent)
		return none, client.ErrSilent
	}
}

// disconnected reports whether err is what the library answers without a connection.
func disconnected(err error) bool {
	return errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrClosing) || errors.Is(err, zk.ErrNoServer)
}

// A mailbox gathers what has changed below a path. The zero name is the list itself.
type mailbox struct {
	news chan struct{} // has room for one

	mu    sync.Mutex
	dirty map[string]bool
}

func (l *link) subscribe(path string) *mailbox {
	b := &mailbox{news: make(chan struct{}, 1), dirty: make(map[string]bool)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.boxes[path] = append(l.boxes[path], b)
	return b
}

// unsubscribe gives a mailbox back, with so many watches that may never fire.
func (l *link) unsubscribe(path string, b *mailbox, watches int) {
	l.mu.Lock()
	var rest []*mailbox
	for _, other := range l.boxes[path] {
		if other != b {
			rest = append(rest, other)
		}
	}
	l.boxes[path] = rest
	if len(rest) == 0 {
		delete(l.boxes, path)
	}
	l.strays += watches
	full := l.strays > straysMax
	l.mu.Unlock()
	if full {
		l.fail(client.Again)
	}
}

func (b *mailbox) put(name string) {
	b.mu.Lock()
	b.dirty[name] = true
	b.mu.Unlock()
	client.Signal(b.news)
}

// take empties the mailbox.
func (b *mailbox) take() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.dirty
	b.dirty = make(map[string]bool)
	return out
}

// silence is the logger of the library, which would write to the standard error.
type silence struct{}

func (silence) Printf(string, ...any) {}

// hosts tells the library which server is next. It leaves names to the dialler, which
// resolves them every time.
type hosts struct {
	servers []string
	at      int
	tries   int // without success
}

func (h *hosts) Init([]string) error { return nil }
func (h *hosts) Len() int            { return len(h.servers) }
func (h *hosts) Connected()          { h.tries = 0 }

func (h *hosts) Next() (server string, again bool) {
	again = h.tries >= len(h.servers) // the library waits for a second then
	server = h.servers[h.at%len(h.servers)]
	h.at++
	h.tries++
	return server, again
}
