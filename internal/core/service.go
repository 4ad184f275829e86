package core

import (
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery/snapshot"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/compile"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/filewatch"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/internal/upstream"
	"github.com/poise-lb/poise/internal/upstream/h1"
)

// A liveService is a service at work: its keeper's task, its source, and the connections to its
// endpoints.
type liveService struct {
	*service.Service
	keeper engine.Join
	config config.Service
	ca     filewatch.Sum // of the file config.TLS.CA as it is in use
	folder string        // where the source's last set is kept; empty: nowhere

	directory *directory             // that started it; nil: it stands in the configuration
	plan      *compile.DirectoryPlan // what it was last configured by; guarded by Proxy.mu once retired

	retiredAt time.Duration // guarded by Proxy.mu
	emptied   bool          // its endpoints drain; likewise

	feeding sync.Mutex  // held while a source takes the place of another, which may take its time
	fed     atomic.Bool // a source was started once, or a static set given

	mu          sync.Mutex // guards what follows; nothing waits under it
	connections *upstream.Settings
	pools       []*h1.Pool
	stopIt      func() // the source; nil if none runs
	unfed       bool   // no source is to run any more: the service is about to end
}

// start starts a service and its source.
func (p *Proxy) start(name string, sp *compile.ServicePlan) *liveService {
	r := p.launch(name, sp)
	r.feedOnce(p, sp)
	return r
}

// launch starts a service without a source. It does not wait.
func (p *Proxy) launch(name string, sp *compile.ServicePlan) *liveService {
	r := &liveService{config: sp.Config, ca: sp.CA, connections: sp.Connections}
	r.Service = service.New(name, p.rt, r.settings(p, sp), p.events)
	r.keeper = p.rt.Fork(r.Run)
	if !p.begin(r) { // Close came first
		r.Stop()
		r.unfeed()
	}
	return r
}

// feedOnce starts the source, unless configure has done so.
func (r *liveService) feedOnce(p *Proxy, sp *compile.ServicePlan) {
	r.feeding.Lock()
	defer r.feeding.Unlock()
	if !r.fed.Load() {
		r.feed(p, sp)
	}
}

// settings completes those of the plan with what works on r's connections.
func (r *liveService) settings(p *Proxy, sp *compile.ServicePlan) service.Settings {
	s := sp.Settings
	s.Workers = p.Count()
	if probe := sp.Probe; probe != nil {
		s.Probe = func(rt engine.Runtime, e *endpoint.Endpoint, by time.Duration) error {
			return probe.Do(rt, service.Of(e).Attached.(*h1.Pool), e, by)
		}
	}
	s.Connect = func(rt engine.Runtime, e *endpoint.Endpoint, by time.Duration) error {
		return service.Of(e).Attached.(*h1.Pool).Connect(rt, 0, by)
	}
	s.Prober = p.prober
	s.Attach = func(e *endpoint.Endpoint) any { return r.attach(p, e) }
	s.Discard = r.discard
	return s
}

func (r *liveService) attach(p *Proxy, e *endpoint.Endpoint) *h1.Pool {
	r.mu.Lock()
	defer r.mu.Unlock()
	pool := h1.NewPool(e, r.connections, p)
	r.pools = append(r.pools, pool)
	return pool
}

func (r *liveService) discard(e *endpoint.Endpoint) {
	pool := service.Of(e).Attached.(*h1.Pool)
	r.mu.Lock()
	r.pools = slices.DeleteFunc(r.pools, func(p *h1.Pool) bool { return p == pool })
	r.mu.Unlock()
	pool.Close()
}

func (r *liveService) all() []*h1.Pool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.pools)
}

func (r *liveService) sweep(now time.Duration) {
	for _, pool := range r.all() {
		pool.Sweep(now)
	}
}

// configure takes a new configuration of the same service.
func (r *liveService) configure(p *Proxy, sp *compile.ServicePlan) {
	if reflect.DeepEqual(r.config.TLS, sp.Config.TLS) && r.ca == sp.CA {
		sp.Connections.TLS = r.connections.TLS // so that connections stay in use
	}
	r.ca = sp.CA
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
	r.Configure(r.settings(p, sp)) // after feed: it makes a static set count at once
}

// feed gives the service its endpoints. Called with feeding held.
func (r *liveService) feed(p *Proxy, sp *compile.ServicePlan) {
	r.fed.Store(true)
	r.folder = sp.Snapshots
	if sp.Feed.Source == nil || p.opts.Start == nil {
		r.Update(sp.Feed.Static)
		return
	}
	source := sp.Feed.Source
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

// halt stops the source, if one runs; another may take its place.
func (r *liveService) halt() {
	r.mu.Lock()
	stop := r.stopIt
	r.stopIt = nil
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// unfeed is halt for good.
func (r *liveService) unfeed() {
	r.mu.Lock()
	r.unfed = true
	r.mu.Unlock()
	r.halt()
}

// stop ends the service's tasks and closes the connections to its endpoints.
func (r *liveService) stop() {
	r.Stop()
	r.keeper.Wait()
	for _, pool := range r.all() {
		pool.Close()
	}
}
