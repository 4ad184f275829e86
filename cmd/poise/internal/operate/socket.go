package operate

// One address with its server, whose handler may be replaced while it serves.

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
	"github.com/poise-lb/poise/config"
)

// graceFor is how long a request under way may take to end when its socket is closed.
const graceFor = time.Second

// A socket is one address that is listened on.
type socket struct {
	address string // as the configuration has it
	tls     *config.TLS
	plain   net.Listener // what is below TLS
	net     net.Listener // what is served
	path    string       // of a unix socket, which is removed at the end
	server  *http.Server
	now     atomic.Pointer[answering] // nil: nothing is served yet
	ended   chan struct{}             // closed when nothing is under way after close
}

// An answering is a handler for as long as it is the one in use. What lasts for ever, as a stream
// of the page, ends with it: who may read it was decided by a configuration that is gone.
type answering struct {
	handler http.Handler
	context.Context
	over context.CancelFunc
}

// open listens on an address, unless given does. The socket that is open at the same address is
// shared: was and the new one accept from one queue until was is closed.
func open(address string, was *socket, given net.Listener) (_ *socket, err error) {
	k := &socket{address: address, plain: given, ended: make(chan struct{})}
	path, isUnix := strings.CutPrefix(address, "unix:")
	switch {
	case given != nil:
	case was != nil:
		k.plain, err = sockets.Share(was.plain)
	case isUnix:
		k.plain, err = sockets.ListenUnix(path, sockets.UnixMode)
	default:
		k.plain, err = net.Listen("tcp", address)
	}
	if err != nil {
		return nil, err
	}
	if k.net = k.plain; isUnix {
		k.path = path
	}
	return k, nil
}

// secure puts TLS on top; t nil: there is none.
func (k *socket) secure(p *poise.Proxy, t *config.TLS) error {
	if t == nil {
		return nil
	}
	secure, err := p.TLSListener(k.plain, *t)
	if err != nil {
		return err
	}
	k.net, k.tls = secure, t
	return nil
}

// newHTTP is the server of a socket.
func (s *Server) newHTTP(k *socket) *http.Server {
	return &http.Server{
		Handler: k, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// answer makes h the handler, and reports whether it is the first one: then the socket is to be
// served. A unix socket's path is this one's from then on.
func (k *socket) answer(h http.Handler) (first bool) {
	ctx, cancel := context.WithCancel(context.Background())
	if was := k.now.Swap(&answering{h, ctx, cancel}); was != nil {
		was.over()
		return false
	}
	sockets.Own(k.plain)
	return true
}

// ServeHTTP has the handler in use answer.
func (k *socket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := k.now.Load()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(now, cancel)()
	now.handler.ServeHTTP(w, r.WithContext(ctx))
}

// serve accepts until the socket is closed.
func (s *Server) serve(k *socket) {
	if err := k.server.Serve(k.net); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		s.log.Error("the operator's listener ended", "address", k.plain.Addr().String(), "error", err)
	}
}

// close accepts no more, now, and ends what is under way within graceFor, on a goroutine that
// closes ended. It is called once.
func (k *socket) close() {
	k.plain.Close()
	if now := k.now.Load(); now != nil {
		now.over()
	}
	go func() {
		defer close(k.ended)
		k.net.Close() // it waits for the watch of its certificates
		ctx, cancel := context.WithTimeout(context.Background(), graceFor)
		defer cancel()
		k.server.Shutdown(ctx)
		k.server.Close()
	}()
}

// url is where clients find it.
func (k *socket) url() string {
	scheme := "http://"
	switch {
	case k.path != "":
		return "unix:" + k.path
	case k.tls != nil:
		scheme = "https://"
	}
	return scheme + k.plain.Addr().String()
}
