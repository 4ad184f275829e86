package simulate

// A Scenario is what a configuration does not say: the load, how long endpoints work, what
// goes wrong. It is a struct with the tags of package config, so a file has the same rules:
//
//	load: {utilization: 60%, arrivals: poisson}
//	time: 5ms
//	workers: 4
//	endpoints:
//	  - {endpoint: "3", factor: 5}
//	faults:
//	  - {kind: stall, endpoints: ["3"], at: 5s, for: 500ms, every: 2s}
//
// Everything has a default: the zero Scenario is 30 s of a Poisson load that keeps the endpoints
// 60 % busy.

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
)

// A Scenario is what happens in a run. Fill it in by WithDefaults before use.
type Scenario struct {
	Name  string `yaml:"name" doc:"what tables and pages call it"`
	About string `yaml:"about" doc:"a sentence about it"`
	Seed  int    `yaml:"seed" doc:"of all random numbers: the same seed gives the same result" default:"1"`
	Load  Load   `yaml:"load" doc:"which requests come"`
	Time  Time   `yaml:"time" doc:"how long an endpoint works on a request: a mean, or a mapping"`
	// Workers is how many requests an endpoint works on at once; more wait in its queue.
	Workers   int           `yaml:"workers" doc:"requests that an endpoint works on at once; more wait there" default:"4" min:"1" max:"100000"`
	Network   time.Duration `yaml:"network" doc:"from the proxy to an endpoint and back" default:"200us" min:"1ns" max:"1h"`
	Timeout   time.Duration `yaml:"timeout" doc:"after which a client gets 504" default:"60s" min:"1ms"`
	Proxies   int           `yaml:"proxies" doc:"proxies that share the endpoints; each gets an equal part of the load and knows no other" default:"1" min:"1" max:"64"`
	Zones     []string      `yaml:"zones" doc:"zones that the proxies are in, in turn; absent: that of the configuration" example:"[a, b]"`
	WarmUp    time.Duration `yaml:"warm_up" doc:"at the beginning, which the figures leave out" default:"2s" min:"1ns"`
	Endpoints []Server      `yaml:"endpoints" doc:"what is special about some endpoints"`
	Faults    []Fault       `yaml:"faults" doc:"what goes wrong, and when"`
}

// Load says which requests come.
type Load struct {
	// Utilization is the share of what all endpoints of the set can do. Ignored if Rate is given.
	Utilization int           `yaml:"utilization" doc:"percentage of what all endpoints together can do; may be above 100" default:"60" min:"1" max:"1000" unit:"percent"`
	Rate        float64       `yaml:"rate" doc:"requests a second, in place of utilization" max:"10000000"`
	Duration    time.Duration `yaml:"duration" doc:"for which requests come" default:"30s" min:"1ms" max:"24h"`
	Arrivals    string        `yaml:"arrivals" doc:"poisson: at random; burst: groups at random; even: at equal distances" enum:"poisson,burst,even" default:"poisson"`
	Burst       int           `yaml:"burst" doc:"burst: requests of a group" default:"20" min:"2" max:"100000"`
	Keys        int           `yaml:"keys" doc:"different keys, for consistent_hash" default:"10000" min:"1" max:"100000000"`
	// Repeatable is the share of requests with an idempotent method.
	Repeatable int `yaml:"repeatable" doc:"percentage of requests that may be repeated, as GET may" default:"100" min:"1" max:"100" unit:"percent"`
	// High and Low are for a service with overload.priority.
	High  int     `yaml:"high" doc:"percentage of requests of high priority" max:"100" unit:"percent"`
	Low   int     `yaml:"low" doc:"percentage of requests of low priority" max:"100" unit:"percent"`
	Log   string  `yaml:"log" doc:"access log whose requests come, in place of all above but keys" path:"true"`
	Speed float64 `yaml:"speed" doc:"log: so many times as fast" default:"1" min:"0.001" max:"1000"`
}

// A Server is what is special about an endpoint.
type Server struct {
	Endpoint string  `yaml:"endpoint" doc:"number in the list, from 1, or URL" required:"true" example:"3"`
	Workers  int     `yaml:"workers" doc:"as above, of this endpoint" min:"1" max:"100000"`
	Time     *Time   `yaml:"time" doc:"as above, of this endpoint"`
	Factor   float64 `yaml:"factor" doc:"times as long as it would work otherwise" default:"1" min:"0.001" max:"1000"`
	Zone     string  `yaml:"zone" doc:"its zone, in place of the one that its source names"`
	Priority int     `yaml:"priority" doc:"its fail-over group, in place of the one that its source names" max:"15"`
}

// A Fault is something that goes wrong at some endpoints. Its kinds:
//
//	slow      works Factor times as long
//	stall     stands still: what it has begun goes on afterwards
//	crash     refuses connections; what it has is lost
//	fail      answers 503 at once, to probes too
//	flaky     answers 503 at once to Share percent of the requests, and its probes pass
//	cold      works Factor times as long on the next Answers requests
//	restart   crash for For, then cold
//	join      does not belong to the set before At
//	leave     its source does not name it any more from At on
type Fault struct {
	Kind      string        `yaml:"kind" doc:"what happens" enum:"slow,stall,crash,fail,flaky,cold,restart,join,leave" required:"true"`
	Endpoints []string      `yaml:"endpoints" doc:"numbers from 1, URLs, zone:NAME, largest or all" required:"true" example:"[\"3\"]"`
	At        time.Duration `yaml:"at" doc:"when it begins; absent: at once"`
	For       time.Duration `yaml:"for" doc:"how long it lasts; absent: to the end"`
	Every     time.Duration `yaml:"every" doc:"from one begin to the next; absent: it happens once" min:"1ms"`
	Stagger   time.Duration `yaml:"stagger" doc:"from one of the endpoints to the next; absent: all at once"`
	Factor    float64       `yaml:"factor" doc:"of slow, cold and restart" default:"5" min:"0.001" max:"10000"`
	Share     int           `yaml:"share" doc:"of flaky: percentage of the requests" default:"30" min:"1" max:"100" unit:"percent"`
	Answers   int           `yaml:"answers" doc:"of cold and restart: requests until it is warm" default:"200" min:"1"`
}

// WithDefaults returns s with what it does not say filled in.
func (s Scenario) WithDefaults() Scenario { return config.Fill(s) }

// Validate reports what is wrong with s, as a *config.Errors, or nil. Which endpoints there are
// it does not know: see New.
func (s Scenario) Validate() error {
	full := s.WithDefaults()
	problems := config.Check(full)
	add := func(path, value, message string) {
		problems = append(problems, config.Problem{Path: path, Value: value, Message: message})
	}
	if full.Load.Log == "" && full.WarmUp >= full.Load.Duration {
		add("warm_up", full.WarmUp.String(), fmt.Sprintf("%v leaves nothing of load.duration, which is %v", full.WarmUp, full.Load.Duration))
	}
	if l := &full.Load; l.High+l.Low > 100 {
		add("load.low", strconv.Itoa(l.Low), fmt.Sprintf("together with load.high, which is %d, it is more than 100", l.High))
	}
	for i, f := range full.Faults {
		at := config.Index("faults", i)
		if f.Every > 0 && f.For == 0 && f.Kind != "cold" {
			add(config.Key(at, "every"), f.Every.String(), "a fault that comes back has to end: say for how long it lasts with for")
		}
		if f.Every > 0 && f.For >= f.Every {
			add(config.Key(at, "for"), f.For.String(), fmt.Sprintf("%v is not less than every, which is %v", f.For, f.Every))
		}
		if f.Kind == "restart" && f.For == 0 {
			add(config.Key(at, "for"), "", "is missing: how long the restart takes")
		}
	}
	return config.NewErrors(problems...)
}

// matching returns the indexes of the endpoints that a word means; an error says which words there
// are.
func matching(word string, specs []endpoint.Spec, workers func(i int) int) (found []int, err error) {
	if word == "largest" {
		return []int{largest(specs, workers)}, nil
	}
	zone, byZone := strings.CutPrefix(word, "zone:")
	number, notNumber := strconv.Atoi(word)
	for i := range specs {
		switch {
		case word == "all", byZone && specs[i].Zone == zone, notNumber == nil && number == i+1, specs[i].URL() == word, specs[i].Address == word:
			found = append(found, i)
		}
	}
	if found == nil {
		err = fmt.Errorf("there is no endpoint %s: it is a number from 1 to %d, a URL of the service, zone:NAME%s, largest or all", word, len(specs), zonesOf(specs))
	}
	return found, err
}

// largest is the index of the endpoint with the most weight, of several the one with the most
// workers, of these the first.
func largest(specs []endpoint.Spec, workers func(i int) int) int {
	best := 0
	for i := range specs {
		w, most := max(specs[i].Weight, 1), max(specs[best].Weight, 1)
		if w > most || w == most && workers(i) > workers(best) {
			best = i
		}
	}
	return best
}

// zonesOf lists the zones, for a message.
func zonesOf(specs []endpoint.Spec) string {
	zones := Zones(specs)
	if len(zones) == 0 {
		return " (none has a zone)"
	}
	return " (" + strings.Join(zones, ", ") + ")"
}

// Zones are the names of the zones of a set, in their order.
func Zones(specs []endpoint.Spec) (zones []string) {
	for i := range specs {
		if specs[i].Zone != "" && !slices.Contains(zones, specs[i].Zone) {
			zones = append(zones, specs[i].Zone)
		}
	}
	slices.Sort(zones)
	return zones
}
