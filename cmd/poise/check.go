package main

// poise check: reads a configuration and reports every mistake, without serving.

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/internal/certs"
	"github.com/poise-lb/poise/sources"
	"github.com/poise-lb/poise/tracing"
)

func newCheck(s streams) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Look a configuration file over, without serving",
		Long: `Look a configuration file over: its words and values, what they refer to, and
the certificates. Nothing is served and no endpoint is asked. Prints every mistake as
file:line:column: what, and exits 2.`,
		Example: "  poise check -c poise.yaml && kill -HUP $(pidof poise)",
		RunE: func(*cobra.Command, []string) error {
			file, err := readFile(path)
			if err != nil {
				return err
			}
			if err := located(file, checkAll(file)); err != nil {
				return usage(err)
			}
			c := file.Config
			for _, line := range costs(&c) {
				fmt.Fprintln(s.stderr, "note: "+line)
			}
			_, err = fmt.Fprintf(s.stdout, "ok: %s, %s, %s\n", counted(len(c.Services), "service"),
				counted(len(c.Routes), "route"), counted(len(c.Listen), "address"))
			return err
		},
	}
	c.Flags().StringVarP(&path, "config", "c", "", "configuration file (YAML)")
	completeFile(c)
	return c
}

// checkAll finds what reading the file alone does not.
func checkAll(file *configfile.File) error {
	if err := compile(file.Config); err != nil {
		return err
	}
	var problems []config.Problem
	for i, l := range file.Config.Listen {
		if l.TLS == nil {
			continue
		}
		problems = append(problems, checkTLS(config.Key(config.Index("listen", i), "tls"), *l.TLS)...)
	}
	if t := file.Config.Admin.TLS; t != nil {
		problems = append(problems, checkTLS("admin.tls", *t)...)
	}
	return config.NewErrors(problems...)
}

// checkTLS reads the files that the TLS of a listener names.
func checkTLS(at string, t config.TLS) (problems []config.Problem) {
	try := func(path string, alone config.TLS) {
		if _, err := certs.Open(alone); err != nil {
			problems = append(problems, config.Problem{Path: path, Message: err.Error()})
		}
	}
	for j, pair := range t.Certificates {
		try(config.Index(config.Key(at, "certificates"), j), config.TLS{Certificates: []config.Certificate{pair}})
	}
	if t.DefaultCertificate != nil {
		try(config.Key(at, "default_certificate"), config.TLS{Certificates: []config.Certificate{*t.DefaultCertificate}})
	}
	if t.ClientAuth != nil && len(problems) == 0 {
		try(config.Key(config.Key(at, "client_auth"), "ca"), config.TLS{Certificates: t.Certificates, ClientAuth: t.ClientAuth})
	}
	return problems
}

// costs says what is dear in the certificates of listeners, a line for each. The files were read
// before without a mistake.
func costs(c *config.Config) (lines []string) {
	note := func(at string, t *config.TLS) {
		if t == nil {
			return
		}
		store, err := certs.Open(*t)
		if err != nil {
			return // replaced this very moment
		}
		for _, line := range store.Costs() {
			lines = append(lines, at+": "+line)
		}
	}
	for i, l := range c.Listen {
		note(config.Key(config.Index("listen", i), "tls"), l.TLS)
	}
	note("admin.tls", c.Admin.TLS)
	return lines
}

// compile makes a Proxy of c, which finds what only the making shows: patterns that
// conflict, keys and authorities that cannot be read. So that nothing outside is touched,
// it has no access log, and every service stands for itself with an endpoint that gets no
// request, instead of its own, which would be resolved and probed; those were looked at
// when the file was read.
func compile(c config.Config) error {
	c.AccessLog = config.AccessLog{}
	c.Logger, c.Sources, c.Spans = slog.New(slog.DiscardHandler), sources.All(), tracing.OTLP()
	services := make(map[string]config.Service, len(c.Services))
	for name, s := range c.Services {
		s.Source, s.Health = nil, nil
		s.Endpoints = []config.Endpoint{{URL: "http://127.0.0.1:1"}}
		services[name] = s
	}
	c.Services = services
	p, err := poise.New(c)
	if err != nil {
		return err
	}
	return p.Close(context.Background())
}
