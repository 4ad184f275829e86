package poise

// Overrides: what an operator says about an endpoint by hand, beside its source and its health. See
// docs/life-of-an-endpoint.md for what each kind does.

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/nearest"
	"github.com/poise-lb/poise/internal/service"
)

// Errors of Override, RemoveOverride and History, which wrap them: errors.Is finds them. Any other
// error is a mistake in the request.
var (
	ErrUnknownService  = errors.New("no such service")
	ErrUnknownEndpoint = errors.New("no such endpoint")
	ErrNoOverride      = errors.New("no such override")
)

// Bounds of what an operator says, in bytes.
const (
	whoMax = 200
	whyMax = 500
	// weightMax is the largest weight of a configuration.
	weightMax = 1000
)

// undrain is the kind of an OverrideRequest that removes an override.
const undrain = "undrain"

// An OverrideRequest is what an operator wants of an endpoint.
type OverrideRequest struct {
	Service string `json:"service"` // its name
	// Endpoint is its ID or its label, as the status shows them; or its URL or its address, if only
	// one endpoint of the service has that.
	Endpoint string `json:"endpoint"`
	// Kind is one of:
	//
	//	drain    no new requests; attempts under way end, probes go on. Undrain ends it
	//	undrain  ends drain; an error if it is not drained so
	//	eject    out of rotation whatever probes and attempts say; panic mode and the last
	//	         resort do not use it. Admit ends it, or its removal
	//	admit    healthy at once, the breaker closed; later verdicts count again
	//	weight   another weight than the source's
	Kind string `json:"kind"`
	// Weight is for the kind weight only: above 0, at most 1000; also a fraction.
	Weight float64 `json:"weight,omitempty"`
	Who    string  `json:"who,omitempty"` // the operator; at most 200 bytes
	Why    string  `json:"why,omitempty"` // for people; at most 500 bytes
	// Until is when drain, eject or weight end by themselves; zero: when they are removed.
	Until time.Time `json:"until,omitzero"`
}

// An Override is what an operator has said about an endpoint.
type Override struct {
	Service  string    `json:"service"`
	Endpoint string    `json:"endpoint"` // its ID
	Kind     string    `json:"kind"`     // drain, eject or weight; admit in the result of that only
	Weight   float64   `json:"weight,omitempty"`
	Who      string    `json:"who,omitempty"`
	Why      string    `json:"why,omitempty"`
	Made     time.Time `json:"made"`
	Until    time.Time `json:"until,omitzero"` // zero: until it is removed
	// Absent: the service does not have the endpoint now. The override waits for it.
	Absent bool `json:"absent,omitempty"`
}

// Override does what the request says. For undrain the result is the override that it has ended.
//
// An override belongs to the identity of its endpoint: it outlives Apply, and an endpoint that
// leaves and comes back. It ends by its end, by its removal, by another one (drain and eject
// replace each other), or with its service; each is a line of the log. It is not kept when the
// process ends.
func (p *Proxy) Override(r OverrideRequest) (Override, error) {
	if err := r.check(); err != nil {
		return Override{}, err
	}
	if r.Kind == undrain {
		return p.remove(r.Service, r.Endpoint, endpoint.Drain, r.Who)
	}
	kind, _ := endpoint.ParseOverrideKind(r.Kind)
	svc, id, err := p.find(r.Service, r.Endpoint)
	if err != nil {
		return Override{}, err
	}
	o, err := svc.Override(endpoint.Override{
		Endpoint: id, Kind: kind, Weight: r.Weight, Who: oneLine(r.Who), Why: oneLine(r.Why), Until: p.server.Instant(r.Until),
	})
	switch {
	case errors.Is(err, service.ErrNoEndpoint): // it has gone since find
		return Override{}, fmt.Errorf("%w %q in service %q", ErrUnknownEndpoint, r.Endpoint, r.Service)
	case err != nil:
		return Override{}, err
	}
	return p.override(r.Service, o), nil
}

// RemoveOverride ends an override of that kind (drain, eject, weight). who is for the log. The
// endpoint is found as that of an OverrideRequest.
func (p *Proxy) RemoveOverride(service, endpointID, kind, who string) error {
	k, ok := endpoint.ParseOverrideKind(kind)
	if !ok || k == endpoint.Admit {
		return unknownKind(kind, []string{"drain", "eject", "weight"})
	}
	_, err := p.remove(service, endpointID, k, who)
	return err
}

// Overrides lists what is in force, by service and endpoint.
func (p *Proxy) Overrides() (all []Override) {
	for _, svc := range p.server.Core().Services() {
		for _, o := range svc.Overrides() {
			all = append(all, p.override(svc.Name(), o))
		}
	}
	return all
}

// remove is RemoveOverride.
func (p *Proxy) remove(name, text string, k endpoint.OverrideKind, who string) (Override, error) {
	svc, id, err := p.find(name, text)
	if err != nil {
		return Override{}, err
	}
	o, err := svc.RemoveOverride(id, k, oneLine(who))
	if err != nil {
		return Override{}, fmt.Errorf("%w: no operator has set %q for %s in service %q", ErrNoOverride, k, id, name)
	}
	return p.override(name, o), nil
}

// override is o for people.
func (p *Proxy) override(service string, o endpoint.Override) Override {
	weight := o.Weight
	if o.Kind != endpoint.Weigh {
		weight = 0
	}
	return Override{
		Service: service, Endpoint: o.Endpoint.String(), Kind: o.Kind.String(), Weight: weight,
		Who: o.Who, Why: o.Why, Made: p.server.Time(o.Made), Until: p.server.Time(o.Until), Absent: o.Absent,
	}
}

// check finds the mistakes of a request that are known without a service.
func (r *OverrideRequest) check() error {
	kind, ok := endpoint.ParseOverrideKind(r.Kind)
	acts := r.Kind == undrain || kind == endpoint.Admit
	switch {
	case !ok && r.Kind != undrain:
		return unknownKind(r.Kind, append(endpoint.OverrideKinds(), undrain))
	case ok && kind == endpoint.Weigh && r.Weight == 0:
		return errors.New("weight 0 is none: a weight is above 0; drain the endpoint so that it gets no new requests")
	case ok && kind == endpoint.Weigh && !(r.Weight > 0 && r.Weight <= weightMax && !math.IsInf(1/r.Weight, 0)):
		return fmt.Errorf("weight %g is out of bounds: above 0, at most %d", r.Weight, weightMax)
	case (!ok || kind != endpoint.Weigh) && r.Weight != 0:
		return fmt.Errorf("%s has no weight: leave it out, or say weight", r.Kind)
	case acts && !r.Until.IsZero():
		return fmt.Errorf("%s has no end, as it leaves nothing in force: leave it out", r.Kind)
	case !r.Until.IsZero() && !r.Until.After(time.Now()):
		return fmt.Errorf("the end %s has passed", r.Until.Format(time.RFC3339))
	case len(r.Who) > whoMax || len(r.Why) > whyMax:
		return fmt.Errorf("who or why is too long: at most %d and %d bytes", whoMax, whyMax)
	case !utf8.ValidString(r.Who) || !utf8.ValidString(r.Why):
		return errors.New("who or why is no text in UTF-8")
	}
	return nil
}

// unknownKind is the error of a kind that is none of valid.
func unknownKind(kind string, valid []string) error {
	return fmt.Errorf("no such kind of override %q%s", kind, meant(kind, valid))
}

// meant is the end of an error: the nearest word, or some of those that are valid.
func meant(got string, valid []string) string {
	const most = 5
	if near := nearest.Word(got, valid); near != "" {
		return fmt.Sprintf(": did you mean %q?", near)
	}
	switch n := len(valid); {
	case n == 0:
		return ": there is none"
	case n > most:
		return fmt.Sprintf(": there are %s and %d more", strings.Join(valid[:most], ", "), n-most)
	}
	return ": there are " + strings.Join(valid, ", ")
}

// oneLine is text with spaces for what could forge a line of a log or of a file.
func oneLine(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text))
}

// find returns the service of that name and the endpoint that text means: one that it has, or one
// that has an override.
func (p *Proxy) find(name, text string) (*service.Service, endpoint.ID, error) {
	svc, err := p.service(name)
	if err != nil {
		return nil, endpoint.ID{}, err
	}
	var ids []endpoint.ID
	for _, e := range svc.Snapshot() {
		ids = append(ids, e.Spec.ID)
	}
	for _, o := range svc.Overrides() {
		if o.Absent {
			ids = append(ids, o.Endpoint)
		}
	}
	id, err := choose(text, ids)
	if err != nil {
		err = fmt.Errorf("%w in service %q%w", ErrUnknownEndpoint, name, err)
	}
	return svc, id, err
}

// service finds a service by its name.
func (p *Proxy) service(name string) (*service.Service, error) {
	services := p.server.Core().Services()
	i := slices.IndexFunc(services, func(s *service.Service) bool { return s.Name() == name })
	if i >= 0 {
		return services[i], nil
	}
	var names []string
	for _, s := range services {
		names = append(names, s.Name())
	}
	return nil, fmt.Errorf("%w %q%s", ErrUnknownService, name, meant(name, names))
}

// choose returns the ID that text means: by its whole form or its label, or by URL or address if only
// one has that. The error is the end of a sentence.
func choose(text string, ids []endpoint.ID) (endpoint.ID, error) {
	slices.SortFunc(ids, endpoint.ID.Compare)
	ids = slices.Compact(ids)
	var found []endpoint.ID
	var words []string
	for _, id := range ids {
		words = append(words, id.String())
		if id.String() == text || service.Label(id) == text { // a label is of one endpoint
			return id, nil
		}
		if id.Address == text || id.Scheme+"://"+id.Address == text {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return endpoint.ID{}, fmt.Errorf(": %q%s", text, meant(text, words))
	}
	return endpoint.ID{}, fmt.Errorf(": %q is the address of %d endpoints: name one of them, as %q", text, len(found), found[0].String())
}
