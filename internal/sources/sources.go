// Package sources builds the source of a service from its configuration: static lists, DNS
// names and SRV records, endpoint lists in JSON files, merges of sources, and what a program's own code
// publishes. The clients of registries are kinds that the program hands in, so that a
// program links only those it names; package poise/sources has them.
package sources

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/dns"
	"github.com/poise-lb/poise/endpoint"
)

// A Set builds the sources of one proxy. The zero value knows no kinds. Its methods may be
// called from any goroutine; the fields are set before. It must not be copied.
type Set struct {
	Log   *slog.Logger        // nil: slog.Default()
	Kinds []config.SourceKind // in addition to those of this package; of two for one key the later one counts

	strays atomic.Int64 // sources that were stopped and have not ended
}

// Of returns where the endpoints of a service come from: a source, or a list that never
// changes and no source. path is that of the service in the configuration, for errors,
// which have Problems, and for the log.
func (s *Set) Of(path string, c config.Service) ([]endpoint.Spec, discovery.Source, error) {
	if c.Source == nil {
		return listed(path+".endpoints", c.Endpoints)
	}
	src, err := s.source(path+".source", c.Source)
	return nil, src, err
}

// source builds the source of c, which survives its own panics.
func (s *Set) source(path string, c *config.Source) (discovery.Source, error) {
	src, err := s.bare(path, c)
	if err != nil {
		return nil, err
	}
	return &recovered{source: src, path: path, log: s.log()}, nil
}

func (s *Set) bare(path string, c *config.Source) (discovery.Source, error) {
	switch {
	case c.Custom != nil:
		return dns.Resolve(c.Custom, ""), nil // of one that names addresses alone, it stays as it is
	case c.DNS != nil:
		src, err := named(c.DNS)
		return src, problem(path+".dns", err)
	case c.Merge != nil:
		return s.merge(path+".merge", c.Merge)
	}
	return s.linked(path, c)
}

// linked is the source of a kind that the program has handed in.
func (s *Set) linked(path string, c *config.Source) (discovery.Source, error) {
	name := kind(c)
	for _, k := range slices.Backward(s.Kinds) {
		if k.Kind() != name {
			continue
		}
		src, err := k.Open(path, *c, s.log())
		if err != nil {
			return nil, problem(config.Key(path, name), err)
		}
		return dns.Resolve(src, ""), nil
	}
	switch name {
	case "":
		return nil, config.NewErrors(config.Problem{Path: path, Message: "names no source"})
	case "file":
		return fromJSON(config.Key(path, name), c.File.Path)
	}
	return nil, config.NewErrors(config.Problem{Path: config.Key(path, name), Message: notLinked(name)})
}

// notLinked says what a program lacks that was built without a kind.
func notLinked(name string) string {
	function, what := strings.ToUpper(name[:1])+name[1:], name
	if name == "file" {
		what = "endpoint lists in YAML"
	}
	return fmt.Sprintf("this program was built without %s: import github.com/poise-lb/poise/sources and give poise.New sources.%s(), or sources.All(), in Config.Sources", what, function)
}

// problem gives err a path, if it has none.
func problem(path string, err error) error {
	var known *config.Errors
	if err == nil || errors.As(err, &known) {
		return err
	}
	return config.NewErrors(config.Problem{Path: path, Message: err.Error()})
}

// listed is a static list; each host name in it is a source of its own.
func listed(path string, list []config.Endpoint) ([]endpoint.Spec, discovery.Source, error) {
	var static []endpoint.Spec
	var sources []discovery.Source
	for i, e := range list {
		spec, host, err := e.Parse()
		if err != nil {
			return nil, nil, config.NewErrors(config.Problem{Path: config.Index(path, i), Value: e.URL, Message: err.Error()})
		}
		if host == "" {
			static = append(static, spec)
			continue
		}
		src, err := resolved(spec, host, "")
		if err != nil {
			return nil, nil, err
		}
		if spec.Out || spec.Zone != "" || spec.Priority != 0 || spec.Metadata != nil {
			src = described{src, spec}
		}
		sources = append(sources, src)
	}
	if len(sources) == 0 {
		return static, nil, nil
	}
	return nil, discovery.Merge(append(sources, discovery.Static(static))...), nil
}

// named is the source of the host name or the SRV record of d.
func named(d *config.DNSSource) (discovery.Source, error) {
	if d.SRV != "" {
		name, server, err := d.Record()
		if err != nil {
			return nil, err
		}
		return dns.New(dns.Config{SRV: name, Scheme: d.Scheme, Server: server}), nil
	}
	spec, host, server, err := d.Target()
	if err != nil {
		return nil, err
	}
	return resolved(spec, host, server)
}

// resolved is the source of a host name; spec has its scheme, port and weight.
func resolved(spec endpoint.Spec, host, server string) (discovery.Source, error) {
	_, port, err := net.SplitHostPort(spec.Address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	return dns.New(dns.Config{Host: host, Port: uint16(n), Scheme: spec.Scheme, Weight: spec.Weight, Server: server}), nil
}

// described is the source of a host name of which the list says more: each of its addresses is out,
// has the zone, and so on.
type described struct {
	discovery.Source
	entry endpoint.Spec
}

// Run runs the source.
func (d described) Run(ctx context.Context, publish func(discovery.Update)) error {
	return d.Source.Run(ctx, func(u discovery.Update) {
		u.Endpoints = slices.Clone(u.Endpoints)
		for i := range u.Endpoints {
			e := &u.Endpoints[i]
			e.Out, e.Zone, e.Priority, e.Metadata = d.entry.Out, d.entry.Zone, d.entry.Priority, d.entry.Metadata
		}
		publish(u)
	})
}

func (s *Set) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.Default()
}
