// Package admin is the operator's side of a proxy over HTTP: its state as JSON, its events as a
// stream, its metrics, and a page that shows them. A program mounts Handler on a listener of its
// own; poise run does so for `admin` in the configuration.
//
//	GET  /                     the page
//	GET  /api/v1/status        totals, generation, what is wrong now
//	GET  /api/v1/services      services with their endpoints; …/services/{service} is one of them,
//	                           …/services/{service}/keys how the keys of its hashing are spread
//	GET  /api/v1/routes        routes with their counters
//	GET  /api/v1/events        what has happened, the latest 1,024
//	GET  /api/v1/config        the effective configuration, and where each value is from
//	POST /api/v1/explain       what would become of a request; …/send sends it, through the proxy
//	POST /api/v1/plan          what another configuration would change; …/apply puts it in force
//	POST /api/v1/upgrade       another process takes the place of this one
//	     …/endpoints/{endpoint}/override   POST and DELETE: drain, eject, weight, admit
//	GET  /api/v1/stream        all that as it happens (Server-Sent Events)
//	GET  /metrics /healthz /readyz
//
// openapi.yaml describes all of it, and a test holds the handlers to it. Every request passes the
// guard (guard.go) first: nothing here may be reached from a web page of somebody else.
//
// Status is the same without anything that tells more than metrics and readiness.
package admin

import (
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/poise-lb/poise"
)

// A Role is what a client of the API may do.
type Role string

// The roles. Operate includes View.
const (
	View    Role = "view"    // read everything
	Operate Role = "operate" // change state, too
)

// A Token is a secret that a client sends as Authorization: Bearer.
type Token struct {
	Name   string // stands in events and in the log
	Secret string // at least 16 bytes
	Role   Role
}

// Options say who may do what. The zero value is for a listener on loopback or a unix socket:
// every client is trusted with everything, provided that it is no web page.
type Options struct {
	// Hosts are the names, beside those of loopback, by which the API may be asked for: what the
	// field Host says, without a port. The address of the listener should be one of them.
	Hosts []string
	// Tokens are those that are accepted. None: requests need no token.
	Tokens []Token
	// Profiles serves net/http/pprof at /debug/pprof, for the role Operate.
	Profiles bool
	// Place says where a value of the configuration is written, as "poise.yaml:22:14"; "": nowhere,
	// so that it has its default. The path is as in config.Value. Nil: it is not known.
	Place func(path string) string
	// Apply puts a configuration in force that a client has sent, if the generation in force is that
	// of the decision, and else returns an error that wraps ErrStale; nil: Proxy.Apply. A program that
	// opens the listeners of Config.Listen does that here, too.
	Apply func(c poise.Config, d Decision) error
	// Adapt returns what of a configuration that a client has sent is to take effect, with notes for
	// its plan about the rest; nil: all of it.
	Adapt func(c poise.Config) (adapted poise.Config, notes []string)
	// Upgrade puts another process in the place of this one and returns its number when it serves;
	// an error says why it was given up, and then this one goes on. Several goroutines may call
	// it; who is for the log. When ctx is done it may give up what
	// has not begun. Nil: there is no upgrade over the API.
	Upgrade Upgrader
	// Origin says for people where the configuration is from, as "poise.yaml"; "": by the program.
	Origin string
}

// Handler returns the operator's side of p. It may be mounted on a listener of its own only, at
// the root: its paths are fixed, and it does not share a name with what clients ask for.
func Handler(p *poise.Proxy, o Options) http.Handler {
	a := &api{proxy: p, options: o}
	a.hub.init(p)
	mux := http.NewServeMux()
	for pattern, handler := range a.handlers() {
		mux.HandleFunc(pattern, handler)
	}
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "there is nothing at "+r.Method+" "+r.URL.Path+": see /api/v1/openapi.yaml")
	})
	mux.HandleFunc("/", page)
	health(mux, p)
	if o.Profiles {
		profiles(mux)
	}
	return newGuard(o, mux)
}

// handlers are those of the API by their patterns; openapi.yaml describes each.
func (a *api) handlers() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /api/v1/status":             a.status,
		"GET /api/v1/services":           a.services,
		"GET /api/v1/services/{service}": a.service,
		"GET /api/v1/routes":             a.routes,
		"GET /api/v1/events":             a.events,
		"GET /api/v1/stream":             a.stream,
		"GET /api/v1/config":             a.config,
		"GET /api/v1/overrides":          a.overrides,
		"POST /api/v1/explain":           a.explain,
		"POST /api/v1/send":              a.send,
		"POST /api/v1/plan":              a.plan,
		"POST /api/v1/apply":             a.apply,
		"POST /api/v1/upgrade":           a.upgrade,
		"GET /api/v1/openapi.yaml":       a.description,

		"GET /api/v1/services/{service}/keys":                             a.keys,
		"POST /api/v1/services/{service}/endpoints/{endpoint}/override":   a.override,
		"DELETE /api/v1/services/{service}/endpoints/{endpoint}/override": a.removeOverride,
	}
}

// Status returns /healthz, /readyz and /metrics of p alone, for a listener that others may reach:
// nothing can be changed there, and no secret is told.
func Status(p *poise.Proxy) http.Handler {
	mux := http.NewServeMux()
	health(mux, p)
	return mux
}

// An api has the handlers.
type api struct {
	proxy   *poise.Proxy
	options Options
	hub     hub

	applying sync.Mutex           // held from the check of a proposal until it is in force
	sent     atomic.Pointer[sent] // the latest configuration that came over the API; nil: none has
	sending  atomic.Int32         // requests of send that are under way
}

// A Problem is an answer that says no, in JSON.
type Problem struct {
	Status  int    `json:"status"`
	Message string `json:"message"`
	Near    string `json:"near,omitempty"` // the nearest name that there is
}

// refuse answers with a Problem.
func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, Problem{Status: status, Message: message})
}

// answer writes v as JSON. What it says is of this moment: it is not to be kept.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // a client that has left is no error of ours
}
