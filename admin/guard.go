package admin

// The guard in front of every request. Each rule answers an attack that hit another proxy:
//
//	Host must be ours                a web page whose name resolves to 127.0.0.1 (DNS rebinding)
//	a token, where there are tokens  anybody else on the network
//	GET changes nothing              <img src="http://127.0.0.1:9900/…">
//	no foreign Origin, no CORS       fetch() of another page, with no-cors too
//	Poise-Admin: 1 and JSON          a form, and most server-side request forgery
//	If-Match: the generation         a change that was decided on another state
//
// It also gives the page's answers the headers that keep scripts of others out of it.

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// field is the header field that a change needs: neither a form nor a simple request of another
// page's script can send it.
const field = "Poise-Admin"

// policy is the page's Content-Security-Policy.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// A guard lets those requests pass that may.
type guard struct {
	next   http.Handler
	hosts  []string
	tokens []token
	cross  *http.CrossOriginProtection
}

// token is a Token whose secret is kept as its hash, so that comparing takes the same time
// whatever is compared.
type token struct {
	Client
	sum [sha256.Size]byte
}

// A Client is the one that a request comes from, as far as its token says.
type Client struct {
	Name string // "" without tokens
	Role Role
}

func newGuard(o Options, next http.Handler) *guard {
	g := &guard{next: next, cross: http.NewCrossOriginProtection()}
	for _, h := range o.Hosts {
		g.hosts = append(g.hosts, strings.ToLower(h))
	}
	for _, t := range o.Tokens {
		g.tokens = append(g.tokens, token{Client{t.Name, t.Role}, sha256.Sum256([]byte(t.Secret))})
	}
	return g
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if status, why := g.refusal(r); why != "" {
		refuse(w, status, why)
		return
	}
	if open(r) { // the page and probes of readiness hold no secret
		g.next.ServeHTTP(w, r)
		return
	}
	client, ok := g.client(r)
	if !ok {
		h.Set("WWW-Authenticate", `Bearer realm="poise"`)
		refuse(w, http.StatusUnauthorized, "a token is needed: Authorization: Bearer …, one of admin.tokens")
		return
	}
	if changes(r) && r.URL.Path != "/api/v1/explain" && client.Role != Operate {
		refuse(w, http.StatusForbidden, "the role of this token is view: a change needs operate")
		return
	}
	g.next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), clientKey{}, client)))
}

type clientKey struct{}

// clientOf is the client of a request that has passed the guard.
func clientOf(r *http.Request) Client {
	c, _ := r.Context().Value(clientKey{}).(Client)
	return c
}

// changes reports whether a request may change state, or tells secrets of the process.
func changes(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead || strings.HasPrefix(r.URL.Path, "/debug/")
}

// open reports whether a request needs no token: the page itself, which asks for one, and what a
// kubelet asks.
func open(r *http.Request) bool {
	return !changes(r) && !strings.HasPrefix(r.URL.Path, "/api/") && r.URL.Path != "/metrics"
}

// refusal says why a request may not pass, whoever sent it; "": it may.
func (g *guard) refusal(r *http.Request) (status int, why string) {
	if !g.ours(r.Host) {
		return http.StatusForbidden, "the Host " + clip(r.Host) + " is none of this listener: add it to admin.hosts"
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case r.Header.Get("Sec-Fetch-Mode") == "no-cors" && site != "same-origin" && site != "none" && site != "":
		return http.StatusForbidden, "a request of another page, without its permission to read"
	case r.Header.Get("Origin") == "null":
		return http.StatusForbidden, "a request of a page without an origin"
	}
	if !sameOrigin(r) {
		return http.StatusForbidden, "a request of another page: " + clip(r.Header.Get("Origin"))
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return 0, ""
	}
	if err := g.cross.Check(r); err != nil {
		return http.StatusForbidden, "a request of another page: " + err.Error()
	}
	if r.Header.Get(field) != "1" {
		return http.StatusForbidden, "a change needs the header field " + field + ": 1"
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" && r.Method != http.MethodDelete {
		return http.StatusUnsupportedMediaType, "a change needs Content-Type: application/json"
	}
	return 0, ""
}

// sameOrigin reports whether a request has no Origin, or that of the host it asks.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	_, host, found := strings.Cut(origin, "://")
	return found && strings.EqualFold(host, r.Host)
}

// ours reports whether a Host is one of loopback or of Options.Hosts.
func (g *guard) ours(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") || slices.Contains(g.hosts, name) {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback()
}

// client finds the client of a token. Without tokens every request is one of an operator.
func (g *guard) client(r *http.Request) (c Client, ok bool) {
	if len(g.tokens) == 0 {
		return Client{Role: Operate}, true
	}
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(secret)))
	for i := range g.tokens { // all of them, so that the time says nothing
		if t := &g.tokens[i]; subtle.ConstantTimeCompare(t.sum[:], sum[:]) == 1 && strings.EqualFold(scheme, "Bearer") {
			c, ok = t.Client, true
		}
	}
	return c, ok
}

// clip makes a text that a client sent fit for an answer.
func clip(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strings.ToValidUTF8(s, "")
}
