//go:build linux

package peers

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	lb "github.com/poise-lb/poise"
	"github.com/poise-lb/poise/test/internal/rig"
)

// poise is the command on one of its engines.
func poise(engine string) peer {
	return peer{
		name: "Poise, " + engine,
		install: func(k *kit) (string, error) {
			if k.poise == "" {
				k.poise = rig.Poise(k.t)
			}
			// An engine it does not know is a mistake, and said before anything else is looked
			// at: the file is not there.
			c := rig.Start(k.t, rig.Command{Path: k.poise, Args: []string{"run", "--engine", engine, "-c", filepath.Join(k.cache, "none.yaml")}})
			c.Exit()
			if c.Said("--engine") > 0 {
				return "", fmt.Errorf("this poise has no engine %s", engine)
			}
			return runtime.Version(), nil
		},
		start: func(t *testing.T, k *kit, s setup) *rig.Process {
			return rig.Start(t, rig.Command{Path: k.poise, Core: proxyCore, Env: []string{"GOMAXPROCS=1"},
				Args: []string{"run", "--engine", engine, "--workers", "1", "-c", file(t, "poise.yaml", poiseFile(s))}})
		},
		remarks: "`poise run --engine " + engine + " --workers 1`",
	}
}

// poiseFile is the configuration.
func poiseFile(s setup) string {
	var b strings.Builder
	b.WriteString("version: 1\nlisten:\n")
	fmt.Fprintf(&b, "  - address: %s\n", s.Listen)
	if s.Cert != "" {
		fmt.Fprintf(&b, "    tls: {min_version: \"1.3\", certificates: [{cert: %s, key: %s}]}\n", s.Cert, s.Key)
	}
	b.WriteString("timeouts: {idle: 300s}\n")
	b.WriteString(rig.Operate{Log: s.Log, Status: s.Status, Trace: s.Trace, Spans: s.Spans}.Config())
	// As the others: connections to the endpoints outlast the turns of the rest, and may
	// wait in a full queue of a listener.
	b.WriteString("services:\n  all:\n    connections: {connect_timeout: 5s, idle_timeout: 300s")
	if s.Pool > 1024 {
		fmt.Fprintf(&b, ", max_idle: %d", s.Pool)
	}
	b.WriteString("}\n    endpoints:\n")
	for _, e := range s.Endpoints {
		scheme := "http"
		if s.Inner {
			scheme = "h2c"
		}
		fmt.Fprintf(&b, "      - %s://%s\n", scheme, e)
	}
	b.WriteString("routes:\n")
	if s.Routes == 0 {
		b.WriteString("  - {service: all}\n")
	}
	b.WriteString(each(s.Routes, func(i int) string {
		return fmt.Sprintf("  - {match: {path: /r%d/**}, service: all}\n", i)
	}))
	return b.String()
}

// poiseLibrary is for what cannot be asked of the command: a garbage collection.
var poiseLibrary = peer{
	name:    "Poise, library",
	install: func(*kit) (string, error) { return runtime.Version(), nil },
	start: func(t *testing.T, _ *kit, s setup) *rig.Process {
		return again(t, "library", s, proxyCore)
	},
	cannot:  func(s setup) bool { return s.Cert != "" },
	remarks: "a program that embeds the library, `Serve` on a listener, `GOMAXPROCS=1`",
	only:    true,
}

func library() error {
	s, err := givenSetup()
	if err != nil {
		return err
	}
	service := lb.Service{Connections: lb.Connections{IdleTimeout: 5 * time.Minute}}
	for _, e := range s.Endpoints {
		service.Endpoints = append(service.Endpoints, lb.Endpoint{URL: "http://" + e})
	}
	c := lb.Config{Services: map[string]lb.Service{"all": service}, Logger: slog.Default()}
	if s.Routes == 0 {
		c.Routes = []lb.Route{{Service: "all"}}
	}
	for i := range s.Routes {
		c.Routes = append(c.Routes, lb.Route{Match: lb.Match{Path: fmt.Sprintf("/r%d/**", i)}, Service: "all"})
	}
	p, err := lb.New(c)
	if err != nil {
		return err
	}
	defer p.Close(context.Background())
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return err
	}
	if s.Collect {
		go func() { // ends with the process
			for range time.Tick(time.Second) {
				runtime.GC()
			}
		}()
	}
	return p.Serve(l)
}
