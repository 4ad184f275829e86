package admin

// What an operator changes: overrides of endpoints. Each change names the generation that it was
// decided on, so that one that was decided on another configuration is refused; each is a line of
// the log, with the name of the token that made it.

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise"
)

// bodyMax bounds what a client sends.
const bodyMax = 64 << 10

// A Change is what is asked of an endpoint.
type Change struct {
	Kind   string  `json:"kind"`             // drain, undrain, eject, admit or weight
	Weight float64 `json:"weight,omitempty"` // of the kind weight
	For    string  `json:"for,omitempty"`    // how long, as 30m; "": until it is removed
	Why    string  `json:"why,omitempty"`    // for people
}

func (a *api) overrides(w http.ResponseWriter, _ *http.Request) {
	all := a.proxy.Overrides()
	if all == nil {
		all = []poise.Override{}
	}
	answer(w, http.StatusOK, map[string]any{"overrides": all, "yaml": poise.OverridesYAML(all)})
}

func (a *api) override(w http.ResponseWriter, r *http.Request) {
	var c Change
	if !a.current(w, r) || !decode(w, r, &c) {
		return
	}
	ask := poise.OverrideRequest{
		Service: r.PathValue("service"), Endpoint: r.PathValue("endpoint"), Kind: c.Kind, Weight: c.Weight, Why: c.Why, Who: who(r),
	}
	if c.For != "" {
		d, err := time.ParseDuration(c.For)
		if err != nil || d <= 0 {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("for: %q is no duration, as 30m is", clip(c.For)))
			return
		}
		ask.Until = time.Now().Add(d)
	}
	o, err := a.proxy.Override(ask)
	if err != nil {
		refuseChange(w, err)
		return
	}
	answer(w, http.StatusOK, o)
}

// removeOverride ends the override of ?kind, drain if it is left out.
func (a *api) removeOverride(w http.ResponseWriter, r *http.Request) {
	if !a.current(w, r) {
		return
	}
	kind := r.FormValue("kind")
	if kind == "" {
		kind = "drain"
	}
	if err := a.proxy.RemoveOverride(r.PathValue("service"), r.PathValue("endpoint"), kind, who(r)); err != nil {
		refuseChange(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// who says who asks, for the log.
func who(r *http.Request) string {
	if c := clientOf(r); c.Name != "" {
		return c.Name
	}
	return "admin"
}

// current reports whether a change was decided on the generation in force, which If-Match names;
// else it has answered.
func (a *api) current(w http.ResponseWriter, r *http.Request) bool {
	tag := r.Header.Get("If-Match")
	if tag == "" {
		refuse(w, http.StatusPreconditionRequired, `a change needs If-Match: "<generation>", that of /api/v1/status`)
		return false
	}
	n, err := strconv.ParseUint(strings.Trim(tag, `"`), 10, 64)
	if now := a.proxy.Generation(); err != nil || n != now {
		refuse(w, http.StatusPreconditionFailed, fmt.Sprintf("the configuration has changed meanwhile: its generation is %d, If-Match says %s", now, clip(tag)))
		return false
	}
	return true
}

// decode reads the JSON of a request into v; else it has answered.
func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	most := int64(bodyMax)
	if _, ok := v.(*Proposal); ok {
		most = configMax
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		refuse(w, http.StatusBadRequest, "the content is not what is expected here: "+strings.TrimPrefix(err.Error(), "json: "))
		return false
	}
	return true
}

// refuseChange answers with the error of an override.
func refuseChange(w http.ResponseWriter, err error) {
	status := http.StatusBadRequest
	if errors.Is(err, poise.ErrUnknownService) || errors.Is(err, poise.ErrUnknownEndpoint) || errors.Is(err, poise.ErrNoOverride) {
		status = http.StatusNotFound
	}
	refuse(w, status, err.Error())
}

// explain answers what would become of a request. It changes nothing, and so needs no generation;
// it is a POST because a request does not fit into a query.
func (a *api) explain(w http.ResponseWriter, r *http.Request) {
	var q poise.ExplainRequest
	if !decode(w, r, &q) {
		return
	}
	e, err := a.proxy.Explain(q)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if place := a.placer(); place != nil {
		e.Locate(place)
	}
	answer(w, http.StatusOK, e)
}
