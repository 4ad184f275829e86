package exchange

import (
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/upstream"
)

// Some schemes authenticate a connection once rather than each request (RFC 4559 §6). A
// connection to an endpoint on which one is offered or used belongs to the client's
// connection from then on: no other client may send on it, and the client's next requests
// do, or the login would never be completed.

// connectionSchemes authenticate connections. CredSSP and Kerberos are what WinRM uses.
var connectionSchemes = [...]string{"Negotiate", "NTLM", "Kerberos", "CredSSP"}

// bindsConnection reports whether one of the challenges or credentials in value is of such a
// scheme. Commas within quotes are not understood: too much is found then, never too little.
func bindsConnection(value []byte) bool {
	for one, rest := message.NextToken(value); one != nil; one, rest = message.NextToken(rest) {
		scheme := one[:message.NameLen(one)]
		for _, s := range connectionSchemes {
			if message.EqualFold(scheme, s) {
				return true
			}
		}
	}
	return false
}

// challenged reports whether the endpoint asks for a login of the connection.
func challenged(r *message.Response) bool {
	if r.Status != 401 && r.Status != 407 {
		return false
	}
	for i := range r.Fields {
		f := &r.Fields[i]
		if f.Kind == message.ProxyAuthenticate || f.Kind == message.Other && message.EqualFold(f.Name, "WWW-Authenticate") {
			if bindsConnection(f.Value) {
				return true
			}
		}
	}
	return false
}

// bind gives the connection to the client's connection, in protocols where a login can be
// one of the connection.
func (a *attempt) bind() {
	if b, ok := a.call.(upstream.Binder); ok {
		b.Bind(a.x.peer.Bonds, a.x.service.Service)
	}
}

// bound is the endpoint that the client's connection is bound to; nil: none, or one that may
// not be used any more.
func (x *Exchange) bound() *endpoint.Endpoint {
	if x.peer.Bonds.Empty() {
		return nil
	}
	e := x.peer.Bonds.Endpoint(x.service.Service)
	if e == nil || !x.service.Keep(e) {
		return nil
	}
	return e
}
