// Package sources builds the source of a service from its configuration. It is the one
// place that knows every kind of source. Services that ask the same registry share what
// there need be only one of: the connection to Nacos and ZooKeeper, the copy of Eureka's
// registry.
package sources

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/dns"
	"github.com/poise-lb/poise/discovery/eureka"
	"github.com/poise-lb/poise/discovery/file"
	"github.com/poise-lb/poise/discovery/nacos"
	"github.com/poise-lb/poise/discovery/zookeeper"
	"github.com/poise-lb/poise/endpoint"
)

// A Set builds the sources of one proxy and has what they share, which lives as long as
// one of the sources that use it runs. The zero value is ready for use. Its methods may be
// called from any goroutine; it must not be copied.
type Set struct {
	Log *slog.Logger // nil: slog.Default()

	nacos     shared[*nacos.Registry]
	eureka    shared[*eureka.Registry]
	zookeeper zookeeper.Pool
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
	case c.File != nil:
		name := c.File.Path
		return file.New(name, func(data []byte) ([]endpoint.Spec, []discovery.Reject, error) { return parseList(name, data) }), nil
	case c.DNS != nil:
		spec, host, server, err := c.DNS.Target()
		if err == nil {
			return resolved(spec, host, server)
		}
		return nil, problem(path+".dns", err)
	case c.Merge != nil:
		return s.merge(path+".merge", c.Merge)
	}
	src, err := s.registry(path, c)
	if err != nil {
		return nil, err
	}
	return dns.Resolve(src, ""), nil
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
		if spec.Out {
			src = drained{src}
		}
		sources = append(sources, src)
	}
	if len(sources) == 0 {
		return static, nil, nil
	}
	return nil, discovery.Merge(append(sources, discovery.Static(static))...), nil
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

// parseList reads the list of a file source, in which host names are not resolved. Entries
// that cannot be used are rejected; the others are used.
func parseList(name string, data []byte) ([]endpoint.Spec, []discovery.Reject, error) {
	list, rejected, err := configfile.Endpoints(name, data)
	if err != nil {
		return nil, nil, err
	}
	var rejects []discovery.Reject
	for _, r := range rejected {
		rejects = append(rejects, discovery.Reject{ID: r.Entry, Reason: r.Reason()})
	}
	specs := make([]endpoint.Spec, 0, len(list))
	for _, e := range list {
		spec, host, err := e.Parse()
		if err == nil && host != "" {
			err = fmt.Errorf("a list in a file takes addresses; resolve %s by a source of its own", host)
		}
		if err != nil {
			rejects = append(rejects, discovery.Reject{ID: e.URL, Reason: name + ": " + err.Error()})
			continue
		}
		specs = append(specs, spec)
	}
	if len(specs) == 0 && len(rejects) > 0 {
		return nil, nil, fmt.Errorf("no entry can be used: %s: %s", rejects[0].ID, rejects[0].Reason)
	}
	return specs, rejects, nil
}

// drained is a source whose endpoints are all out: the configuration drains the name.
type drained struct{ discovery.Source }

// Run runs the source.
func (d drained) Run(ctx context.Context, publish func(discovery.Update)) error {
	return d.Source.Run(ctx, func(u discovery.Update) {
		u.Endpoints = slices.Clone(u.Endpoints)
		for i := range u.Endpoints {
			u.Endpoints[i].Out = true
		}
		publish(u)
	})
}
