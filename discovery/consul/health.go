package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
	"github.com/poise-lb/poise/endpoint"
)

// An instance is one element of the answer of /v1/health/service, as far as it matters.
type instance struct {
	Node struct {
		Node    string
		Address string
		Meta    map[string]string
	}
	Service struct {
		ID          string
		Address     string // "": the node's
		Port        int
		Meta        map[string]string
		Weights     struct{ Passing, Warning int }
		CreateIndex uint64
	}
	Checks []check
}

// A check is one that Consul makes of an instance or of its node.
type check struct {
	CheckID string
	Status  string // passing, warning or critical
}

// passing reports whether all checks of the instance pass.
func (in *instance) passing() bool {
	return !slices.ContainsFunc(in.Checks, func(c check) bool { return c.Status != "passing" })
}

// maintenance reports whether an operator, or the instance itself, has put the instance or
// its node into maintenance. Consul says so by a check that is there only then.
func (in *instance) maintenance() bool {
	return slices.ContainsFunc(in.Checks, func(c check) bool {
		return c.CheckID == "_node_maintenance" || strings.HasPrefix(c.CheckID, "_service_maintenance:")
	})
}

// A query asks for the instances of a service again and again: for all of them, because
// among those that pass it could not be seen which are missing and which are in maintenance.
type query struct {
	agents *agents
	pulses *pulses
	config Config
	heard  time.Time     // of the last answer to a pulse while the last query waited
	index  uint64        // of the last answer; 0: ask without waiting
	space  time.Duration // between the beginnings of two queries
}

// turn is one query and what comes of it.
func (q *query) turn(ctx context.Context, out *client.Reporter) client.Turn {
	began, blocks := time.Now(), q.index > 0
	list, err := q.run(ctx)
	if err != nil {
		q.index = 0
		return client.Turn{Answered: q.heard, Err: err}
	}
	news := out.Set(specs(list, q.config))
	if blocks && !news && time.Since(began) < q.config.Wait/2 {
		q.space = min(2*max(q.space, spaceFirst), spaceMost)
	} else {
		q.space = spaceFirst
	}
	return client.Turn{Answered: time.Now(), Wait: q.space - time.Since(began)}
}

// run asks, and waits for news if it has an index. If the news is that there is nothing
// left, it asks again at once: only an answer to a query that does not wait says whether
// the token hides the instances.
func (q *query) run(ctx context.Context) ([]instance, error) {
	waited := q.index > 0
	list, err := q.once(ctx)
	if err == nil && waited && len(list) == 0 {
		q.index = 0
		return q.once(ctx)
	}
	return list, err
}

func (q *query) once(ctx context.Context) ([]instance, error) {
	values := url.Values{}
	for _, tag := range q.config.Tags {
		values.Add("tag", tag)
	}
	if q.config.Datacenter != "" {
		values.Set("dc", q.config.Datacenter)
	}
	timeout := plainTime
	if q.index > 0 {
		values.Set("index", strconv.FormatUint(q.index, 10))
		values.Set("wait", q.config.Wait.String())
		timeout = q.config.Wait + q.config.Wait/16 + answerTime
		var done func() time.Time
		ctx, done = q.pulses.guard(ctx, q.agents.at)
		defer func() { q.heard = done() }()
	}
	for name, on := range map[string]bool{"stale": q.config.Stale, "cached": q.config.Cached} {
		if on {
			values.Set(name, "")
		}
	}
	var list []instance
	head, err := q.agents.call(ctx, timeout, http.MethodGet, "/v1/health/service/"+url.PathEscape(q.config.Service), values, nil, &list)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 && head.Get("X-Consul-Results-Filtered-By-ACLs") == "true" {
		return nil, errors.New("the token may not read the service, or not its nodes")
	}
	if err := old(head); err != nil && (q.config.Stale || q.config.Cached) {
		return nil, err
	}
	index, err := strconv.ParseUint(head.Get("X-Consul-Index"), 10, 64)
	if err != nil {
		return nil, errors.New("the answer has no index")
	}
	// An index of 0 would not wait. One that goes back is another history (the servers
	// have lost their data): the next query must not wait for it to come to the old one.
	if q.index, index = max(index, 1), q.index; q.index < index {
		q.index = 0
	}
	return list, nil
}

// old is an error if the answer is one of a server without its leader, or of an agent
// without a server.
func old(head http.Header) error {
	behind, _ := strconv.ParseInt(head.Get("X-Consul-LastContact"), 10, 64) // milliseconds
	if d := time.Duration(behind) * time.Millisecond; d > staleMost {
		return fmt.Errorf("the server that answers has not heard of its leader for %v", d.Round(time.Second))
	}
	age, _ := strconv.ParseInt(head.Get("Age"), 10, 64) // seconds
	if d := time.Duration(age) * time.Second; d > staleMost {
		return fmt.Errorf("the agent's copy is %v old", d)
	}
	return nil
}

// specs is the instances that pass, and those in maintenance, which are out. Of several
// instances with one address (one that came back under another ID before the last was
// reaped) the one that was registered last counts.
func specs(list []instance, c Config) discovery.Update {
	return client.Set(func(yield func(string, client.Entry) bool) {
		for _, in := range list {
			out := in.maintenance()
			if !out && !in.passing() {
				continue
			}
			e := client.Parsed(spec(in, c))
			e.Created = int64(in.Service.CreateIndex)
			e.Spec.Out = e.Spec.Out || out
			if !yield(in.Node.Node+"/"+in.Service.ID, e) {
				return
			}
		}
	})
}

func spec(in instance, c Config) (endpoint.Spec, error) {
	meta := in.Service.Meta
	scheme := cmp.Or(c.Scheme, "http")
	switch given := meta["scheme"]; {
	case given == "http" || given == "https" || given == "h2c":
		scheme = given
	case given != "":
		return endpoint.Spec{}, errors.New("the scheme in its metadata is none of http, https and h2c")
	case meta["secure"] == "true": // what Spring Cloud writes
		scheme = "https"
	}
	address, name, err := discovery.Address(cmp.Or(in.Service.Address, in.Node.Address), in.Service.Port)
	if err != nil {
		return endpoint.Spec{}, err
	}
	weight, out := 1.0, false
	if w := in.Service.Weights; w.Passing != 0 || w.Warning != 0 { // old servers have none
		if weight, out, err = discovery.Weight(float64(w.Passing)); err != nil {
			return endpoint.Spec{}, err
		}
	}
	key := cmp.Or(c.ZoneMeta, "zone")
	return endpoint.Spec{
		ID:       endpoint.ID{Scheme: scheme, Address: address},
		Host:     name,
		Weight:   weight,
		Out:      out,
		Zone:     cmp.Or(meta[key], in.Node.Meta[key]),
		Metadata: meta,
	}, nil
}
