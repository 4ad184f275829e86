// Package poise is a load balancer and reverse proxy for microservices that lives inside
// a Go program: a Proxy is an http.Handler, and serves listeners of its own at a third of
// the cost.
//
//	proxy, err := poise.New(poise.Config{
//		Services: map[string]poise.Service{
//			"users": {Endpoints: []poise.Endpoint{{URL: "http://127.0.0.1:9001"}, {URL: "http://127.0.0.1:9002"}}},
//		},
//		Routes: []poise.Route{{Match: poise.Match{Path: "/users/**"}, Service: "users"}},
//	})
//	if err != nil { … }
//	defer proxy.Close(context.Background())
//	http.ListenAndServe("127.0.0.1:8080", proxy)
//
// On the request path a request is matched to a Route, rewritten, given to an endpoint that
// the service's policy picks, and its response is relayed. In its lifecycle an endpoint is
// named by a source; probes and the outcome of requests decide whether it is usable, and the
// policy is built anew for those that are. Its state belongs to its identity and survives
// every Apply.
package poise
