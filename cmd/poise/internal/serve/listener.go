package serve

// One bound address.

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
	"github.com/poise-lb/poise/config"
)

// A listener is one bound address and what serves it.
type listener struct {
	listen config.Listen
	times  times
	socket net.Listener
	around net.Listener // socket with a protocol, the PROXY protocol, TLS and a name; nil without them, and with std
	std    *stdServer   // nil with the own codec
	ended  atomic.Bool
}

// times are the settings that net/http takes only at the start of a server.
type times struct{ head, idle, stall time.Duration }

// bind opens a new listener. Where there is an old one for the same address it shares
// its socket: connections in the queue are accepted by the one or the other.
func (s *Server) bind(want config.Listen, t times, old *listener) (_ *listener, err error) {
	l := &listener{listen: want, times: t}
	if old != nil {
		l.socket, err = sockets.Share(old.socket)
	} else {
		l.socket, err = s.listen(want)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", want.Address, sockets.Reason(err))
	}
	if s.engine == Std {
		l.std, err = newStd(s.proxy, want.TLS, t, s.log)
		switch {
		case want.ProxyProtocol != nil:
			err = errors.New("the engine std has no PROXY protocol: use another --engine, or leave proxy_protocol out")
		case want.Name != "":
			err = errors.New("the engine std does not distinguish listeners: use another --engine, or leave name out")
		case want.Protocol != "" && want.Protocol != "auto":
			err = errors.New("the engine std speaks both versions of HTTP: use another --engine, or leave protocol out")
		}
	} else {
		l.around, err = s.wrap(l.socket, want)
	}
	if err != nil {
		l.socket.Close()
		return nil, fmt.Errorf("cannot listen on %s: %w", want.Address, err)
	}
	return l, nil
}

// wrap puts around socket what want asks for; nil: nothing.
func (s *Server) wrap(socket net.Listener, want config.Listen) (around net.Listener, err error) {
	below, err := s.proxy.ProtocolListener(socket, want.Protocol)
	if err != nil {
		return nil, err
	}
	if below != socket {
		around = below
	}
	if want.ProxyProtocol != nil {
		if around, err = s.proxy.ProxyListener(below, *want.ProxyProtocol); err != nil {
			return nil, err
		}
		below = around
	}
	if want.TLS != nil {
		if around, err = s.proxy.TLSListener(below, *want.TLS); err != nil {
			return nil, err
		}
		below = around
	}
	if want.Name != "" {
		around = s.proxy.NamedListener(below, want.Name)
	}
	return around, nil
}

// listen opens an address, unless the socket was given.
func (s *Server) listen(want config.Listen) (net.Listener, error) {
	l := s.Given.Take(want.Address)
	path, isUnix := strings.CutPrefix(want.Address, "unix:")
	switch {
	case l == nil && isUnix:
		return sockets.ListenUnix(path, modeOf(want))
	case l == nil:
		return net.Listen("tcp", want.Address)
	}
	if network := l.Addr().Network(); (network == "unix") != isUnix {
		l.Close()
		return nil, fmt.Errorf("the socket that was passed to this process is a %s socket", network)
	}
	return l, nil
}

// modeOf is the mode of a unix socket.
func modeOf(l config.Listen) fs.FileMode {
	if mode, err := l.FileMode(); err == nil && mode != 0 {
		return mode
	}
	return sockets.UnixMode
}

// own makes the path of a unix socket this listener's, with the mode of the configuration: from
// here on it serves, and what was open at the address before does not.
func (l *listener) own() error {
	path, isUnix := strings.CutPrefix(l.listen.Address, "unix:")
	if !isUnix {
		return nil
	}
	sockets.Own(l.socket)
	return os.Chmod(path, modeOf(l.listen))
}

// close accepts no more.
func (l *listener) close() {
	if l.around != nil {
		l.around.Close()
		return
	}
	l.socket.Close()
}
