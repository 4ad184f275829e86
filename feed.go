package poise

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/dns"
	"github.com/poise-lb/poise/discovery/file"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/core"
)

// feed says where a service's endpoints come from: it is the one place that knows the
// sources.
func feed(path string, s Service) (core.Feed, error) {
	switch {
	case s.Source == nil:
		return listed(path+".endpoints", s.Endpoints)
	case s.Source.Custom != nil:
		return core.Feed{Source: s.Source.Custom}, nil
	case s.Source.File != nil:
		name := s.Source.File.Path
		return core.Feed{Source: file.New(name, func(data []byte) ([]endpoint.Spec, error) { return parseList(name, data) })}, nil
	case s.Source.DNS != nil:
		spec, host, server, err := s.Source.DNS.Target()
		if err != nil {
			return core.Feed{}, config.NewErrors(config.Problem{Path: path + ".source.dns", Message: err.Error()})
		}
		src, err := resolved(spec, host, server)
		return core.Feed{Source: src}, err
	}
	return core.Feed{}, config.NewErrors(config.Problem{Path: path + ".source", Message: "names no source"})
}

// listed is a static list; each host name in it is a source of its own.
func listed(path string, list []Endpoint) (core.Feed, error) {
	var f core.Feed
	var sources []discovery.Source
	for i, e := range list {
		spec, host, err := e.Parse()
		if err != nil {
			return f, config.NewErrors(config.Problem{Path: config.Index(path, i), Value: e.URL, Message: err.Error()})
		}
		if host == "" {
			f.Static = append(f.Static, spec)
			continue
		}
		src, err := resolved(spec, host, "")
		if err != nil {
			return f, err
		}
		sources = append(sources, src)
	}
	if len(sources) > 0 {
		f.Source = discovery.Merge(append(sources, discovery.Static(f.Static))...)
	}
	return f, nil
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

// parseList reads the list of a file source, in which host names are not resolved.
func parseList(name string, data []byte) ([]endpoint.Spec, error) {
	list, err := configfile.Endpoints(name, data)
	if err != nil {
		return nil, err
	}
	specs := make([]endpoint.Spec, 0, len(list))
	for _, e := range list {
		spec, host, err := e.Parse()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if host != "" {
			return nil, fmt.Errorf("%s: %s: a list in a file takes addresses; resolve %s by a source of its own", name, e.URL, host)
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// start runs a source on a goroutine; stop ends it and waits for it.
func start(src discovery.Source, publish func(discovery.Update)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := src.Run(ctx, publish); err != nil && ctx.Err() == nil {
			publish(discovery.Update{Err: err})
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}
