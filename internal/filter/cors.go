package filter

// CORS: which pages of other origins may read what a route answers (Fetch standard §3.2). A browser
// decides by fields of responses, and before some requests it asks, by a preflight:
//
//	OPTIONS /cart                              204
//	Origin: https://shop.example               Access-Control-Allow-Origin: https://shop.example
//	Access-Control-Request-Method: PUT         Access-Control-Allow-Methods: PUT
//	Access-Control-Request-Headers: x-a        Access-Control-Allow-Headers: x-a
//
// The filter answers preflights; no endpoint sees them. In all other responses the fields that an
// endpoint has set give way to those of the route: a browser refuses two of them.
//
// This is no access control: whoever is no browser ignores it, so a request from another origin is
// passed on, and its response is only not readable for the page.

import (
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
)

// CORSOptions are what New needs to know. Texts are valid as values of fields.
type CORSOptions struct {
	// Origins are scheme://host with a port that is not the scheme's, in small letters;
	// scheme://*.host is any host below that one, and "*" alone any origin.
	Origins []string
	Headers []string // fields that requests may have; none: any
	Expose  []string // fields of responses that pages may read
	// Credentials says that pages may send cookies and the like; not with the origin "*".
	Credentials bool
	MaxAge      time.Duration // how long browsers keep the answer to a preflight
}

// NewCORS returns the filter.
func NewCORS(o CORSOptions) Filter {
	c := &cors{credentials: o.Credentials, headers: []byte(strings.Join(o.Headers, ", "))}
	for _, origin := range o.Origins {
		switch before, domain, wild := strings.Cut(origin, "*"); {
		case origin == "*":
			c.all = &allowed{"*"}
		case wild:
			c.below = append(c.below, [2]string{before, domain})
		default:
			c.exact = append(c.exact, &allowed{origin})
		}
	}
	if len(o.Expose) > 0 {
		c.expose = []byte(strings.Join(o.Expose, ", "))
	}
	c.maxAge = strconv.AppendInt(nil, int64(o.MaxAge/time.Second), 10)
	return Filter{Name: "cors", Slot: CORS, Request: c.request, Response: c.response}
}

// IsPreflight reports whether q is a preflight, and what method it asks for.
func IsPreflight(q *message.Request) (method []byte, ok bool) {
	if string(q.Method) != "OPTIONS" {
		return nil, false
	}
	if _, ok = message.Get(q.Fields, "origin"); !ok {
		return nil, false
	}
	return message.Get(q.Fields, "access-control-request-method")
}

type cors struct {
	all         *allowed    // nil: not every origin is allowed
	exact       []*allowed  //
	below       [][2]string // what an origin begins and ends with
	headers     []byte      // empty: what a preflight asks for
	expose      []byte
	maxAge      []byte
	credentials bool
}

// allowed is the state of an exchange whose client is on an origin that may read the response.
type allowed struct{ origin string }

// request answers preflights. The endpoint sees the Origin of all other requests.
func (c *cors) request(x *Exchange) *message.Reply {
	origin, ok := message.Get(x.Request.Fields, "origin")
	if !ok {
		return nil
	}
	a := c.allows(origin)
	if a != nil {
		x.SetState(a)
	}
	method, ok := IsPreflight(x.Request)
	switch {
	case !ok:
		return nil
	case a == nil:
		return &message.Reply{Status: 403, Reason: reason.OriginNotAllowed}
	}
	r := &message.Reply{Status: 204}
	r.Fields = append(r.Fields, message.NewField("Access-Control-Allow-Methods", method))
	headers := c.headers
	if len(headers) == 0 {
		headers, _ = message.Get(x.Request.Fields, "access-control-request-headers")
		r.Fields = append(r.Fields, message.NewField("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers"))
	}
	if len(headers) > 0 {
		r.Fields = append(r.Fields, message.NewField("Access-Control-Allow-Headers", headers))
	}
	r.Fields = append(r.Fields, message.NewField("Access-Control-Max-Age", c.maxAge))
	return r
}

// allows returns the origin as it is allowed; nil: it is not.
func (c *cors) allows(origin []byte) *allowed {
	if c.all != nil {
		return c.all
	}
	for _, a := range c.exact {
		if a.origin == string(origin) {
			return a
		}
	}
	for _, b := range c.below {
		name, ok := strings.CutPrefix(string(origin), b[0])
		if ok && len(name) > len(b[1]) && strings.HasSuffix(name, b[1]) && !strings.ContainsAny(name, "/@") {
			return &allowed{string(origin)}
		}
	}
	return nil
}

// response sets the fields, those of the proxy's own replies included. Vary is for caches: they must
// not give one origin what was meant for another.
func (c *cors) response(x *Exchange, r *message.Response) {
	a, _ := x.State().(*allowed)
	preflight := false
	if a != nil {
		_, preflight = IsPreflight(x.Request)
	}
	if !preflight {
		for i := range r.Fields {
			f := &r.Fields[i]
			const prefix = "access-control-"
			if f.Kind == message.Other && len(f.Name) > len(prefix) && message.EqualFold(f.Name[:len(prefix)], prefix) {
				f.Drop = true
			}
		}
	}
	if c.all == nil {
		r.Fields = append(r.Fields, message.NewField("Vary", "Origin"))
	}
	if a == nil {
		return
	}
	r.Fields = append(r.Fields, message.NewField("Access-Control-Allow-Origin", a.origin))
	if c.credentials {
		r.Fields = append(r.Fields, message.NewField("Access-Control-Allow-Credentials", "true"))
	}
	if len(c.expose) > 0 && !preflight {
		r.Fields = append(r.Fields, message.NewField("Access-Control-Expose-Headers", c.expose))
	}
}
