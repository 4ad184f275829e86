package consul

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
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
	client *client
	config Config
	index  uint64 // of the last answer; 0: ask without waiting
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
		values.Set("wait", waitTime.String())
		timeout = blockTime
	}
	var list []instance
	head, err := q.client.call(ctx, timeout, http.MethodGet, "/v1/health/service/"+url.PathEscape(q.config.Service), values, nil, &list)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 && head.Get("X-Consul-Results-Filtered-By-ACLs") == "true" {
		return nil, errors.New("the token may not read the service, or not its nodes")
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

// specs is the instances that pass and those in maintenance, which are out, in the order of their IDs and the rejected instances in theirs.
// Of several instances with one address (one that came back under another ID before the
// last was reaped) the one that was registered last counts.
func specs(list []instance, c Config) ([]endpoint.Spec, []discovery.Reject) {
	slices.SortStableFunc(list, func(a, b instance) int {
		return cmp.Or(cmp.Compare(b.Service.CreateIndex, a.Service.CreateIndex),
			cmp.Compare(b.Service.ID, a.Service.ID), cmp.Compare(b.Node.Node, a.Node.Node))
	})
	all := make([]endpoint.Spec, 0, len(list))
	var rejected []discovery.Reject
	for _, in := range list {
		out := in.maintenance()
		if !out && !in.passing() {
			continue
		}
		s, err := spec(in, c)
		if err != nil {
			rejected = append(rejected, discovery.Reject{ID: in.Node.Node + "/" + in.Service.ID, Reason: err.Error()})
			continue
		}
		s.Out = s.Out || out
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b endpoint.Spec) int { return a.ID.Compare(b.ID) })
	all = slices.CompactFunc(all, func(a, b endpoint.Spec) bool { return a.ID == b.ID })
	slices.SortFunc(rejected, func(a, b discovery.Reject) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Reason, b.Reason))
	})
	return all, rejected
}

func spec(in instance, c Config) (endpoint.Spec, error) {
	meta := in.Service.Meta
	scheme := cmp.Or(c.Scheme, "http")
	switch given := meta["scheme"]; {
	case given == "http" || given == "https":
		scheme = given
	case given != "":
		return endpoint.Spec{}, errors.New("the scheme in its metadata is neither http nor https")
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

// tellEvery is how often an error is published that differs from the last one: with
// several agents they take turns.
const tellEvery = 30 * time.Second

// A reporter publishes what is news. It belongs to the goroutine of Run.
type reporter struct {
	publish  func(discovery.Update)
	specs    []endpoint.Spec
	rejected []discovery.Reject
	fresh    bool // specs is what was published last, rather than an error
	failure  string
	told     time.Time
}

// set publishes a set that is not what was published last, and reports whether it was
// published. After an error it is news in any case: it is no longer stale.
func (r *reporter) set(specs []endpoint.Spec, rejected []discovery.Reject) bool {
	if r.fresh && slices.EqualFunc(specs, r.specs, endpoint.Spec.Equal) && slices.Equal(rejected, r.rejected) {
		return false
	}
	r.specs, r.rejected, r.fresh, r.failure = specs, rejected, true, ""
	r.publish(discovery.Update{Endpoints: specs, Rejected: rejected})
	return true
}

// fail publishes an error, unless it is what everybody knows.
func (r *reporter) fail(err error) {
	text := err.Error()
	if text == r.failure || r.failure != "" && time.Since(r.told) < tellEvery {
		return
	}
	r.fresh, r.failure, r.told = false, text, time.Now()
	r.publish(discovery.Update{Err: err})
}
