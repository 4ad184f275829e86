package front

// Which versions of HTTP clients may speak at a listener. By default it is both: ALPN decides under
// TLS, and in the clear the first bytes do, a request of HTTP/1.1 or the preface of HTTP/2.
//
//	          TLS: ALPN offers   in the clear
//	auto      h2, http/1.1       HTTP/1.1, or HTTP/2 by prior knowledge
//	http1     http/1.1           HTTP/1.1
//	http2     h2                 HTTP/2; anything else gets GOAWAY
//
// A client under TLS that does not use ALPN has HTTP/1.1, or HTTP/2 where that is all there is.

import (
	"fmt"
	"net"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/downstream/h1"
)

// The words of config.Listen.Protocol; "" is bothProtocols.
const (
	bothProtocols = "auto"
	onlyHTTP1     = "http1"
	onlyHTTP2     = "http2"
)

// ProtocolListener has the clients of a plain listener speak one version of HTTP only, for Serve.
func (srv *Server) ProtocolListener(l net.Listener, protocol string) (net.Listener, error) {
	switch protocol {
	case "", bothProtocols:
		return l, nil
	case onlyHTTP1, onlyHTTP2:
		return &protocolListener{l, protocol}, nil
	}
	return nil, fmt.Errorf("%q is no protocol of a listener: use auto, http1 or http2", protocol)
}

// A protocolListener is one whose clients speak one version. It is below all other layers.
type protocolListener struct {
	net.Listener
	protocol string
}

// alpn is what is offered to clients of l, the favourite first.
func alpn(l net.Listener) []string {
	switch layers(l).protocol {
	case onlyHTTP1:
		return []string{"http/1.1"}
	case onlyHTTP2:
		return []string{"h2"}
	}
	return []string{"h2", "http/1.1"}
}

// inTheClear is what connections of l without TLS speak.
func (srv *Server) inTheClear(l net.Listener) *downstream.Protocol {
	switch layers(l).protocol {
	case onlyHTTP1:
		return h1.Protocol
	case onlyHTTP2:
		return srv.http2
	}
	return srv.http1
}

// underTLS is what a connection of l speaks whose client has agreed on that protocol by ALPN; "": on
// none.
func (srv *Server) underTLS(l net.Listener, agreed string) *downstream.Protocol {
	if agreed == "h2" || agreed == "" && layers(l).protocol == onlyHTTP2 {
		return srv.http2
	}
	return h1.Protocol
}
