package poise_test

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/poise-lb/poise"
)

// A preflight is answered by the route that takes the request to come, also where that takes gRPC
// calls alone and others take the path as well. No endpoint is asked.
func TestPreflightsOfGRPCRoutes(t *testing.T) {
	p := start(t, poise.Config{
		Services: map[string]poise.Service{"none": {Endpoints: []poise.Endpoint{{URL: "h2c://127.0.0.1:1"}}}},
		Routes: []poise.Route{
			{Match: poise.Match{GRPC: "shop.Cart/*"}, Service: "none", GRPCWeb: true, CORS: &poise.CORS{Origins: []string{"https://cart.example"}}},
			{Match: poise.Match{GRPC: "shop.Other/*"}, Service: "none", GRPCWeb: true},
			{Match: poise.Match{Methods: []string{"GET", "POST"}}, Service: "none", CORS: &poise.CORS{Origins: []string{"*"}}},
		},
		Logger: quiet,
	})
	for _, test := range []struct{ path, method, origin, want string }{
		{"/shop.Cart/Add", "POST", "https://cart.example", "https://cart.example"},
		{"/shop.Cart/Add", "POST", "https://other.example", ""},
		{"/shop.Cart/Add", "GET", "https://other.example", "*"},
		{"/elsewhere", "POST", "https://other.example", "*"},
		{"/elsewhere", "PUT", "https://other.example", ""},
	} {
		r := httptest.NewRequestWithContext(context.Background(), "OPTIONS", "http://api.example"+test.path, nil)
		r.Header.Set("Origin", test.origin)
		r.Header.Set("Access-Control-Request-Method", test.method)
		if test.method == "POST" {
			r.Header.Set("Access-Control-Request-Headers", "content-type,x-grpc-web") // as clients of gRPC-Web do
		}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		q := poise.ExplainRequest{Method: "OPTIONS", URL: "http://api.example" + test.path}
		for name := range r.Header {
			q.Fields = append(q.Fields, poise.ExplainField{Name: name, Value: r.Header.Get(name)})
		}
		x, err := p.Explain(q)
		if err != nil || test.want != "" && (len(x.Routes) == 0 || !x.Routes[0].Taken || x.Routes[0].Failed != "") {
			t.Errorf("%s %s: explained as %+v, %v", test.method, test.path, x.Routes, err)
		}
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != test.want || (w.Code == 204) != (test.want != "") {
			t.Errorf("%s %s from %s: %d, %q is allowed, want %q", test.method, test.path, test.origin, w.Code, got, test.want)
		}
	}
}
