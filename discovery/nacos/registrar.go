package nacos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
)

// RegistrarConfig says where to announce an instance.
type RegistrarConfig struct {
	Config         // Grace, Every and Note are not used
	Group   string // empty: "DEFAULT_GROUP"
	Cluster string // of the service, that the instance belongs to; empty: "DEFAULT"
}

// removal bounds how long Run may take to remove the instance in the end.
const removal = 3 * time.Second

// A Registrar announces one instance, as ephemeral: the connection is the lease, and the
// server drops the instance when it ends. Make it with NewRegistrar. Its Run may be called
// again, but not concurrently.
type Registrar struct {
	config RegistrarConfig
}

// NewRegistrar returns a registrar for the servers of c.
func NewRegistrar(c RegistrarConfig) *Registrar {
	c.Config = c.withDefaults()
	c.Group = cmp.Or(c.Group, "DEFAULT_GROUP")
	c.Cluster = cmp.Or(c.Cluster, defaultCluster)
	return &Registrar{config: c}
}

// Run announces in and keeps it announced until ctx is done; then it removes it, within
// three seconds, and returns an error if that failed. in.Address must be an IP address and
// a port; in.ID is not used, since Nacos makes ids of its own from the address. report is
// called from Run's goroutine: with nil when the instance has been announced, also again,
// and with an error when it is not announced at present.
func (r *Registrar) Run(ctx context.Context, in discovery.Instance, report func(error)) error {
	servers, err := parseServers(r.config.Config)
	if err != nil {
		return err
	}
	instance, err := newInstance(in, r.config)
	if err != nil {
		return err
	}
	a := announcement{cluster: newCluster(r.config.Config, servers), instance: instance}
	a.subject, a.Report = subject{r.config.Group, in.Service}, report
	defer a.cluster.close()
	loop := client.Loop{Name: "nacos"}
	loop.Run(ctx, func() client.Turn {
		s, err := a.cluster.connect(ctx, nil)
		if err != nil {
			return client.Turn{Err: err}
		}
		t := client.Turn{}
		t.Err = a.keep(ctx, s, func() { t.Answered = time.Now() })
		return t
	}, a.Fail)
	return a.failed
}

// An announcement is one instance and what was said about it.
type announcement struct {
	client.Announcement
	cluster  *cluster
	subject  subject
	instance instanceJSON
	failed   error // the instance could not be removed
}

type instanceJSON struct {
	IP        string            `json:"ip"`
	Port      int               `json:"port"`
	Weight    float64           `json:"weight"`
	Healthy   bool              `json:"healthy"`
	Enabled   bool              `json:"enabled"`
	Ephemeral bool              `json:"ephemeral"`
	Cluster   string            `json:"clusterName"`
	Metadata  map[string]string `json:"metadata"`
}

func newInstance(in discovery.Instance, c RegistrarConfig) (instanceJSON, error) {
	addr, err := client.Announced(in)
	if err != nil {
		return instanceJSON{}, fmt.Errorf("nacos: %w", err)
	}
	if in.Service == "" {
		return instanceJSON{}, errors.New("nacos: the instance names no service")
	}
	secure := ""
	if in.Scheme == "https" {
		secure = "true"
	}
	return instanceJSON{
		IP: addr.Addr().String(), Port: int(addr.Port()), Weight: float64(max(in.Weight, 1)),
		Healthy: true, Enabled: true, Ephemeral: true, Cluster: c.Cluster,
		Metadata: client.Metadata(in, map[string]string{secureKey: secure, c.ZoneKey: in.Zone}),
	}, nil
}

// keep announces the instance in a session and stays until that ends, and says why it did.
func (a *announcement) keep(ctx context.Context, s *session, announced func()) error {
	defer s.close()
	if err := a.send(ctx, s, "registerInstance"); err != nil {
		if ctx.Err() != nil {
			a.remove(ctx, s) // it may have arrived
		}
		return s.named(err)
	}
	announced()
	a.Succeed(true)
	health := time.NewTicker(healthEvery)
	defer health.Stop()
	for {
		select {
		case <-ctx.Done():
			a.remove(ctx, s)
			return nil
		case <-s.done:
			return s.named(s.err)
		case <-health.C:
			if err := s.check(ctx); err != nil && ctx.Err() == nil {
				return s.named(err)
			}
		}
	}
}

func (a *announcement) send(ctx context.Context, s *session, kind string) error {
	in := struct {
		serviceRequest
		Kind     string       `json:"type"`
		Instance instanceJSON `json:"instance"`
	}{a.cluster.request(a.subject), kind, a.instance}
	return s.ask(ctx, "InstanceRequest", a.subject, in, nil)
}

// remove takes the instance out. Where that fails, the end of the connection does it.
func (a *announcement) remove(ctx context.Context, s *session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removal)
	defer cancel()
	if err := a.send(ctx, s, "deregisterInstance"); err != nil {
		a.failed = fmt.Errorf("nacos: %w: the instance goes with its connection", s.named(err))
	}
}
