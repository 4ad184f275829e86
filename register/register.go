// Package register announces an instance of a service in a registry, keeps it announced,
// and removes it: for programs that have no client of their registry, and behind the
// command poise register. Which registry it is says a Config, in the words of the
// configuration file.
//
//	err := register.Run(ctx, register.Config{Nacos: &config.NacosSource{Servers: []string{"127.0.0.1:8848"}}},
//		discovery.Instance{Service: "users", Address: "10.0.0.7:9001"}, func(err error) { log.Print(err) })
package register

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/consul"
	"github.com/poise-lb/poise/discovery/etcd"
	"github.com/poise-lb/poise/discovery/eureka"
	"github.com/poise-lb/poise/discovery/nacos"
	"github.com/poise-lb/poise/discovery/zookeeper"
	"github.com/poise-lb/poise/internal/registry"
)

// Config says where to announce: exactly one of the pointers is set. The structs are those
// of a source. What says there which instances are watched says here where the instance
// belongs, and may be left out: its Service is the name, except that
//
//   - Etcd.Prefix is what its key begins with; empty: /services/<service>/
//   - Consul.Tag or Tags are those it gets
//   - Nacos.Group is its group, and the first of Nacos.Clusters its cluster
//   - Zookeeper.Path is the node that it stands below; empty: /services/<service>
type Config struct {
	Etcd      *config.EtcdSource
	Consul    *config.ConsulSource
	Nacos     *config.NacosSource
	Eureka    *config.EurekaSource
	Zookeeper *config.ZookeeperSource

	// TTL is how long the registry keeps an instance that has died without a word. 0 means
	// 10 s, but 30 s for Eureka, which takes two to three times as long in any case. Nacos
	// has no choice: it is the end of the connection, or about 20 s of silence.
	TTL time.Duration

	// Health asks the instance at its address whether it is well, and has it announced only
	// while it is. The first answer decides at once. Certificates are not verified: it is
	// the instance's own address. nil: it is announced in any case.
	Health *config.Health
	// Ask is where Health asks instead, as http://127.0.0.1:8080: of a program behind a proxy that
	// wants a certificate of its clients, that is the program itself. Empty: the instance's address.
	Ask string
}

// Name is the registry's, as the configuration file has it; empty if there is none.
func (c Config) Name() string {
	switch {
	case c.Etcd != nil:
		return "etcd"
	case c.Consul != nil:
		return "consul"
	case c.Nacos != nil:
		return "nacos"
	case c.Eureka != nil:
		return "eureka"
	case c.Zookeeper != nil:
		return "zookeeper"
	}
	return ""
}

// Run announces the instance and keeps it announced until ctx is done; then it removes it,
// which takes a few seconds at most, and returns nil, or the reason why it could not be
// removed: then it is gone after the TTL. Before that it returns an error only if the
// instance can never be announced.
//
// It calls report with nil when the instance has been announced, also again, and with the
// reason whenever it is not announced. Calls come one at a time, from goroutines that
// have ended when Run returns; nil: no reports.
func Run(ctx context.Context, c Config, in discovery.Instance, report func(error)) error {
	if report == nil {
		report = func(error) {}
	}
	if err := check(in); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	if err := c.check(in.Service); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	r, err := c.registrar()
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	if c.Health == nil {
		return r.Run(ctx, in, report)
	}
	p, err := newProbe(*c.Health, cmp.Or(c.Ask, scheme(in)+"://"+in.Address))
	if err != nil {
		return fmt.Errorf("register: health: %w", err)
	}
	defer p.close()
	return p.run(ctx, r, in, report)
}

// check finds what no registry would take.
func check(in discovery.Instance) error {
	if in.Service == "" {
		return errors.New("the instance names no service")
	}
	host, port, err := net.SplitHostPort(in.Address)
	if err != nil || host == "" {
		return fmt.Errorf("the address %q is not host:port, as others reach the instance", in.Address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("the address %q has no port from 1 to 65535", in.Address)
	}
	if ip := net.ParseIP(host); ip.IsUnspecified() {
		return fmt.Errorf("the address %q is every address of this machine: say the one that others reach", in.Address)
	}
	if in.Scheme != "" && in.Scheme != "http" && in.Scheme != "https" {
		return fmt.Errorf("the scheme %q is neither http nor https", in.Scheme)
	}
	return nil
}

// A registrar is one of those in the folders of package discovery.
type registrar interface {
	Run(ctx context.Context, in discovery.Instance, report func(error)) error
}

// check finds what is wrong with the registry, as with that of a source. A source needs to
// know which instances it watches, and a registrar does not: so that is made up.
func (c Config) check(service string) error {
	s := config.Source{Etcd: clone(c.Etcd), Consul: clone(c.Consul), Nacos: clone(c.Nacos), Eureka: clone(c.Eureka), Zookeeper: clone(c.Zookeeper)}
	given := 0
	if s.Etcd != nil {
		given++
		s.Etcd.Prefix = cmp.Or(s.Etcd.Prefix, "/")
	}
	if s.Consul != nil {
		given++
		s.Consul.Service = service
	}
	if s.Nacos != nil {
		given++
		s.Nacos.Service = service
	}
	if s.Eureka != nil {
		given++
		s.Eureka.App = service
	}
	if s.Zookeeper != nil {
		given++
		s.Zookeeper.Path = cmp.Or(s.Zookeeper.Path, "/services")
	}
	if given != 1 {
		return fmt.Errorf("one registry is needed, and there are %d", given)
	}
	return s.Validate()
}

func clone[T any](v *T) *T {
	if v == nil {
		return nil
	}
	c := *v
	return &c
}

func (c Config) registrar() (registrar, error) {
	switch {
	case c.Etcd != nil:
		settings, err := registry.Etcd(*c.Etcd)
		return etcd.NewRegistrar(etcd.RegistrarConfig{Config: settings, TTL: c.TTL}), err
	case c.Consul != nil:
		settings, err := registry.Consul(*c.Consul)
		return consul.NewRegistrar(consul.RegistrarConfig{Config: settings, TTL: c.TTL}), err
	case c.Nacos != nil:
		settings, err := registry.Nacos(*c.Nacos)
		out := nacos.RegistrarConfig{Config: settings, Group: c.Nacos.Group}
		if len(c.Nacos.Clusters) > 0 {
			out.Cluster = c.Nacos.Clusters[0]
		}
		return nacos.NewRegistrar(out), err
	case c.Eureka != nil:
		settings, err := registry.Eureka(*c.Eureka)
		return eureka.NewRegistrar(eureka.RegistrarConfig{Config: settings, Lease: c.TTL}), err
	}
	settings := registry.Zookeeper(*c.Zookeeper)
	return zookeeper.NewRegistrar(zookeeper.RegistrarConfig{Config: settings, Session: c.TTL}), nil
}

// scheme of an instance that does not say.
func scheme(in discovery.Instance) string { return cmp.Or(in.Scheme, "http") }
