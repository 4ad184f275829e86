package core

// A running service: the service.Service with its keeper's task, the source of its endpoints,
// and the pools of connections to them. It is started once and configured any number of times; a
// new configuration replaces only what differs:
//
//	changed key              what happens to a running service
//	policy, health, breaker  Service.Configure: endpoints keep their state
//	connections, tls         pools are configured; connections that fit stay in use
//	source, endpoints        the old source stops, the new one starts; its first set replaces
//	                         the old one, by identity: endpoints in both keep their state
//	none                     nothing
//
// Two locks: feeding, held while one source takes the place of another, which may wait for the old
// one to end; mu, held for some instructions.

import (
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery/snapshot"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/certs"
	"github.com/poise-lb/poise/internal/compile"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/internal/upstream"
	"github.com/poise-lb/poise/internal/upstream/alpn"
)

// A liveService is a service that runs. See close.go and retire.go for its end.
type liveService struct {
	*service.Service
	keeper engine.Join
	config config.Service
	secure *certs.Client // what connections to endpoints are secured by
	folder string        // folder of the snapshot of the source's last set; empty: none is kept

	directory *directory             // that has started it; nil: the configuration names it
	plan      *compile.DirectoryPlan // its latest one; guarded by Proxy.mu once retired

	retiredAt time.Duration // instant; guarded by Proxy.mu
	emptied   bool          // its endpoints drain; guarded by Proxy.mu

	feeding sync.Mutex  // guards the source; held while one is replaced, which may wait
	fed     atomic.Bool // a source was started, or a static set given

	mu          sync.Mutex // guards what follows; held for some instructions
	connections *upstream.Settings
	pools       []*alpn.Pool // one per endpoint, draining ones included
	stopIt      func()       // stops the source; nil: none runs
	unfed       bool         // no source may be started any more: the service ends
}

// start starts a service and its source. It may wait: a source may read files.
func (p *Proxy) start(name string, sp *compile.ServicePlan) *liveService {
	r := p.launch(name, sp)
	r.feedOnce(p, sp)
	return r
}

// launch starts a service without a source. It does not wait.
func (p *Proxy) launch(name string, sp *compile.ServicePlan) *liveService {
	r := &liveService{config: sp.Config, secure: sp.TLS, connections: sp.Connections}
	r.Service = service.New(name, p.rt, r.settings(p, sp), p.events)
	p.handed.restore(r.Service, p.rt.Now())
	r.keeper = p.rt.Fork(r.Run)
	if !p.begin(r) { // Close came first
		r.Stop()
		r.unfeed()
	}
	return r
}

// feedOnce starts the source, unless configure has done so since launch.
func (r *liveService) feedOnce(p *Proxy, sp *compile.ServicePlan) {
	r.feeding.Lock()
	defer r.feeding.Unlock()
	if !r.fed.Load() {
		r.feed(p, sp)
	}
}

// settings returns the settings of the plan, completed with the functions that use r's pools.
func (r *liveService) settings(p *Proxy, sp *compile.ServicePlan) service.Settings {
	s := sp.Settings
	s.Workers = p.Count()
	if probe := sp.Probe; probe != nil {
		s.Probe = func(rt engine.Runtime, e *endpoint.Endpoint, by time.Duration) error {
			return probe.Do(rt, service.Of(e).Attached.(*alpn.Pool), e, by)
		}
	}
	s.Connect = func(rt engine.Runtime, e *endpoint.Endpoint, by time.Duration) error {
		return service.Of(e).Attached.(*alpn.Pool).Connect(rt, 0, by)
	}
	s.Prober = p.prober
	s.Attach = func(e *endpoint.Endpoint) any { return r.attach(p, e) }
	s.Discard = r.discard
	return s
}

// attach makes the pool of a new endpoint. It does not wait. Any task may call it.
func (r *liveService) attach(p *Proxy, e *endpoint.Endpoint) *alpn.Pool {
	r.mu.Lock()
	defer r.mu.Unlock()
	pool := alpn.NewPool(e, r.connections, p, p.spares)
	r.pools = append(r.pools, pool)
	return pool
}

// discard closes the pool of an endpoint that is gone.
func (r *liveService) discard(e *endpoint.Endpoint) {
	pool := service.Of(e).Attached.(*alpn.Pool)
	r.mu.Lock()
	r.pools = slices.DeleteFunc(r.pools, func(p *alpn.Pool) bool { return p == pool })
	r.mu.Unlock()
	pool.Close()
}

// all returns a copy of the list of pools.
func (r *liveService) all() []*alpn.Pool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.pools)
}

// sweep closes connections that have been idle for too long at the instant now.
func (r *liveService) sweep(now time.Duration) {
	for _, pool := range r.all() {
		pool.Sweep(now)
	}
}

// configure puts a new configuration of the same service in force, as the table above says. It
// may wait: for the end of the old source.
func (r *liveService) configure(p *Proxy, sp *compile.ServicePlan) {
	if reflect.DeepEqual(r.config.TLS, sp.Config.TLS) && r.secure.Roots == sp.TLS.Roots {
		sp.Connections.TLS = r.connections.TLS // so that connections stay in use
		r.secure.Renew(sp.TLS)
	} else {
		r.secure = sp.TLS
	}
	r.mu.Lock()
	r.connections = sp.Connections
	r.mu.Unlock()
	for _, pool := range r.all() {
		pool.Configure(sp.Connections)
	}
	r.feeding.Lock()
	same := r.fed.Load() && r.folder == sp.Snapshots && compile.SameSource(r.config.Source, sp.Config.Source) && reflect.DeepEqual(r.config.Endpoints, sp.Config.Endpoints)
	r.config = sp.Config
	if !same {
		r.halt()
		r.Renew()
		r.feed(p, sp)
	}
	r.feeding.Unlock()
	r.Configure(r.settings(p, sp)) // after feed, so that a static set is in force on return
}

// feed gives the service its static set, or starts its source. Called with feeding held.
func (r *liveService) feed(p *Proxy, sp *compile.ServicePlan) {
	r.fed.Store(true)
	r.folder = sp.Snapshots
	if sp.Feed.Source == nil || p.opts.Start == nil {
		r.Update(sp.Feed.Static)
		return
	}
	source := sp.Feed.Source
	if parts, ok := source.(compile.Parts); ok {
		r.SetParts(parts.Tap(r.HearPart))
	}
	if r.folder != "" {
		source = snapshot.New(r.folder, r.Name(), source, func(err error) {
			p.opts.Logger.Warn("snapshot", "service", r.Name(), "error", err)
		})
	}
	stop := p.opts.Start(source, r.Take)
	r.mu.Lock()
	late := r.unfed
	if !late {
		r.stopIt = stop
	}
	r.mu.Unlock()
	if late {
		stop()
	}
}

// halt stops the source, if one runs, and may wait for its end. Another may take its place.
func (r *liveService) halt() {
	r.mu.Lock()
	stop := r.stopIt
	r.stopIt = nil
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// unfeed stops the source and prevents that another one is started.
func (r *liveService) unfeed() {
	r.mu.Lock()
	r.unfed = true
	r.mu.Unlock()
	r.halt()
}

// stop ends the service's tasks, waits for them, and closes the connections to its endpoints. It
// takes as long as a probe under way, a policy or the end of a pool.
func (r *liveService) stop() {
	r.Stop()
	r.keeper.Wait()
	for _, pool := range r.all() {
		pool.Close()
	}
}
