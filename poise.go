package poise

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/poise-lb/poise/internal/front"
)

// ErrClosed is what Serve, Apply and Ready return after Close.
var ErrClosed = front.ErrClosed

// ErrDraining is what Ready returns between Drain and the end of its delay.
var ErrDraining = front.ErrDraining

// A Proxy balances requests over the endpoints of services. All methods may be called
// from any goroutine. Close ends every goroutine it has started.
type Proxy struct{ server *front.Server }

// Engines are the words that Config.Engine may have on this system, the one that "auto"
// stands for first.
func Engines() []string { return front.Engines() }

// New checks the configuration and starts a Proxy; what Listen lists is not opened: that
// is the caller's, with Serve and ServeTLS, or by mounting the Proxy as a handler.
//
// If the configuration has mistakes the error names all of them and has a method
// Problems() []config.Problem. A source whose kind is not in Config.Sources is one of them.
//
// Nothing in the Proxy waits for Config.Logger: records go to its handler from a goroutine
// of their own, by way of a bounded queue, and what does not fit is dropped and counted.
func New(c Config) (*Proxy, error) {
	server, err := front.New(c)
	if err != nil {
		return nil, err
	}
	return &Proxy{server}, nil
}

// ServeHTTP answers one request that net/http has read. It panics with
// http.ErrAbortHandler when a response cannot be completed, as net/http wants it. After
// Drain each response ends its connection; after Close the answer is 503, for the reason
// "stopping".
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.server.ServeHTTP(w, r) }

// Serve accepts connections from l until l or the Proxy is closed; after Close it returns
// ErrClosed. It reads and writes HTTP/1.1 by its own codec. A TCP or unix listener of
// package net, also below TLSListener, is served by event loops where Config.Engine allows
// it; of such a one that is closed connections may be accepted for another tenth of a
// second. Goroutines serve any other: of its connections those that are *tls.Conn make
// their handshake first.
func (p *Proxy) Serve(l net.Listener) error { return p.server.Serve(l) }

// ServeTLS is Serve(TLSListener(l, t)).
func (p *Proxy) ServeTLS(l net.Listener, t TLS) error {
	secure, err := p.TLSListener(l, t)
	if err != nil {
		l.Close()
		return err
	}
	return p.Serve(secure)
}

// TLSListener terminates TLS on a plain listener, for Serve. The certificates are loaded
// when it returns. Their files are read again when they change; what cannot be read then
// is logged, and the certificates in use stay. Closing it closes l.
func (p *Proxy) TLSListener(l net.Listener, t TLS) (net.Listener, error) {
	return p.server.TLSListener(l, t)
}

// NamedListener gives l a name for Match.Listener, as Listen.Name does in a file. The result is
// given to Serve; l may be the result of TLSListener or ProxyListener, not the other way round.
func (p *Proxy) NamedListener(l net.Listener, name string) net.Listener {
	return p.server.NamedListener(l, name)
}

// ProxyListener says that connections of l begin with a header of the PROXY protocol, from peers
// that c trusts. Serve reads the header, also below TLSListener, to which the result may be given;
// Accept does not.
func (p *Proxy) ProxyListener(l net.Listener, c ProxyProtocol) (net.Listener, error) {
	return p.server.ProxyListener(l, c)
}

// ProtocolListener has the clients of a plain listener speak "http1" or "http2" only; "auto" is
// both, as without it. The result is given to Serve, or to ProxyListener and TLSListener before.
func (p *Proxy) ProtocolListener(l net.Listener, protocol string) (net.Listener, error) {
	return p.server.ProtocolListener(l, protocol)
}

// Apply replaces the configuration. Requests under way end under the one they began with;
// endpoints that are still named keep their state and connections. If c has mistakes the
// error is as New's and nothing changes. Files are read again; those that endpoints' TLS
// names are also read when they change, without Apply. After Close it returns
// ErrClosed. Listen, Logger and Sources are not looked at.
func (p *Proxy) Apply(c Config) error { return p.server.Apply(c) }

// Generation is the number of the configuration in force, from 1, as in Status; any goroutine may
// ask for it, at no cost.
func (p *Proxy) Generation() uint64 { return p.server.Core().Reloads().Generation }

// Refused records that a configuration was refused before it came to Apply: the program could not
// read it, or cannot listen where it says. Status, metrics and events then say so, as they do of
// one that Apply has refused, until the next that is applied.
func (p *Proxy) Refused(err error) { p.server.Core().Refused(err) }

// Config is the configuration in force, with its defaults. It is shared and must not be modified.
func (p *Proxy) Config() *Config { return p.server.Core().Config() }

// ReopenLogs has the file of the access log opened again, after it was moved away by rotation:
// until then lines go to the file that was moved. It returns at once. If the file cannot be opened
// the old one stays in use, Config.Logger has a record of it, and it is tried again.
func (p *Proxy) ReopenLogs() { p.server.ReopenLogs() }

// Ready waits until every endpoint that is probed has had its first verdict, or ctx is
// done, and then returns ctx's error. Requests before that wait a little by themselves.
// Once Drain or Close was called it returns ErrDraining or ErrClosed at once, so it can
// answer a readiness probe.
func (p *Proxy) Ready(ctx context.Context) error { return p.server.Ready(ctx) }

// Handover is what the process that takes this one's place should know: for each endpoint, by
// its identity, its health with the ends of ejections, its breaker and its latency; operators'
// overrides; and the keys of TLS session tickets, so it is secret. The new process gives it to New
// as Config.Handover. What it says of an endpoint is good for a minute, in which a source must
// name the endpoint. The form is JSON with a version of its own. Counters are not in it.
func (p *Proxy) Handover() []byte { return p.server.Handover() }

// Tickets has c, the TLS configuration of a server of the caller's that mounts the Proxy, seal
// and open session tickets as TLSListener does: by keys that all listeners share, that change
// once a day, and that Handover hands over. It is called before the server runs.
func (p *Proxy) Tickets(c *tls.Config) { p.server.Tickets(c) }

// Drain begins the end without refusing anything yet: from now on Ready returns
// ErrDraining, Status says so, and every response is the last of its connection
// (Connection: close, or GOAWAY for HTTP/2). So load balancers in front of several proxies, and
// clients that keep connections, go elsewhere while nothing is lost. It returns at once and
// may be called more than once. There is no way back; Close is next.
func (p *Proxy) Drain() { p.server.Drain() }

// Close drains the Proxy and ends everything that it has started. It is Drain first, if
// that was not called before, and goes on accepting and serving until Timeouts.DrainDelay
// after that. Then it closes the listeners, refuses further requests of a mounted handler,
// and waits for the requests under way. Clients that keep an idle connection have a moment
// to use it a last time.
//
// As soon as ctx is done what is left is broken off, and Close returns not later than
// 100 ms after that, with ctx's error; if something has not ended by then, the error names
// it. It may be called again, at the same time too: every call waits for the same end, and
// the first context that is done counts for all.
//
// What cannot be made to end is left behind, also if ctx is never done: a Source that does
// not return when its context is done, a Policy that hangs, a logger or an access log whose
// write does not return. The error says so.
func (p *Proxy) Close(ctx context.Context) error { return p.server.Close(ctx) }
