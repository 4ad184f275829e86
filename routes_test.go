package poise_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/poise-lb/poise"
)

// What a client reaches depends on the listener by which it came, on every engine, with and without
// TLS, and for both versions of HTTP: a name in front of a route is a boundary.
func TestRoutesByListener(t *testing.T) {
	for _, engine := range poise.Engines() {
		t.Run(engine, func(t *testing.T) {
			c := toAll(named(t, "everywhere"))
			c.Engine = engine
			c.Services["inner"] = poise.Service{Endpoints: []poise.Endpoint{{URL: named(t, "inner")}}}
			c.Services["outer"] = poise.Service{Endpoints: []poise.Endpoint{{URL: named(t, "outer")}}}
			c.Routes = append(c.Routes,
				poise.Route{Match: poise.Match{Listener: "in"}, Service: "inner"},
				poise.Route{Match: poise.Match{Listener: "out", Path: "/out/**", Methods: []string{"GET"}}, Service: "outer"})
			c.Routes[0].Match.Path = "/any/**"
			p := start(t, c)
			listen := func() net.Listener {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				return l
			}
			in, out, none, secure := listen(), listen(), listen(), listen()
			go p.Serve(p.NamedListener(in, "in"))
			go p.Serve(p.NamedListener(out, "out"))
			go p.Serve(none)
			around, err := p.TLSListener(secure, selfSigned(t))
			if err != nil {
				t.Fatal(err)
			}
			go p.Serve(p.NamedListener(around, "in"))

			h1 := &http.Transport{}
			h2 := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}, ForceAttemptHTTP2: true}
			defer h1.CloseIdleConnections()
			defer h2.CloseIdleConnections()
			for _, ask := range []struct{ method, url, want string }{
				{"GET", "http://" + in.Addr().String() + "/any/1", "200 inner"}, // a named route wins, whatever the path
				{"GET", "http://" + in.Addr().String() + "/out/1", "200 inner"},
				{"GET", "https://" + secure.Addr().String() + "/out/1", "200 inner"},
				{"GET", "http://" + out.Addr().String() + "/out/1", "200 outer"},
				{"GET", "http://" + out.Addr().String() + "/any/1", "200 everywhere"},
				{"GET", "http://" + out.Addr().String() + "/else", "404 no-route"},
				{"PUT", "http://" + out.Addr().String() + "/out/1", "405 method-not-allowed GET, HEAD"},
				{"GET", "http://" + none.Addr().String() + "/out/1", "404 no-route"},
				{"GET", "http://" + none.Addr().String() + "/any/1", "200 everywhere"},
			} {
				transport, proto := h1, "HTTP/1.1"
				if ask.url[4] == 's' {
					transport, proto = h2, "HTTP/2.0"
				}
				r, err := http.NewRequest(ask.method, ask.url, nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := transport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(res.Body)
				res.Body.Close()
				name, _, _ := strings.Cut(string(text), " ")
				got := res.Status[:4] + name
				if why := res.Header.Get("Poise-Reason"); why != "" {
					got = res.Status[:4] + why
				}
				if allow := res.Header.Get("Allow"); allow != "" {
					got += " " + allow
				}
				if got != ask.want || res.Proto != proto {
					t.Errorf("%s %s: %q by %s, want %q", ask.method, ask.url, got, res.Proto, ask.want)
				}
			}
			for at, want := range map[string]string{"in": "inner", "": "", "out": "outer"} {
				x, err := p.Explain(poise.ExplainRequest{URL: "/out/1", Listener: at})
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				if x.Service != nil {
					got = x.Service.Name
				}
				if got != want {
					t.Errorf("explained at %q: service %q, want %q", at, got, want)
				}
			}
		})
	}
}
