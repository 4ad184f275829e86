package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
)

// RegistrarConfig says where to announce, and for how long an announcement outlives its
// program.
type RegistrarConfig struct {
	// Config names the agents. They are tried in turn, but it is best to name the one
	// beside the instance only: an agent answers for what was registered with it.
	Config

	// TTL is the time to live of the check: an instance that died without a word is no
	// longer passing after it. It is renewed three times as often. 0 means 10 s, and one
	// second is the least.
	TTL time.Duration
}

const (
	// weightMax is the largest weight that Consul takes: those of SRV records have 16 bits.
	weightMax  = 65535
	removeTime = 3 * time.Second  // bounds the call that removes, once it has its turn
	removeWait = 10 * time.Second // bounds the removal, with the wait for that
	reapMin    = time.Minute      // Consul does not forget a dead instance sooner

	// callsMost bounds what one Registrar asks at once. An agent writes each registration to
	// its disk and holds a lock while it passes those that have gathered on to the servers. A
	// thousand at once would so all time out, be done by the agent nevertheless, and be asked
	// again; and an agent refuses more than 200 connections of one address.
	callsMost = 8
)

// A Registrar announces instances. Make it with NewRegistrar. It may be used by several
// goroutines, one Run for each instance. They share a few connections to the agents and take
// turns at them.
type Registrar struct {
	config RegistrarConfig
	dial   client.DialFunc // nil but in tests
	turns  chan struct{}   // full while as many calls are out as may be

	mu      sync.Mutex
	running int          // calls of Run
	http    *http.Client // theirs; nil while there is none
}

// NewRegistrar returns a registrar of c.
func NewRegistrar(c RegistrarConfig) *Registrar {
	c.TTL = max(cmp.Or(c.TTL, 10*time.Second), time.Second)
	return &Registrar{config: c, turns: make(chan struct{}, callsMost)}
}

// Run registers the instance with a check that it keeps passing, and registers it again
// whenever the agent does not know it any more, until ctx is done; then it removes it. It
// calls report(nil) whenever it has registered, and report with the reason when the
// instance is not announced, from its own goroutine. Run returns an error only if the
// instance can never be announced.
func (r *Registrar) Run(ctx context.Context, in discovery.Instance, report func(error)) error {
	what, err := register(r.config, in)
	if err != nil {
		return fmt.Errorf("consul: %w", err)
	}
	g, err := r.open()
	if err != nil {
		return fmt.Errorf("consul: %w", err)
	}
	defer r.close()
	a := announcement{agents: g, turns: r.turns, ttl: r.config.TTL, what: what, homes: make(map[int]bool)}
	a.Report = report
	loop := client.Loop{Name: "consul", Servers: len(g.servers), Use: g.use}
	loop.Beat(ctx, r.config.TTL, a.beat, a.Fail)
	a.remove(ctx)
	return nil
}

// open returns the agents with a place of their own, and the connections that all Runs share.
func (r *Registrar) open() (*agents, error) {
	g, err := newAgents(r.config.Config, r.dial, callsMost)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running++; r.http == nil {
		r.http = g.http
	}
	g.http = r.http
	return g, nil
}

// close closes the connections after the last Run.
func (r *Registrar) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running--; r.running == 0 {
		r.http.CloseIdleConnections()
		r.http = nil
	}
}

// A registration is the content of /v1/agent/service/register.
type registration struct {
	ID      string
	Name    string
	Address string
	Port    int
	Tags    []string          `json:",omitempty"`
	Meta    map[string]string `json:",omitempty"`
	Weights struct{ Passing, Warning int }
	Check   struct{ CheckID, Name, TTL, Status, DeregisterCriticalServiceAfter string }
}

// register checks the instance and says how to announce it.
func register(c RegistrarConfig, in discovery.Instance) (*registration, error) {
	name := cmp.Or(in.Service, c.Service)
	if name == "" {
		return nil, errors.New("the instance has no service")
	}
	addr, err := client.Announced(in)
	if err != nil {
		return nil, err
	}
	w := &registration{
		ID: cmp.Or(in.ID, name+"-"+in.Address), Name: name, Address: addr.Addr().String(), Port: int(addr.Port()), Tags: c.Tags,
		Meta: client.Metadata(in, map[string]string{cmp.Or(c.ZoneMeta, "zone"): in.Zone, "scheme": in.Scheme}),
	}
	w.Weights.Passing, w.Weights.Warning = min(max(in.Weight, 1), weightMax), 1
	w.Check.CheckID, w.Check.Name = "service:"+w.ID, "heartbeats"
	w.Check.TTL, w.Check.Status = c.TTL.String(), "passing"
	w.Check.DeregisterCriticalServiceAfter = max(reapMin, 3*c.TTL).String()
	return w, nil
}

// An announcement is one instance at an agent, whose check fails after Until without
// another heartbeat. It belongs to the goroutine of Run.
type announcement struct {
	client.Announcement
	agents *agents
	turns  chan struct{} // the Registrar's
	ttl    time.Duration
	what   *registration
	homes  map[int]bool // the agents it was registered with
}

// timeout is for one call: a check outlives a call or two that are not answered.
func (a *announcement) timeout() time.Duration {
	return min(plainTime, max(a.ttl/3, time.Second))
}

// put asks the agent in use, when it is this announcement's turn. It returns when it asked:
// timeout begins then. It waits for its turn until ctx is done.
func (a *announcement) put(ctx context.Context, timeout time.Duration, path string, in any) (asked time.Time, err error) {
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-ctx.Done():
		return time.Now(), client.Plain(ctx, ctx.Err())
	}
	asked = time.Now()
	_, err = a.agents.call(ctx, timeout, http.MethodPut, path, make(url.Values), in, nil)
	return asked, err
}

// beat keeps the check passing, and registers the instance where there is none.
func (a *announcement) beat(ctx context.Context) error {
	if a.homes[a.agents.at] {
		asked, err := a.put(ctx, a.timeout(), "/v1/agent/check/pass/"+url.PathEscape(a.what.Check.CheckID), nil)
		if err == nil {
			a.passed(asked, false)
		}
		if !unknown(err) {
			return err
		}
	}
	known := a.homes[a.agents.at]
	a.homes[a.agents.at] = true // even if the answer gets lost
	asked, err := a.put(ctx, a.timeout(), "/v1/agent/service/register", a.what)
	if err != nil {
		if !known && refused(err) {
			delete(a.homes, a.agents.at)
		}
		return err
	}
	a.passed(asked, true)
	return nil
}

// unknown reports whether the agent does not know the check. Agents before 1.12 say so
// with another status.
func unknown(err error) bool {
	status := client.Status(err)
	return status == http.StatusNotFound || status == http.StatusInternalServerError
}

// refused reports whether an agent has answered that it will not do what it was asked, also
// later.
func refused(err error) bool {
	status := client.Status(err)
	return status/100 == 4 && status != http.StatusTooManyRequests
}

// passed notes a heartbeat, and reports a registration and the end of a failure.
func (a *announcement) passed(asked time.Time, registered bool) {
	a.Until = asked.Add(a.ttl)
	a.Succeed(registered)
}

// remove deregisters the instance wherever it was registered, after ctx is done.
func (a *announcement) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWait)
	defer cancel()
	for range a.agents.servers {
		if a.homes[a.agents.at] {
			a.put(ctx, removeTime/time.Duration(len(a.homes)), "/v1/agent/service/deregister/"+url.PathEscape(a.what.ID), nil)
		}
		a.agents.use((a.agents.at + 1) % len(a.agents.servers))
	}
}
