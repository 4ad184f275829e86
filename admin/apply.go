package admin

// A new configuration over the API: first a plan, which says what it would change, then apply with
// the plan's hash, so that what was read is what happens.
//
//	POST plan  {"config": "version: 1\n..."}                    a Plan, with its hash
//	POST apply {"config": "version: 1\n...", "hash": "…"}       If-Match: "<generation>"
//
// The text is read as a file is, but without variables and files of the process, which a client of
// the API may not see: ${…} is a mistake, unless it has a default. What is applied here is not
// written to the file: the next reload of that takes its place.

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
)

// configMax bounds a configuration, in bytes.
const configMax = 16 << 20

// ErrStale is the error of Options.Apply for a configuration that was planned on another generation
// than that in force.
var ErrStale = errors.New("the configuration has changed meanwhile")

// A Decision is what a configuration was decided on, and by whom.
type Decision struct {
	Generation uint64 // in force when it was planned
	Who        string // for the log
}

// A Proposal is a configuration that a client sends.
type Proposal struct {
	Config string `json:"config"`         // as a file has it, in YAML
	Hash   string `json:"hash,omitempty"` // of apply: that of the plan
}

// Mistakes is the answer to a configuration that cannot be used.
type Mistakes struct {
	Problem
	Mistakes []string `json:"mistakes"` // each with line and column
}

func (a *api) plan(w http.ResponseWriter, r *http.Request) {
	if _, p, ok := a.proposed(w, r); ok {
		answer(w, http.StatusOK, p)
	}
}

// proposed reads a proposal and makes its plan; else it has answered.
func (a *api) proposed(w http.ResponseWriter, r *http.Request) (c config.Config, p poise.Plan, ok bool) {
	var q Proposal
	if !decode(w, r, &q) {
		return c, p, false
	}
	c, err := configfile.Parse("config", []byte(q.Config), nil)
	if err == nil {
		var notes []string
		if a.options.Adapt != nil {
			c, notes = a.options.Adapt(c)
		}
		p, err = a.proxy.Plan(c)
		p.Notes = append(p.Notes, notes...)
	}
	if err == nil && r.URL.Path == "/api/v1/apply" && q.Hash != p.Hash {
		refuse(w, http.StatusConflict, fmt.Sprintf("hash: %q is not that of this change, which is %q: something has changed since the plan", clip(q.Hash), p.Hash))
		return c, p, false
	}
	if err != nil {
		refuseConfig(w, err)
	}
	return c, p, err == nil
}

func (a *api) apply(w http.ResponseWriter, r *http.Request) {
	a.applying.Lock()
	defer a.applying.Unlock()
	if !a.current(w, r) {
		return
	}
	c, p, ok := a.proposed(w, r)
	if !ok {
		return
	}
	values := c.Values() // before defaults
	apply := a.options.Apply
	if apply == nil {
		apply = func(c poise.Config, _ Decision) error { return a.proxy.Apply(c) }
	}
	switch err := apply(c, Decision{p.Generation, who(r)}); {
	case errors.Is(err, ErrStale):
		refuse(w, http.StatusPreconditionFailed, fmt.Sprintf("%v: its generation is %d, the plan is for %d", err, a.proxy.Generation(), p.Generation))
		return
	case err != nil:
		refuseConfig(w, err)
		return
	}
	a.sent.Store(newSent(p.Generation+1, values))
	s := a.proxy.Status()
	answer(w, http.StatusOK, a.overview(&s, clientOf(r)))
}

// sentOrigin is where a configuration is from that a client has sent.
const sentOrigin = "the admin API"

// A sent is a configuration that came over the API: no file has its values.
type sent struct {
	generation uint64
	paths      map[string]bool
}

func newSent(generation uint64, values []config.Value) *sent {
	s := &sent{generation, make(map[string]bool, len(values))}
	for _, v := range values {
		s.paths[v.Path] = true
	}
	return s
}

// current reports whether it is in force; s may be nil.
func (s *sent) current(generation uint64) bool { return s != nil && s.generation == generation }

// origin says where the configuration of a generation is from.
func (a *api) origin(generation uint64) string {
	if a.sent.Load().current(generation) {
		return sentOrigin
	}
	return a.options.Origin
}

// placer returns what says where a value of the configuration in force is written: see
// Options.Place. Nil: it is not known.
func (a *api) placer() func(path string) string {
	s := a.sent.Load()
	if !s.current(a.proxy.Generation()) {
		return a.options.Place
	}
	return func(path string) string {
		if s.paths[path] {
			return sentOrigin
		}
		return ""
	}
}

// refuseConfig answers with every mistake of a configuration.
func refuseConfig(w http.ResponseWriter, err error) {
	m := Mistakes{Problem: Problem{Status: http.StatusUnprocessableEntity, Message: "the configuration cannot be used: nothing has changed"}}
	var parsed *configfile.Error
	var built interface{ Problems() []config.Problem }
	switch {
	case errors.As(err, &parsed):
		for _, p := range parsed.Problems {
			m.Mistakes = append(m.Mistakes, p.String())
		}
	case errors.As(err, &built):
		for _, p := range built.Problems() {
			m.Mistakes = append(m.Mistakes, p.String())
		}
	default:
		m.Mistakes = []string{err.Error()}
	}
	m.Mistakes = slices.Compact(m.Mistakes)
	answer(w, m.Status, m)
}
