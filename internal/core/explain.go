package core

// Explain: what would become of a request, by the table, the services and the views in force. It
// uses what exchanges use (exchange.Table.Explain, service.Service.Explain), so it cannot disagree
// with them, and it has no effect: nothing is sent, counted, picked or started.
//
//	question ─http1─► request ─exchange─► route, fields, service ─service─► candidates, draws
//	                                                     configuration ─► limits, retry (explained.go)

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/compile"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/explain"
	"github.com/poise-lb/poise/internal/filter"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/route"
)

const (
	// explainDraws is how often Explain asks the policy.
	explainDraws = 1000
	// explainRoutes bounds the routes of an answer that do not match host or path.
	explainRoutes = 20
)

// force is what Explain needs of the configuration in force, as one.
type force struct {
	table  *exchange.Table
	config *config.Config // with defaults
}

// Explain says what would become of a request. It sends nothing and changes no state. The error
// says that q is no request. Any goroutine may call it.
func (p *Proxy) Explain(q explain.Request) (explain.Explanation, error) {
	now := p.force.Load()
	peer, asked, head, err := Question(q)
	if err != nil {
		return explain.Explanation{}, err
	}
	x := &explaining{proxy: p, table: now.table, config: now.config}
	x.out = explain.Explanation{Request: asked, Generation: p.Reloads().Generation, Routes: []explain.Tried{}}
	limits := headLimits(now.config)
	n, bad := http1.ParseRequest(head, 0, &x.request, &limits)
	var refused *http1.Error
	switch {
	case errors.As(bad, &refused):
		x.explained = exchange.ExplainRefusal(refused)
	case n == 0:
		return explain.Explanation{}, errors.New("the request has no complete head: is there an empty field name?")
	default:
		x.head(peer)
	}
	x.reply()
	x.limits()
	return x.out, nil
}

// Question makes the bytes of a request's head of q, so that it is read as those of clients are.
// asked is q as it was understood. The error says for people why q is no request.
func Question(q explain.Request) (peer *exchange.Peer, asked explain.Asked, head []byte, err error) {
	asked = explain.Asked{Method: cmp.Or(q.Method, "GET"), Scheme: "http", Client: cmp.Or(q.Client, "127.0.0.1"), Listener: q.Listener}
	addr, err := netip.ParseAddr(asked.Client)
	if err != nil {
		return nil, asked, nil, fmt.Errorf("client %q is no IP address", q.Client)
	}
	asked.Target, _, _ = strings.Cut(q.URL, "#")
	if scheme, rest, found := strings.Cut(asked.Target, "://"); found && !strings.HasPrefix(asked.Target, "/") {
		asked.Scheme = strings.ToLower(scheme)
		if asked.Scheme != "http" && asked.Scheme != "https" {
			return nil, asked, nil, fmt.Errorf("URL %q: the scheme is http or https", q.URL)
		}
		end := strings.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		asked.Host, asked.Target = rest[:end], rest[end:]
		if !strings.HasPrefix(asked.Target, "/") {
			asked.Target = "/" + asked.Target
		}
	}
	if asked.Target == "" {
		return nil, asked, nil, errors.New("the URL is missing, as in http://api.example.com/users/42")
	}
	var fields bytes.Buffer
	for _, f := range q.Fields {
		if strings.EqualFold(f.Name, "Host") {
			asked.Host = f.Value
			continue
		}
		fmt.Fprintf(&fields, "%s: %s\r\n", f.Name, f.Value)
	}
	asked.Host = cmp.Or(asked.Host, "localhost")
	if strings.ContainsAny(asked.Method+asked.Target+asked.Host, "\r\n") || bytes.Count(fields.Bytes(), []byte("\n")) > len(q.Fields) {
		return nil, asked, nil, errors.New("the request has a line break within method, URL or field")
	}
	head = fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", asked.Method, asked.Target, asked.Host, fields.Bytes())
	return &exchange.Peer{Addr: addr, IP: []byte(addr.String()), Scheme: asked.Scheme, Listener: asked.Listener}, asked, head, nil
}

// explaining is one Explain.
type explaining struct {
	proxy     *Proxy
	table     *exchange.Table
	config    *config.Config
	request   message.Request
	explained exchange.Explained
	service   *config.Service // of the request; nil: there is none
	at        string          // key of service in the configuration
	out       explain.Explanation
}

// head goes the way of a request whose head was accepted.
func (x *explaining) head(peer *exchange.Peer) {
	q := &x.request
	x.out.Path.Raw = string(q.Path)
	host, fields, grpc := string(q.Host), len(q.Fields), route.CallsGRPC(q)
	preflight, _ := filter.IsPreflight(q)
	before := make([]message.Field, fields)
	copy(before, q.Fields)
	x.explained = x.table.Explain(x.proxy.rt, q, peer, x.enter)
	e := &x.explained
	x.out.Path.Normal = string(e.Normal)
	method := x.out.Request.Method
	if e.Route != nil && e.Route.CORS && preflight != nil {
		method = string(preflight)
		x.out.Notes = append(x.out.Notes, "a preflight of CORS goes by the method of the request to come, here "+method+", and is answered by the proxy")
	}
	x.routes(host, method, grpc)
	if e.Route == nil {
		return
	}
	x.configure()
	if e.Refused != nil {
		return
	}
	x.forward(before)
	x.split()
	x.serve()
}

// enter is exchange.Directory.Enter without an effect: it starts no service.
func (x *explaining) enter(r *exchange.Route, segment []byte) (*exchange.Service, *exchange.Error) {
	return r.Directory.(*directory).look(string(segment))
}

// routes lists what was tried for a request to host with that method; grpc: it is a gRPC call. Of
// routes whose path or host differs only the first are listed.
func (x *explaining) routes(host, method string, grpc bool) {
	patterns := make([]route.Pattern, len(x.config.Routes))
	for i, r := range x.config.Routes {
		patterns[i] = compile.Pattern(&r.Match)
	}
	path := x.explained.Normal
	for rank, v := range route.Explain(patterns, x.out.Request.Listener, []byte(host), path, []byte(method), grpc) {
		if v.Failed != "" && v.Failed != route.Method && v.Failed != route.GRPC && rank >= explainRoutes || len(path) == 0 {
			x.out.Omitted++
			continue
		}
		r := &x.config.Routes[v.Index]
		one := explain.Tried{
			Name: r.Identity(), Index: v.Index, Match: matchOf(r), Leads: r.Leads(),
			Taken: x.explained.Route != nil && x.explained.Route.Index == v.Index, Failed: string(v.Failed),
			Key: config.Index("routes", v.Index),
		}
		switch {
		case one.Taken:
			one.Why = "the most specific match"
		case v.Failed == "":
			one.Why = "matches, but is less specific"
		case v.Failed == route.Listener:
			one.Why = "only for requests by listener " + r.Match.Listener
		case v.Failed == route.Host:
			one.Why = "host is not " + host
		case v.Failed == route.Path:
			one.Why = "path is not " + string(path)
		case v.Failed == route.GRPC:
			one.Why = "the request is no gRPC call: that is a POST whose Content-Type is application/grpc"
		default:
			one.Why = "method " + method + " is not among " + strings.Join(r.Match.Methods, ", ")
		}
		x.out.Routes = append(x.out.Routes, one)
	}
}

// matchOf is what a route matches, for people.
func matchOf(r *config.Route) string {
	methods := cmp.Or(strings.Join(r.Match.Methods, ","), "any method")
	at := ""
	if r.Match.Listener != "" {
		at = "listener " + r.Match.Listener + " "
	}
	if r.Match.GRPC != "" {
		return at + cmp.Or(r.Match.Host, "any host") + " gRPC " + r.Match.GRPC
	}
	return at + cmp.Or(r.Match.Host, "any host") + " " + cmp.Or(r.Match.Path, "/**") + " " + methods
}

// configure finds the configuration of the service.
func (x *explaining) configure() {
	r := &x.config.Routes[x.explained.Route.Index]
	if r.Discover == "" {
		name := x.explained.Service.Name
		s := x.config.Services[name]
		x.service, x.at = &s, config.Key("services", name)
		return
	}
	d := x.config.Discover[r.Discover]
	s := d.Service(string(x.explained.Segment))
	x.service, x.at = &s, config.Key("discover", r.Discover)
}

// forward says what the endpoint gets.
func (x *explaining) forward(before []message.Field) {
	q, r := &x.request, &x.config.Routes[x.explained.Route.Index]
	f := &explain.Forward{Path: string(q.Path), Query: string(q.Query), Host: string(q.Host), Edits: []explain.Edit{}}
	if x.explained.Route.Rules.HostOfEndpoint() {
		f.Host = ""
	}
	for i := range q.Fields {
		one := &q.Fields[i]
		switch {
		case i < len(before) && one.Drop && one.Kind != message.Host:
			f.Edits = append(f.Edits, explain.Edit{Do: "remove", Name: string(one.Name), Value: string(one.Value)})
		case i >= len(before) && !one.Drop:
			f.Edits = append(f.Edits, explain.Edit{Do: "add", Name: string(one.Name), Value: string(one.Value)})
		}
	}
	f.Response = responseEdits(r.Headers.Response)
	for _, one := range compile.Filters(r) {
		f.Filters = append(f.Filters, one.Slot.String()+"/"+one.Name)
	}
	x.out.Forward = f
	if len(f.Filters) > 0 {
		x.out.Notes = append(x.out.Notes, "the filters of the route were not run: they may answer by themselves or change the request")
	}
}

// reply fills in the answer that the proxy gives by itself, if it does.
func (x *explaining) reply() {
	e := &x.explained
	switch {
	case e.Refused != nil:
		x.out.Reply = &explain.Reply{Status: e.Refused.Status, Reason: e.Refused.Reason, Message: e.Text, Allow: e.Allow}
		if e.Refused.Err != nil {
			x.out.Reply.Cause = e.Refused.Err.Error()
		}
	case x.out.Service != nil && e.Service != nil && x.out.Service.Nothing == x.out.Service.Draws:
		x.unserved(e)
	}
}

// unserved says what a request gets whose service has no endpoint now, as Exchange.first and
// Exchange.unavailable have it.
func (x *explaining) unserved(e *exchange.Explained) {
	s, name := e.Service, x.out.Service.Name
	if !s.Settled() {
		x.out.Notes = append(x.out.Notes, "the endpoints of service "+name+" are not known yet: a request waits for them, some seconds at most")
		return
	}
	err, cause := exchange.ErrNoEndpoint, "service "+name+" has no endpoint that may be used now"
	if e.Route.Directory != nil && !s.Known() && !s.Source().Stale {
		err, cause = exchange.ErrUnknownService, "the registry knows no endpoint of service "+name
	}
	x.out.Reply = &explain.Reply{Status: err.Status, Reason: err.Reason, Message: exchange.TextOf(err.Status, err.Reason), Cause: cause}
}
