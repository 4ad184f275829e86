package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
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
		Weights     struct{ Passing int }
		CreateIndex uint64
	}
}

// A query asks for the passing instances of a service again and again.
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
	values := url.Values{"passing": {"1"}}
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

// specs is the endpoints in the order of their IDs and the rejected instances in theirs.
// Of several instances with one address (one that came back under another ID before the
// last was reaped) the one that was registered last counts.
func specs(list []instance, c Config) ([]endpoint.Spec, []discovery.Reject) {
	slices.SortStableFunc(list, func(a, b instance) int {
		return cmp.Or(cmp.Compare(b.Service.CreateIndex, a.Service.CreateIndex),
			cmp.Compare(b.Service.ID, a.Service.ID), cmp.Compare(b.Node.Node, a.Node.Node))
	})
	out := make([]endpoint.Spec, 0, len(list))
	var rejected []discovery.Reject
	for _, in := range list {
		s, err := spec(in, c)
		if err != nil {
			rejected = append(rejected, discovery.Reject{ID: in.Node.Node + "/" + in.Service.ID, Reason: err.Error()})
			continue
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b endpoint.Spec) int { return a.ID.Compare(b.ID) })
	out = slices.CompactFunc(out, func(a, b endpoint.Spec) bool { return a.ID == b.ID })
	slices.SortFunc(rejected, func(a, b discovery.Reject) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Reason, b.Reason))
	})
	return out, rejected
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
	address, err := address(cmp.Or(in.Service.Address, in.Node.Address), in.Service.Port)
	if err != nil {
		return endpoint.Spec{}, err
	}
	if in.Service.Weights.Passing < 0 {
		return endpoint.Spec{}, errors.New("its weight is negative")
	}
	key := cmp.Or(c.ZoneMeta, "zone")
	return endpoint.Spec{
		ID:       endpoint.ID{Scheme: scheme, Address: address},
		Weight:   float64(in.Service.Weights.Passing),
		Zone:     cmp.Or(meta[key], in.Node.Meta[key]),
		Metadata: meta,
	}, nil
}

func address(host string, port int) (string, error) {
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "":
		return "", errors.New("it has no address")
	case err != nil:
		return "", errors.New("its address is not a literal IP address")
	case ip.IsUnspecified():
		return "", errors.New("its address is none that can be reached")
	case port <= 0 || port > 65535:
		return "", fmt.Errorf("it has no port that can be: %d", port)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)).String(), nil
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
