package route

import (
	"errors"
	"testing"

	"github.com/poise-lb/poise/internal/message"
)

func TestWhatAGRPCCallIs(t *testing.T) {
	for _, c := range []struct {
		method, name, value string
		want                bool
	}{
		{"POST", "content-type", "application/grpc", true},
		{"POST", "Content-Type", "Application/GRPC+proto", true},
		{"POST", "content-type", "application/grpc; charset=utf-8", true},
		{"POST", "content-type", "application/grpc-web", true},
		{"POST", "content-type", "application/grpc-web+proto", true},
		{"POST", "content-type", "application/grpc-web-text", true},
		{"POST", "content-type", "application/grpc-web-text+proto", true},
		{"POST", "content-type", "application/grpc-web-text-base64", true},
		{"POST", "content-type", "application/grpc\t;charset=utf-8", true},
		{"POST", "content-type", "application/grpc-web-texts", false},
		{"POST", "content-type", "application/grpc-webs", false},
		{"POST", "content-type", "application/grpcs", false},
		{"POST", "content-type", "application/grp", false},
		{"POST", "content-type", "application/json", false},
		{"POST", "accept", "application/grpc", false},
		{"GET", "content-type", "application/grpc", false},
		{"post", "content-type", "application/grpc", false},
		{"OPTIONS", "content-type", "application/grpc", false},
		{"OPTIONS", "access-control-request-headers", "content-type,x-grpc-web,x-user-agent", true},
		{"OPTIONS", "access-control-request-headers", "X-Grpc-Web", true},
		{"OPTIONS", "access-control-request-headers", "content-type", false},
		{"OPTIONS", "access-control-request-headers", "", false},
		{"OPTIONS", "access-control-request-method", "POST", false},
	} {
		q := &message.Request{Method: []byte(c.method), Fields: []message.Field{message.NewField(c.name, c.value)}}
		if got := CallsGRPC(q); got != c.want {
			t.Errorf("%s with %s: %s: %v, want %v", c.method, c.name, c.value, got, c.want)
		}
	}
	if CallsGRPC(&message.Request{Method: []byte("POST")}) {
		t.Error("a POST without a content type is a gRPC call")
	}
}

func TestPrecedenceOfGRPC(t *testing.T) {
	tree := mustBuild(t, []Pattern{
		0: {Path: "/{service}/{method}", GRPC: true},
		1: {Path: "/shop.Cart/{method}", GRPC: true},
		2: {Path: "/shop.Cart/{method}"},
		3: {Path: "/shop.Cart/Add", Methods: []string{"POST"}},
		4: {Path: "/shop.Till/**"},
		5: {Host: "api.example.com", Path: "/**"},
		6: {Host: "api.example.com", Path: "/shop.Cart/Add", GRPC: true},
		7: {Path: "/**", Methods: []string{"GET"}},
	})
	for _, c := range []struct {
		method, host, path string
		grpc               bool
		want               int
		state              MethodState
	}{
		{"POST", "x", "/a.B/C", true, 0, Found},
		{"POST", "x", "/a.B/C", false, none, NotAllowed}, // GET would do
		{"GET", "x", "/a.B/C", false, 7, Found},
		{"POST", "x", "/a.B/C/D", true, none, NotAllowed},
		{"POST", "x", "/shop.Cart/Del", true, 1, Found}, // before the other one of the same path
		{"POST", "x", "/shop.Cart/Del", false, 2, Found},
		{"POST", "x", "/shop.Cart/Add", true, 3, Found}, // the path is more specific
		{"POST", "x", "/shop.Till/Pay", true, 4, Found}, // likewise
		{"POST", "api.example.com", "/shop.Cart/Add", true, 6, Found},
		{"POST", "api.example.com", "/shop.Cart/Add", false, 5, Found},
		{"POST", "api.example.com", "/a.B/C", true, 5, Found}, // the host is more specific
	} {
		match := tree.MatchAt
		if c.grpc {
			match = tree.MatchGRPC
		}
		if got, state := match("", []byte(c.host), []byte(c.path), []byte(c.method)); got != c.want || state != c.state {
			t.Errorf("%s %s%s, gRPC %v: route %d, state %d, want %d, %d", c.method, c.host, c.path, c.grpc, got, state, c.want, c.state)
		}
	}
	if got := string(tree.Allowed(nil, []byte("x"), []byte("/a.B/C"))); got != "GET, HEAD" {
		t.Errorf("Allow: %q", got)
	}
	if !tree.GRPC() || mustBuild(t, []Pattern{{Path: "/a"}}).GRPC() {
		t.Error("GRPC does not say whether a pattern takes gRPC calls alone")
	}

	alone := mustBuild(t, []Pattern{{Path: "/a/{b}", GRPC: true}})
	if _, state := alone.Match(nil, []byte("/a/b"), []byte("POST")); state != NotFound {
		t.Errorf("state %d of a request that is no gRPC call, where nothing else is", state)
	}
	var conflict *ConflictError
	_, err := Build([]Pattern{{Path: "/a/{b}", GRPC: true}, {Path: "/a/{c}"}, {Path: "/a/{d}", GRPC: true}})
	if !errors.As(err, &conflict) || conflict.I != 0 || conflict.J != 2 || !conflict.GRPC {
		t.Errorf("%v, want the conflict of 0 and 2", err)
	}
}
