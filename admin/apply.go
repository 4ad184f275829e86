package admin

// A new configuration over the API: first a plan, which says what it would change, then apply with
// the plan's hash, so that what was read is what happens.
//
//	POST plan  {"config": "version: 1\n..."}                    a Plan, with its hash
//	POST apply {"config": "version: 1\n...", "hash": "…"}       If-Match: "<generation>"
//
// The text is read as a file is, but ${…} is not replaced: it would show files and variables of the
// process to a client of the API. What is applied here is not written to the file: the next reload
// of that takes its place.

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
		p, err = a.proxy.Plan(c)
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
	if !a.current(w, r) {
		return
	}
	c, _, ok := a.proposed(w, r)
	if !ok {
		return
	}
	apply := a.options.Apply
	if apply == nil {
		apply = a.proxy.Apply
	}
	if err := apply(c); err != nil {
		refuseConfig(w, err)
		return
	}
	s := a.proxy.Status()
	answer(w, http.StatusOK, a.overview(&s, clientOf(r)))
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
