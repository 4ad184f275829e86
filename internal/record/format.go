package record

// A Format is access_log of the configuration, compiled: how a line looks, which exchanges have
// one, and what is copied of the heads. Records are copied into the ring by exchanges, so they
// copy no more than the format has use for; all text is made by the task that drains the ring.
//
//	combined                     copies User-Agent, Referer and the user of Authorization
//	json, fields: [User-Agent]   copies User-Agent
//	json                         copies nothing of the heads

import (
	"math"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/message"
)

// A Format is made by Compile and not modified afterwards.
type Format struct {
	line  func(f *Format, p *pen, b []byte, l *slot) []byte
	parts []part // of a template
	json  bool   // the template's values are escaped for JSON strings, by
	esc   escaper
	query queryRule

	captures bool // something of the heads is copied
	user     bool // the user of Authorization: Basic
	norm     bool // the path in normal form
	names    []name
	// chosen are the bounds in names of the fields that access_log.fields asks for: those of the
	// request are names[chosen[0]:chosen[1]], those of the response names[chosen[1]:chosen[2]].
	chosen [3]int
	// agent and referer are indices in names, for the formats that have them.
	agent, referer int

	spans     bool   // records become spans, not lines: see spans.go
	samples   bool   // not every exchange has a line
	threshold uint64 // those with a smaller Exchange.Rand have one
	always    config.LogRules
}

// A queryRule is what becomes of a query.
type queryRule uint8

const (
	redactQuery queryRule = iota
	keepQuery
	dropQuery
)

// A name is a field that is copied.
type name struct {
	name     string
	kind     message.Kind // Other: it is compared by name
	response bool         // of the response, else of the request
	secret   bool         // it holds credentials: only that it was there is written
	url      bool         // its query is treated as that of the request
}

// plain is the default: JSON.
var plain = Format{line: (*Format).appendJSON}

// Compile makes a Format of a configuration that is valid. What is not valid has its default:
// config.Validate has said so.
func Compile(c config.AccessLog) *Format {
	f := new(Format)
	switch c.Fields.Query {
	case "keep":
		f.query = keepQuery
	case "drop":
		f.query = dropQuery
	}
	switch c.Format {
	case "", "json":
		f.line = (*Format).appendJSON
	case "ecs":
		f.agent, f.referer = f.field("User-Agent", false), f.field("Referer", false)
		f.line, f.captures = (*Format).appendECS, true
	case "combined":
		f.template(combined)
	default:
		t, _, err := c.Template()
		if err != nil {
			return &plain
		}
		f.template(t)
	}
	f.chosen[0] = len(f.names)
	for _, n := range c.Fields.Request {
		f.add(n, false)
	}
	f.chosen[1] = len(f.names)
	for _, n := range c.Fields.Response {
		f.add(n, true)
	}
	f.chosen[2] = len(f.names)
	f.captures = f.captures || len(f.names) > 0 || f.user
	f.sampling(c.Sample)
	return f
}

// add appends a field to those that are copied, and returns its index.
func (f *Format) add(text string, response bool) int {
	n := name{name: text, kind: message.KindOf([]byte(text)), response: response}
	switch n.kind {
	case message.Authorization, message.ProxyAuthorization, message.Cookie, message.SetCookie:
		n.secret = true
	case message.Referer, message.Location:
		n.url = true
	}
	f.names = append(f.names, n)
	return len(f.names) - 1
}

// field is the index of a field that is copied once, however often the format has it.
func (f *Format) field(text string, response bool) int {
	for i := range f.names {
		if n := &f.names[i]; n.response == response && message.EqualFold([]byte(n.name), text) {
			return i
		}
	}
	return f.add(text, response)
}

func (f *Format) sampling(s config.LogSample) {
	share, err := s.Share()
	if err != nil || share >= 1 {
		return
	}
	f.samples, f.threshold = true, uint64(share*math.MaxUint64)
	f.always, _ = s.Rules()
}

// keeps reports whether an exchange has a line.
func (f *Format) keeps(x *Exchange) bool {
	return x.Rand < f.threshold || ruled(&f.always, x.trace(), x.Duration)
}

// ruled reports whether one of the rules keeps an exchange that took so long.
func ruled(a *config.LogRules, x *Trace, took time.Duration) bool {
	return x.Status >= 0 && x.Status < len(a.Statuses) && a.Statuses[x.Status] ||
		a.Failed && x.Reason != "" || a.Error && x.failed() ||
		a.Retried && x.n > 1 || a.Slower > 0 && took > a.Slower
}

// Captures reports whether exchanges are to copy something of the heads, by Heads. A nil Sink
// asks for nothing.
func (s *Sink) Captures() bool { return s != nil && s.Format != nil && s.Format.captures }

// Samples reports whether Exchange.Rand is needed.
func (s *Sink) Samples() bool { return s != nil && s.Format != nil && s.Format.samples }
