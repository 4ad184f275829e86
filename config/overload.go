package config

// What a service does when more comes than its endpoints can do at once.

import (
	"fmt"
	"strconv"
	"time"

	"github.com/poise-lb/poise/internal/nearest"
)

// Overload bounds the requests under way at a service and at each of its endpoints, and says what
// becomes of those that find no place: they wait in a queue, or are answered 503 at once. The zero
// value bounds nothing. A retry or a hedge under way counts as a request of its own.
type Overload struct {
	// MaxInFlight is for the whole service. 0: any number.
	MaxInFlight int `yaml:"max_in_flight" doc:"requests under way at the service at once; absent: any number" max:"10000000" example:"400"`
	// EndpointMaxInFlight is for each endpoint. A request goes to another one where one is full.
	EndpointMaxInFlight EndpointLimit `yaml:"endpoint_max_in_flight" doc:"requests under way at each endpoint at once: a number, auto, or a mapping; where one is full, another is picked; absent: any number"`
	// Queue has requests wait that find no place. Nil: they are answered 503.
	Queue    *Queue           `yaml:"queue" doc:"requests that find no place wait: how many, or a mapping; absent: they are answered 503"`
	Priority *RequestPriority `yaml:"priority" doc:"which requests come first in the queue, and which last; absent: all are alike"`
}

// EndpointLimit is how many requests may be under way at an endpoint at once. The short form is Limit.
type EndpointLimit struct {
	// Limit is a number, or "auto": then it is found for each endpoint by how long its answers
	// take. Empty: any number. See Read.
	Limit string `yaml:"limit" doc:"a number, or auto: what the endpoint can work on at once, by how long its answers take" short:"true" example:"50 | auto"`
	// Min and Max are the bounds of auto.
	Min int `yaml:"min" doc:"auto: the least limit" default:"4" min:"1" max:"1000000"`
	Max int `yaml:"max" doc:"auto: the greatest limit" default:"1000" min:"1" max:"1000000"`
}

// limitAuto is the word for a limit that is found.
const limitAuto = "auto"

// Read reads Limit: a number, where 0 is any number, or auto.
func (l EndpointLimit) Read() (n int, auto bool, err error) {
	switch l.Limit {
	case "":
		return 0, false, nil
	case limitAuto:
		return 0, true, nil
	}
	n, err = strconv.Atoi(l.Limit)
	if err != nil || n < 1 || n > 1_000_000 || strconv.Itoa(n) != l.Limit {
		return 0, false, fmt.Errorf("%q is neither a number from 1 to 1000000 nor auto", l.Limit)
	}
	return n, false, nil
}

// check adds what is wrong with l, which has its defaults.
func (l EndpointLimit) check(v *validator, path string) {
	_, auto, err := l.Read()
	switch {
	case err != nil:
		v.add(Key(path, "limit"), l.Limit, nearest.Word(l.Limit, []string{limitAuto}), err.Error())
	case auto && l.Min > l.Max:
		v.add(Key(path, "min"), strconv.Itoa(l.Min), "", fmt.Sprintf("%d is more than max, which is %d", l.Min, l.Max))
	}
}

// Queue is where requests of a service wait for a place. The short form is its length.
type Queue struct {
	Length  int           `yaml:"length" doc:"requests that may wait; one more is answered 503 at once" default:"100" min:"1" max:"1000000" short:"true"`
	Timeout time.Duration `yaml:"timeout" doc:"for which a request waits at most, within the limit of its route; then 503" default:"1s" min:"1ms" max:"1h"`
}

// RequestPriority ranks the requests in a queue by a value that they have.
type RequestPriority struct {
	// By says where the value is, as Policy.Key does.
	By   string   `yaml:"by" doc:"where a request has the value: a key as that of consistent_hash" required:"true" example:"header(X-Priority)"`
	High []string `yaml:"high" doc:"values of requests that come first" example:"[checkout]"`
	Low  []string `yaml:"low" doc:"values of requests that come last, and are dropped first when the queue is full" example:"[batch, crawler]"`
	// Trust is "proxies" (the default): that a request is high is believed of peers in
	// TrustedProxies alone; or "all": of any client. Every client may say that its request is low.
	Trust string `yaml:"trust" doc:"of whom it is believed that a request is high: proxies (trusted_proxies), or all clients" enum:"proxies,all" default:"proxies"`
}

// overload checks the bounds of a service, its queue and priorities, except RequestPriority.By, which is
// read by package compile. custom: the policy is the
// embedder's, and may have requests wait without a bound.
func (v *validator) overload(path string, o *Overload, custom bool) {
	o.EndpointMaxInFlight.check(v, Key(path, "endpoint_max_in_flight"))
	if o.Queue != nil && o.MaxInFlight == 0 && o.EndpointMaxInFlight.Limit == "" && !custom {
		v.add(Key(path, "queue"), "", "", "nothing would ever wait: give max_in_flight or endpoint_max_in_flight as well")
	}
	p := o.Priority
	if p == nil {
		return
	}
	path = Key(path, "priority")
	if o.Queue == nil {
		v.add(path, "", "", "is of requests that wait: give overload.queue as well")
	}
	if len(p.High)+len(p.Low) == 0 {
		v.add(path, "", "", "has neither high nor low: all requests would be alike")
	}
	seen := make(map[string]string)
	for _, list := range []struct {
		key    string
		values []string
	}{{"high", p.High}, {"low", p.Low}} {
		for i, value := range list.values {
			at := Index(Key(path, list.key), i)
			switch other, twice := seen[value]; {
			case value == "":
				v.add(at, "", "", "an empty value is none")
			case twice:
				v.add(at, value, "", fmt.Sprintf("%q is listed already, as %s", value, other))
			default:
				seen[value] = list.key
			}
		}
	}
}
