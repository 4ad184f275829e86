package config

// gRPC in a configuration: what a route says of calls, what a check says of a server, and that
// both need endpoints with HTTP/2.
//
//	match: {grpc: "*"}             every call                     /{service}/{method}
//	match: {grpc: shop.Cart/*}     every method of a service      /shop.Cart/{method}
//	match: {grpc: shop.Cart/Add}   one method                     /shop.Cart/Add
//	check: grpc                    the server as a whole          grpc.health.v1, service ""
//	check: grpc shop.Cart          one service of it              grpc.health.v1, service "shop.Cart"

import (
	"errors"
	"fmt"
	"strings"
)

// PathPattern is the path that a route matches: Path, or that of the calls GRPC stands for.
func (m *Match) PathPattern() string {
	if m.GRPC == "" {
		return m.Path
	}
	path, _, _ := parseCalls(m.GRPC)
	return path
}

// parseCalls reads GRPC of a Match. near is what was probably meant.
func parseCalls(text string) (path, near string, err error) {
	if text == "*" {
		return "/{service}/{method}", "", nil
	}
	service, method, found := strings.Cut(strings.TrimPrefix(text, "/"), "/")
	switch {
	case text == "*/*":
		near = "*"
	case isServiceName(service) && method == "":
		near = service + "/*"
	case isServiceName(service) && (method == "*" || isIdentifier(method)):
		near = service + "/" + method
	}
	switch {
	case near == text && method == "*":
		return "/" + service + "/{method}", "", nil
	case near == text:
		return "/" + text, "", nil
	case strings.HasPrefix(text, "/"):
		return "", near, errors.New("a service and a method have no slash before them, as in shop.Cart/Add")
	case strings.HasSuffix(service, ".*"):
		return "", "", errors.New("the services of a package are named one by one, or * is every call")
	case !found || method == "":
		return "", near, errors.New("is a service and a method, as in shop.Cart/Add, or all of its methods, as in shop.Cart/*")
	}
	return "", near, errors.New("is a service and a method, as in shop.Cart/Add; shop.Cart/* is all of its methods, * every call")
}

// isServiceName reports whether s is the full name of a gRPC service: identifiers, with dots
// between them.
func isServiceName(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !isIdentifier(part) {
			return false
		}
	}
	return true
}

// isIdentifier is that of protocol buffers.
func isIdentifier(s string) bool {
	for i, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || '9' < c) {
			return false
		}
	}
	return s != ""
}

// calls checks what a route says of gRPC.
func (v *validator) calls(path string, m *Match) {
	if m.GRPC == "" {
		return
	}
	at := Key(path, "grpc")
	if _, near, err := parseCalls(m.GRPC); err != nil {
		v.add(at, m.GRPC, near, fmt.Sprintf("%q: %s", m.GRPC, err.Error()))
	}
	if m.Path != "" {
		v.add(Key(path, "path"), m.Path, "", "grpc says which path: leave it out")
	}
	if len(m.Methods) > 0 {
		v.add(Key(path, "methods"), m.Methods[0], "", "a gRPC call is always a POST: leave methods out")
	}
}

// checkGRPC is the first word of a check that asks a gRPC server.
const checkGRPC = "grpc"

// GRPC reports whether a probe asks by grpc.health.v1, and for which service; "": for the server
// as a whole.
func (h Health) GRPC() (service string, ok bool) {
	word, service, _ := strings.Cut(h.Check, " ")
	return strings.TrimLeft(service, " "), word == checkGRPC
}

// asksGRPC checks a check that asks a gRPC server: what it sends and what passes is given.
func (v *validator) asksGRPC(path string, h *Health, service string) {
	if service != "" && !isServiceName(service) {
		near := ""
		if name, _, _ := strings.Cut(strings.TrimPrefix(service, "/"), "/"); isServiceName(name) {
			near = checkGRPC + " " + name
		}
		v.add(Key(path, "check"), h.Check, near, fmt.Sprintf("%q is not the name of a gRPC service, as in grpc shop.Cart", service))
	}
	v.given(path, h, "a check of gRPC passes by the answer SERVING alone: leave it out", "expect", "match")
}

// needsHTTP2 finds the endpoints in the list of a service that are spoken to with HTTP/1.1, by
// which no gRPC server answers. what needs it: a route, or a check. Those of sources are not known
// yet.
func (v *validator) needsHTTP2(path, what string, s *Service) {
	if s.Protocol == "http2" || v.told[path] {
		return
	}
	for i, e := range s.Endpoints {
		at := Key(Index(Key(path, "endpoints"), i), "url")
		switch spec, _, err := e.Parse(); {
		case err != nil || spec.Scheme == "h2c" || spec.Scheme == "https" && s.Protocol == "auto":
			continue
		case spec.Scheme == "http" && strings.HasPrefix(e.URL, "http://"):
			v.add(at, e.URL, "h2c"+strings.TrimPrefix(e.URL, "http"), what+" needs HTTP/2, and this endpoint is spoken to with HTTP/1.1")
		default:
			v.add(Key(path, "protocol"), s.Protocol, "http2", what+" needs HTTP/2, and "+e.URL+" is spoken to with HTTP/1.1")
		}
		if v.told == nil {
			v.told = make(map[string]bool)
		}
		v.told[path] = true
		return
	}
}
