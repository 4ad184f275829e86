// Package sources has the kinds of sources beyond those that every Proxy knows, which are
// static lists, DNS, and lists in JSON files: clients of registries, and lists in YAML. A
// program names those it uses, and links no others:
//
//	proxy, err := poise.New(poise.Config{
//		Sources:  []poise.SourceKind{sources.Consul()},
//		Services: map[string]poise.Service{"users": {Source: &poise.Source{Consul: &poise.ConsulSource{Service: "users"}}}},
//		…
//	})
//
// Services of one registry share what there need be only one of: the connection to Nacos
// and ZooKeeper, the copy of Eureka's registry, the watch of a namespace of Kubernetes. They
// share it by way of the kind, so two proxies that are given the same value share, too; it
// lives as long as one of the sources that use it runs.
package sources

import (
	"log/slog"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/file"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/filewatch"
	"github.com/poise-lb/poise/internal/registry"
	"github.com/poise-lb/poise/internal/sources"
)

// All returns every kind of this package: for programs whose configuration comes from a
// file, as the poise command is one.
func All() []config.SourceKind {
	return []config.SourceKind{File(), Etcd(), Consul(), Nacos(), Eureka(), Zookeeper(), Kubernetes()}
}

// A kind is one of this package.
type kind struct {
	name string
	// files are those that the client reads once; nil: none.
	files func(c *config.Source) []string
	// open makes a source. known are the contents of files as they are now. The paths of its
	// errors stand below the field of c that is for this kind.
	open func(c *config.Source, known map[string]filewatch.Sum, log *slog.Logger) (discovery.Source, error)
}

// Kind implements config.SourceKind.
func (k *kind) Kind() string { return k.name }

// Open implements config.SourceKind. The source is made anew when its files change.
func (k *kind) Open(path string, c config.Source, log *slog.Logger) (discovery.Source, error) {
	files := func() []string {
		if k.files == nil {
			return nil
		}
		return k.files(&c)
	}
	return follow(path, files, log, func(known map[string]filewatch.Sum) (discovery.Source, error) {
		src, err := k.open(&c, known, log)
		if err != nil {
			return nil, registry.At(config.Key(path, k.name), err)
		}
		return src, nil
	})
}

// File is the kind of endpoint lists in files, which are YAML or JSON. A Proxy without it
// reads JSON alone.
func File() config.SourceKind {
	return &kind{name: "file", open: func(c *config.Source, _ map[string]filewatch.Sum, _ *slog.Logger) (discovery.Source, error) {
		name := c.File.Path
		return file.New(name, func(data []byte) ([]endpoint.Spec, []discovery.Reject, error) { return parseList(name, data) }), nil
	}}
}

// parseList reads a list in YAML or JSON.
func parseList(name string, data []byte) ([]endpoint.Spec, []discovery.Reject, error) {
	list, rejected, err := configfile.Endpoints(name, data)
	if err != nil {
		return nil, nil, err
	}
	var rejects []discovery.Reject
	for _, r := range rejected {
		rejects = append(rejects, discovery.Reject{ID: r.Entry, Reason: r.Reason()})
	}
	return sources.Listed(name, list, rejects)
}
