package sources

// The registries, each a kind of its own: what a program does not call is not linked.

import (
	"encoding/json"
	"log/slog"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/consul"
	"github.com/poise-lb/poise/discovery/etcd"
	"github.com/poise-lb/poise/discovery/eureka"
	"github.com/poise-lb/poise/discovery/kubernetes"
	"github.com/poise-lb/poise/discovery/kubernetes/kubeconfig"
	"github.com/poise-lb/poise/discovery/nacos"
	"github.com/poise-lb/poise/discovery/zookeeper"
	"github.com/poise-lb/poise/internal/filewatch"
	"github.com/poise-lb/poise/internal/registry"
)

// Etcd is the kind of Source.Etcd. Its sources share a watch where their prefixes lie side
// by side.
func Etcd() config.SourceKind {
	registries := new(shared[*etcd.Registry])
	return &kind{
		name:  "etcd",
		files: func(c *config.Source) []string { return authorities(c.Etcd.TLS) },
		open: func(c *config.Source, known map[string]filewatch.Sum, _ *slog.Logger) (discovery.Source, error) {
			return ofEtcd(registries, *c.Etcd, known)
		},
	}
}

func ofEtcd(from *shared[*etcd.Registry], c config.EtcdSource, known map[string]filewatch.Sum) (*borrower[*etcd.Registry], error) {
	settings, err := registry.Etcd(c)
	if err != nil {
		return nil, err
	}
	c.Prefix = "" // what is left is what must agree
	return &borrower[*etcd.Registry]{
		from: from, key: key(c, known),
		open:   func() *etcd.Registry { return etcd.NewRegistry(settings) },
		source: func(r *etcd.Registry) discovery.Source { return r.Source(settings.Prefix) },
	}, nil
}

// Consul is the kind of Source.Consul. Its sources share what watches over their agents.
func Consul() config.SourceKind {
	registries := new(shared[*consul.Registry])
	return &kind{
		name:  "consul",
		files: func(c *config.Source) []string { return authorities(c.Consul.TLS) },
		open: func(c *config.Source, known map[string]filewatch.Sum, _ *slog.Logger) (discovery.Source, error) {
			return ofConsul(registries, *c.Consul, known)
		},
	}
}

func ofConsul(from *shared[*consul.Registry], c config.ConsulSource, known map[string]filewatch.Sum) (*borrower[*consul.Registry], error) {
	settings, err := registry.Consul(c)
	if err != nil {
		return nil, err
	}
	c.Service, c.Tag, c.Tags = "", "", nil
	return &borrower[*consul.Registry]{
		from: from, key: key(c, known),
		open:   func() *consul.Registry { return consul.NewRegistry(settings) },
		source: func(r *consul.Registry) discovery.Source { return r.Source(settings.Service, settings.Tags) },
	}, nil
}

// Nacos is the kind of Source.Nacos. Its sources share a connection.
func Nacos() config.SourceKind {
	registries := new(shared[*nacos.Registry])
	return &kind{
		name:  "nacos",
		files: func(c *config.Source) []string { return authorities(c.Nacos.TLS) },
		open: func(c *config.Source, known map[string]filewatch.Sum, log *slog.Logger) (discovery.Source, error) {
			return ofNacos(registries, *c.Nacos, known, log)
		},
	}
}

func ofNacos(from *shared[*nacos.Registry], c config.NacosSource, known map[string]filewatch.Sum, log *slog.Logger) (*borrower[*nacos.Registry], error) {
	settings, err := registry.Nacos(c)
	if err != nil {
		return nil, err
	}
	log = log.With("registry", "nacos")
	settings.Note = func(text string) { log.Info(text) }
	service := nacos.ServiceConfig{Service: c.Service, Group: c.Group, Clusters: c.Clusters, Scheme: c.Scheme}
	c.Service, c.Group, c.Clusters, c.Scheme = "", "", nil, "" // what is left is what must agree
	return &borrower[*nacos.Registry]{
		from: from, key: key(c, known),
		open:   func() *nacos.Registry { return nacos.NewRegistry(settings) },
		source: func(r *nacos.Registry) discovery.Source { return r.Source(service) },
	}, nil
}

// Eureka is the kind of Source.Eureka. Its sources share a copy of the registry.
func Eureka() config.SourceKind {
	return eurekaKind(new(shared[*eureka.Registry]))
}

func eurekaKind(registries *shared[*eureka.Registry]) *kind {
	return &kind{
		name:  "eureka",
		files: func(c *config.Source) []string { return authorities(c.Eureka.TLS) },
		open: func(c *config.Source, known map[string]filewatch.Sum, _ *slog.Logger) (discovery.Source, error) {
			return ofEureka(registries, *c.Eureka, known)
		},
	}
}

func ofEureka(from *shared[*eureka.Registry], c config.EurekaSource, known map[string]filewatch.Sum) (discovery.Source, error) {
	settings, err := registry.Eureka(c)
	if err != nil {
		return nil, err
	}
	app := c.App
	c.App = ""
	return &borrower[*eureka.Registry]{
		from: from, key: key(c, known),
		open:   func() *eureka.Registry { return eureka.NewRegistry(settings) },
		source: func(r *eureka.Registry) discovery.Source { return r.Source(app) },
	}, nil
}

// Zookeeper is the kind of Source.Zookeeper. Its sources share a connection.
func Zookeeper() config.SourceKind {
	pool := new(zookeeper.Pool)
	return &kind{
		name: "zookeeper",
		open: func(c *config.Source, _ map[string]filewatch.Sum, _ *slog.Logger) (discovery.Source, error) {
			settings := registry.Zookeeper(*c.Zookeeper)
			settings.Pool = pool
			return zookeeper.New(settings), nil
		},
	}
}

// Kubernetes is the kind of Source.Kubernetes. Its sources share a connection to each API
// server, and a watch of each namespace.
func Kubernetes() config.SourceKind {
	return kubernetesKind(new(shared[*kubernetes.Registry]))
}

func kubernetesKind(registries *shared[*kubernetes.Registry]) *kind {
	return &kind{
		name: "kubernetes",
		files: func(c *config.Source) []string {
			files := authorities(c.Kubernetes.TLS)
			if c.Kubernetes.Kubeconfig != "" {
				files = append(files, kubeconfig.Files(c.Kubernetes.Kubeconfig, c.Kubernetes.Context)...)
			}
			return files
		},
		open: func(c *config.Source, known map[string]filewatch.Sum, _ *slog.Logger) (discovery.Source, error) {
			return ofKubernetes(registries, *c.Kubernetes, known)
		},
	}
}

func ofKubernetes(from *shared[*kubernetes.Registry], c config.KubernetesSource, known map[string]filewatch.Sum) (discovery.Source, error) {
	settings := kubernetes.Config{Server: c.Server, Token: c.Token, TokenFile: c.TokenFile}
	var err error
	if c.Kubeconfig != "" {
		if settings, err = kubeconfig.Load(c.Kubeconfig, c.Context); err != nil {
			return nil, config.NewErrors(config.Problem{Path: "kubeconfig", Value: c.Kubeconfig, Message: err.Error()})
		}
	} else if settings.TLS, err = registry.TLS(c.TLS); err != nil {
		return nil, err
	}
	service := kubernetes.ServiceConfig{Namespace: c.Namespace, Service: c.Service, Port: c.Port, Scheme: c.Scheme}
	c.Namespace, c.Service, c.Port, c.Scheme = "", "", "", "" // what is left is what must agree
	return &borrower[*kubernetes.Registry]{
		from: from, key: key(c, known),
		open:   func() *kubernetes.Registry { return kubernetes.NewRegistry(settings) },
		source: func(r *kubernetes.Registry) discovery.Source { return r.Source(service) },
	}, nil
}

// authorities is the file that says which authorities verify a server, if there is one.
func authorities(t *config.SourceTLS) []string {
	if t == nil || t.CA == "" {
		return nil
	}
	return []string{t.CA}
}

// key is the same for the same settings and contents of files. It has passwords in it and
// is never shown.
func key(settings any, known map[string]filewatch.Sum) string {
	text, err := json.Marshal([]any{settings, known})
	if err != nil {
		panic("sources: " + err.Error()) // texts, numbers and lists only
	}
	return string(text)
}
