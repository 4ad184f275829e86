package sources

import (
	"cmp"
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

// registry is the source of one of the registries, which follows its files.
func (s *Set) registry(path string, c *config.Source) (discovery.Source, error) {
	return s.follow(path, filesOf(c), func(known map[string]filewatch.Sum) (discovery.Source, error) {
		return s.client(path, c, known)
	})
}

// client is the source with its files as they are now, whose contents are known.
func (s *Set) client(path string, c *config.Source, known map[string]filewatch.Sum) (discovery.Source, error) {
	switch {
	case c.Etcd != nil:
		settings, err := registry.Etcd(*c.Etcd)
		return etcd.New(settings), registry.At(path+".etcd", err)
	case c.Consul != nil:
		settings, err := registry.Consul(*c.Consul)
		return consul.New(settings), registry.At(path+".consul", err)
	case c.Nacos != nil:
		src, err := s.ofNacos(*c.Nacos, known)
		return src, registry.At(path+".nacos", err)
	case c.Eureka != nil:
		src, err := s.ofEureka(*c.Eureka, known)
		return src, registry.At(path+".eureka", err)
	case c.Zookeeper != nil:
		settings := registry.Zookeeper(*c.Zookeeper)
		settings.Pool = &s.zookeeper
		return zookeeper.New(settings), nil
	case c.Kubernetes != nil:
		src, err := ofKubernetes(*c.Kubernetes)
		return src, registry.At(path+".kubernetes", err)
	}
	return nil, config.NewErrors(config.Problem{Path: path, Message: "names no source"})
}

func (s *Set) ofNacos(c config.NacosSource, known map[string]filewatch.Sum) (discovery.Source, error) {
	settings, err := registry.Nacos(c)
	if err != nil {
		return nil, err
	}
	log := s.log().With("registry", "nacos")
	settings.Note = func(text string) { log.Info(text) }
	service := nacos.ServiceConfig{Service: c.Service, Group: c.Group, Clusters: c.Clusters, Scheme: c.Scheme}
	c.Service, c.Group, c.Clusters, c.Scheme = "", "", nil, "" // what is left is what must agree
	return &borrower[*nacos.Registry]{
		from: &s.nacos, key: key(c, known),
		open:   func() *nacos.Registry { return nacos.NewRegistry(settings) },
		source: func(r *nacos.Registry) discovery.Source { return r.Source(service) },
	}, nil
}

func (s *Set) ofEureka(c config.EurekaSource, known map[string]filewatch.Sum) (discovery.Source, error) {
	settings, err := registry.Eureka(c)
	if err != nil {
		return nil, err
	}
	app := c.App
	c.App = ""
	return &borrower[*eureka.Registry]{
		from: &s.eureka, key: key(c, known),
		open:   func() *eureka.Registry { return eureka.NewRegistry(settings) },
		source: func(r *eureka.Registry) discovery.Source { return r.Source(app) },
	}, nil
}

func ofKubernetes(c config.KubernetesSource) (discovery.Source, error) {
	settings := kubernetes.Config{Server: c.Server, Token: c.Token, TokenFile: c.TokenFile}
	var err error
	if c.Kubeconfig != "" {
		if settings, err = kubeconfig.Load(c.Kubeconfig, c.Context); err != nil {
			return nil, config.NewErrors(config.Problem{Path: "kubeconfig", Value: c.Kubeconfig, Message: err.Error()})
		}
	} else if settings.TLS, err = registry.TLS(c.TLS); err != nil {
		return nil, err
	}
	settings.Namespace = cmp.Or(c.Namespace, settings.Namespace)
	settings.Service, settings.Port, settings.Scheme = c.Service, c.Port, c.Scheme
	return kubernetes.New(settings), nil
}

func (s *Set) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.Default()
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
