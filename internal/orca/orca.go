// Package orca reads what an endpoint says of its load in the fields of a response: an
// OrcaLoadReport of xds.data.orca.v3 ("Open Request Cost Aggregation"), which Envoy and gRPC know.
// It comes in four forms:
//
//	endpoint-load-metrics: TEXT cpu_utilization=0.3, named_metrics.in_flight=12
//	endpoint-load-metrics: JSON {"cpu_utilization": 0.3, "named_metrics": {"in_flight": 12}}
//	endpoint-load-metrics: BIN CTMzMzMzM9M/        the message itself, in base64
//	endpoint-load-metrics-bin: CTMzMzMzM9M/        likewise; the form of gRPC, in its trailers
//
// TEXT is what a value without one of these words is, and -json is a field as well. Of a report two
// things are used: application_utilization, or cpu_utilization where that is not said, and the
// named metric in_flight, requests_in_flight or rif: the requests that the endpoint has in flight.
// All else is skipped.
//
// The endpoint is no friend: a number that is negative or none, a form that is broken or a value of
// more than 2 KiB refuses the report as a whole. Nothing is allocated.
package orca

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/message"
)

// The names of the fields. What follows the first of them says which form a value has.
const (
	name     = "endpoint-load-metrics"
	nameBin  = name + "-bin"
	nameJSON = name + "-json"
)

// valueMost is how long a value may be; a report of a few metrics has a tenth of that.
const valueMost = 2 << 10

// form is how a value is written.
type form uint8

const (
	none form = iota
	text
	json
	bin
)

// Take reads the load report in the fields of a response, or in its trailers, and marks the fields
// as dropped: they are for this proxy. found: there was one; ok: it could be read. Of several the
// last one counts.
func Take(fields []message.Field) (r endpoint.Report, found, ok bool) {
	for i := range fields {
		f := &fields[i]
		if f.Kind != message.Other || len(f.Name) < len(name) || len(f.Name) > len(nameJSON) || f.Drop {
			continue
		}
		if how := formOf(f.Name); how != none {
			f.Drop, found = true, true
			r, ok = read(how, f.Value)
		}
	}
	return r, found, ok
}

// formOf is the form of a field by its name; none: it is another field.
func formOf(field []byte) form {
	switch {
	case message.EqualFold(field, name):
		return text
	case message.EqualFold(field, nameBin):
		return bin
	case message.EqualFold(field, nameJSON):
		return json
	}
	return none
}

// read reads a value.
func read(how form, v []byte) (endpoint.Report, bool) {
	if how == text {
		if word, rest, ok := bytes.Cut(v, blank); ok {
			switch {
			case message.EqualFold(word, "TEXT"):
				v = rest
			case message.EqualFold(word, "JSON"):
				how, v = json, rest
			case message.EqualFold(word, "BIN"):
				how, v = bin, rest
			}
		}
	}
	if v = message.TrimSpace(v); len(v) > valueMost {
		return endpoint.Report{}, false
	}
	m := metrics{application: unsaid, cpu: unsaid, inFlight: unsaid}
	var ok bool
	switch how {
	case text:
		ok = m.text(v)
	case json:
		ok = m.json(v)
	case bin:
		ok = m.base64(v)
	}
	return m.report(), ok
}

var blank = []byte(" ")

// unsaid is the value of a metric that a report does not have.
const unsaid = -1

// metrics are those that are used.
type metrics struct {
	application, cpu float64 // utilisation, where 1 is all
	inFlight         float64 // requests
}

// report makes what policies use of it. A utilisation of 0 is what a message has that does not say
// it; so an application's counts only above 0, and an idle processor says 0.
func (m *metrics) report() endpoint.Report {
	r := endpoint.Report{InFlight: -1, Utilization: m.cpu}
	if m.application > 0 {
		r.Utilization = m.application
	}
	if m.inFlight >= 0 {
		r.InFlight = int64(min(m.inFlight, math.MaxInt32))
	}
	return r
}

// set takes over the metric called key, unless it is of no use; false: its value is refused.
func (m *metrics) set(key []byte, value float64) bool {
	switch string(key) {
	case "application_utilization", "applicationUtilization":
		m.application = value
	case "cpu_utilization", "cpuUtilization":
		m.cpu = value
	default:
		return true
	}
	return value >= 0 && value <= math.MaxFloat64 // not of NaN
}

// name takes over the named metric called key, whose value may be any number unless it is used.
func (m *metrics) name(key []byte, value float64) bool {
	switch string(key) {
	case "in_flight", "requests_in_flight", "rif":
		m.inFlight = value
		return value >= 0 && value <= math.MaxFloat64
	}
	return true
}

// text reads pairs, separated by commas, of a name and a number, with = or, as Envoy has it, a colon
// between them.
func (m *metrics) text(v []byte) bool {
	for len(v) > 0 {
		var pair []byte
		pair, v, _ = bytes.Cut(v, comma)
		if pair = message.TrimSpace(pair); len(pair) == 0 {
			continue
		}
		at := bytes.IndexAny(pair, "=:")
		if at <= 0 {
			return false
		}
		x, ok := number(message.TrimSpace(pair[at+1:]))
		key := message.TrimSpace(pair[:at])
		if named, isNamed := bytes.CutPrefix(key, prefix); ok && isNamed {
			ok = m.name(named, x)
		} else if ok {
			ok = m.set(key, x)
		}
		if !ok {
			return false
		}
	}
	return true
}

var (
	comma  = []byte(",")
	prefix = []byte("named_metrics.")
)

// numberMost is how long a number may be.
const numberMost = 32

// number reads one; what is none, infinite included, is not ok.
func number(v []byte) (x float64, ok bool) {
	if len(v) == 0 || len(v) > numberMost || v[len(v)-1] > '9' { // "inf", "NaN" and the like
		return 0, false
	}
	x, err := strconv.ParseFloat(string(v), 64)
	return x, err == nil && !math.IsInf(x, 0)
}

// base64 reads the message itself, whose base64 may lack its end, as gRPC sends it.
func (m *metrics) base64(v []byte) bool {
	v = bytes.TrimRight(v, "=")
	var room [valueMost * 3 / 4]byte
	if base64.RawStdEncoding.DecodedLen(len(v)) > len(room) {
		return false
	}
	n, err := base64.RawStdEncoding.Decode(room[:], v)
	return err == nil && m.proto(room[:n])
}
