package plan

// What becomes of the endpoints of a service, by identity. It mirrors service.reconcile and
// liveService.configure of internal/core:
//
//	in both sets           kept: connections, latency, breaker; the verdict of probes too, unless
//	                       the check is another one (ProbeID)
//	new                    probed, if there is a check and it takes requests (Out)
//	takes requests again   probed
//	not named any more     drains
//	tls is another one     idle connections are closed, since they were verified otherwise

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/compile"
)

// counted is what pools of connections say.
type counted interface{ Counts() (open, idle int64) }

// A member is an endpoint that a service has now.
type member struct {
	spec     endpoint.Spec
	idle     int64 // idle connections
	inFlight int64
}

// members are those of a service now: of the running one, or of the static list. named: hosts of
// the list are not resolved.
func (m *maker) members(name string) (out []member, named bool) {
	s, had := m.old.Config.Services[name]
	if !had {
		return nil, false
	}
	feed, why, _ := compile.Listed("", s) // it was valid
	named = why != "" && s.Source == nil
	if m.state.Live == nil || named {
		for _, spec := range sorted(feed.Static) {
			out = append(out, member{spec: spec})
		}
		return out, named
	}
	for _, e := range m.state.Live(name) {
		if e.State == health.Draining {
			continue
		}
		one := member{spec: *e.Spec, inFlight: e.InFlight}
		if pool, ok := e.Attached.(counted); ok {
			_, one.idle = pool.Counts()
		}
		out = append(out, one)
	}
	return out, false
}

// service compares one service. has: the new configuration has it.
func (m *maker) service(name string) (out Service, changed bool) {
	was, had := m.old.Config.Services[name]
	is, has := m.next.Config.Services[name]
	out = Service{Change: Change{Name: name, Key: config.Key("services", name)}}
	before, named := m.members(name)
	after, known := m.specsOf(name, before, named, &out)
	switch {
	case !had:
		out.Do, out.About = Add, aboutService(&is)
	case !has:
		out.Do, out.About, known = Remove, aboutService(&was), true
	default:
		out.Do, out.Edits = Modify, diff(was, is, "endpoints")
		if a, b := m.old.Services[name], m.next.Services[name]; a.TLS.Roots != b.TLS.Roots && reflect.DeepEqual(was.TLS, is.TLS) {
			out.Edits = append(out.Edits, Edit{Key: "tls.ca", Old: was.TLS.CA, New: is.TLS.CA + " with other content"})
		}
	}
	if known {
		m.compare(&out, before, after)
		if had && has {
			out.Keys = keysMoved(&was.Policy, &is.Policy, specsIn(before), after)
		}
	} else if had && has {
		out.Kept = len(before)
	}
	m.add(&out)
	changed = out.Do != Modify || len(out.Edits)+len(out.Added)+len(out.Removed)+len(out.Edited) > 0 || out.Source
	return out, changed
}

// specsOf is the set that a service will have; false: only its source knows. It sets out.Source.
func (m *maker) specsOf(name string, before []member, named bool, out *Service) ([]endpoint.Spec, bool) {
	was, had := m.old.Config.Services[name]
	is, has := m.next.Config.Services[name]
	if !has {
		return nil, true
	}
	same := had && m.old.Config.Snapshot == m.next.Config.Snapshot && compile.SameSource(was.Source, is.Source) && reflect.DeepEqual(was.Endpoints, is.Endpoints)
	if same {
		return specsIn(before), true
	}
	list, why, _ := compile.Listed("", is) // it was compiled
	if is.Source != nil && !listedSource(is.Source) || had && was.Source != nil && !listedSource(was.Source) && why != "" {
		out.Source = had
		return nil, false
	}
	if why != "" && had && !named && len(before) > 0 && m.state.Live != nil {
		out.Source = true // addresses now, names then
		return nil, false
	}
	return sorted(list.Static), true
}

// sorted is a set as a service has it: in the order of the IDs, of which the first counts.
func sorted(list []endpoint.Spec) []endpoint.Spec {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b endpoint.Spec) int { return a.ID.Compare(b.ID) })
	return slices.CompactFunc(out, func(a, b endpoint.Spec) bool { return a.ID == b.ID })
}

// listedSource reports whether a source is a list that never changes.
func listedSource(s *config.Source) bool {
	_, ok := s.Custom.(discovery.Static)
	return ok
}

func specsIn(list []member) []endpoint.Spec {
	out := make([]endpoint.Spec, len(list))
	for i := range list {
		out[i] = list[i].spec
	}
	return out
}

// compare fills in what becomes of endpoints.
func (m *maker) compare(out *Service, before []member, after []endpoint.Spec) {
	anew, secured := m.anew(out.Name), m.secured(out.Name)
	is := m.next.Services[out.Name]
	checked := is != nil && is.Settings.Check != nil
	next := make(map[endpoint.ID]endpoint.Spec)
	for _, spec := range after {
		next[spec.ID] = spec
	}
	for _, e := range before {
		spec, stays := next[e.spec.ID]
		if !stays {
			out.Removed = append(out.Removed, e.spec.ID.String())
			out.Ending += e.inFlight
			out.Idle += e.idle
			continue
		}
		delete(next, e.spec.ID)
		out.Kept++
		if checked && !spec.Out && (anew || e.spec.Out) {
			out.Probed++
		}
		if secured && spec.Scheme == "https" {
			out.Idle += e.idle
		}
		if old, now := aboutSpec(&e.spec), aboutSpec(&spec); old != now {
			out.Edited = append(out.Edited, Edit{Key: spec.ID.String(), Old: old, New: now})
		}
	}
	for _, spec := range after {
		if _, fresh := next[spec.ID]; fresh {
			out.Added = append(out.Added, spec.ID.String())
			if checked && !spec.Out {
				out.Probed++
			}
		}
	}
}

// anew reports whether endpoints that stay begin with a new verdict of probes.
func (m *maker) anew(name string) bool {
	is, was := m.next.Services[name], m.old.Services[name]
	return is != nil && was != nil && is.Settings.Check != nil && (was.Settings.Check == nil || was.Settings.ProbeID != is.Settings.ProbeID)
}

// secured reports whether connections are verified in another way.
func (m *maker) secured(name string) bool {
	is, was := m.next.Services[name], m.old.Services[name]
	return is != nil && was != nil && (is.TLS.Roots != was.TLS.Roots || !reflect.DeepEqual(was.Config.TLS, is.Config.TLS))
}

// aboutSpec is what a source says of an endpoint besides its identity.
func aboutSpec(s *endpoint.Spec) string {
	weight := s.Weight
	if weight <= 0 {
		weight = 1
	}
	text := fmt.Sprintf("weight %g", weight)
	if s.Out {
		text += ", drain"
	}
	if s.Zone != "" {
		text += ", zone " + s.Zone
	}
	if s.Priority != 0 {
		text += fmt.Sprintf(", priority %d", s.Priority)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Metadata)) {
		text += fmt.Sprintf(", %s=%s", key, s.Metadata[key])
	}
	return text
}

// aboutService is a service for people.
func aboutService(s *config.Service) string {
	from := "from a source"
	if s.Source == nil {
		from = fmt.Sprintf("%d endpoints", len(s.Endpoints))
	}
	if s.Policy.Custom != nil {
		return "a custom policy, " + from
	}
	return s.Policy.Type + ", " + from
}

// add sums a service up.
func (m *maker) add(s *Service) {
	t := &m.plan.Totals
	t.Added += len(s.Added)
	t.Removed += len(s.Removed)
	t.Kept += s.Kept
	t.Probed += s.Probed
	t.Idle += s.Idle
	t.Ending += s.Ending
}
