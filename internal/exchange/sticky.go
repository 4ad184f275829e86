package exchange

// Sticky sessions: a cookie of the proxy's own names the endpoint that a client stays with.
//
//	GET /                       policy picks B    200, Set-Cookie: lb=<token of B>
//	GET /, Cookie: lb=<B>       B                 200
//	B is ejected, drained or gone
//	GET /, Cookie: lb=<B>       policy picks C    200, Set-Cookie: lb=<token of C>
//
// The token is a hash of the endpoint's identity, which is looked up among the endpoints of the service: a
// forged one finds none, or one that the policy could have picked as well. Several proxies with
// one configuration make the same tokens, so no proxy keeps a table of clients.
//
// The cookie names the endpoint whose response the client got. A hedge that was faster than the
// client's own endpoint changes nothing; a response that is a failure (502, 503, 504) binds no client,
// and neither does one that caches may give to others.

import (
	"encoding/base64"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/affinity"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/policy"
)

// A Sticky is the configuration of the cookie of a service. It is never modified.
type Sticky struct {
	Name   string
	Key    *affinity.Key               // finds the cookie in a request
	Token  func(id endpoint.ID) uint64 // as service.Settings.Token
	Plain  string                      // attributes of the cookie over http, from "; " on
	Secure string                      // those over https
}

// tokenBytes is the length of a token as text: base64url of eight bytes, without padding.
const tokenBytes = 11

var nameSetCookie = []byte("Set-Cookie")

// token is the endpoint that the request's cookie asks for, as Service.ByToken takes it; 0: it has no
// cookie, or one that was not made here.
func (s *Sticky) token(q *message.Request) uint64 {
	v, ok := s.Key.Of(q, nil, nil)
	var raw [9]byte
	if !ok || len(v) != tokenBytes {
		return 0
	}
	if n, err := base64.RawURLEncoding.Decode(raw[:], v); err != nil || n != 8 {
		return 0
	}
	return uint64(raw[0])<<56 | uint64(raw[1])<<48 | uint64(raw[2])<<40 | uint64(raw[3])<<32 |
		uint64(raw[4])<<24 | uint64(raw[5])<<16 | uint64(raw[6])<<8 | uint64(raw[7])
}

// AppendCookie appends the value of Set-Cookie that binds a client to an endpoint.
func (s *Sticky) AppendCookie(b []byte, token uint64, secure bool) []byte {
	var raw [8]byte
	for i := range raw {
		raw[i] = byte(token >> (56 - 8*i))
	}
	b = append(append(b, s.Name...), '=')
	b = base64.RawURLEncoding.AppendEncode(b, raw[:])
	if secure {
		return append(b, s.Secure...)
	}
	return append(b, s.Plain...)
}

// stuckTo is the endpoint that the client's cookie names; nil: there is none, or it may not be used
// now; policy.Wait: it has no place. As after pick, an attempt must follow.
func (x *Exchange) stuckTo() *endpoint.Endpoint {
	x.stuck = nil
	if x.token == 0 {
		return nil
	}
	e := x.kept(x.service.ByToken(x.token))
	if e != policy.Wait {
		x.stuck = e
	}
	return e
}

// stick adds the cookie to the head of a response that is about to be delivered, unless the client is
// bound to its endpoint already.
func (a *attempt) stick(r *message.Response) {
	x := a.x
	s := x.service.Sticky
	if s == nil || failing(r.Status) || shared(r.Fields) {
		return
	}
	var named *endpoint.Endpoint
	if x.token != 0 {
		named = x.service.ByToken(x.token)
	}
	if hedged := a != &x.own; a.endpoint == named || hedged && x.stuck != nil {
		return
	}
	end := service.StickyNew
	switch {
	case named != nil:
		end = service.StickyMoved
	case x.token != 0:
		end = service.StickyUnknown
	}
	x.service.Stuck(end)
	proto, _ := message.GetKind(x.Request.Fields, message.XForwardedProto)
	secure := x.peer.Scheme == "https" || string(proto) == "https"
	x.forward.cookie = s.AppendCookie(x.forward.cookie[:0], s.Token(a.endpoint.ID()), secure)
	r.Fields = message.Append(r.Fields, nameSetCookie, x.forward.cookie, message.SetCookie)
}

// shared reports whether a response says that caches may give it to several clients: its cookie would
// bind all of them to one endpoint.
func shared(fields []message.Field) bool {
	for i := range fields {
		f := &fields[i]
		if f.Drop || f.Kind != message.CacheControl {
			continue
		}
		for t, rest := message.NextToken(f.Value); t != nil; t, rest = message.NextToken(rest) {
			if message.EqualFold(t, "public") || hasPrefix(t, "s-maxage") {
				return true
			}
		}
	}
	return false
}
