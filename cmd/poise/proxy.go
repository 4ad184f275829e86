package main

// poise proxy: a proxy for one service from flags alone.

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/cmd/poise/internal/serve"
	"github.com/poise-lb/poise/config"
)

type proxyFlags struct {
	listen, policy, engine, health string
	to                             []string
	workers                        int
	cert, key, admin               string
}

// serviceName is what the only service of a proxy without a file is called.
const serviceName = "default"

func newProxy(s streams) *cobra.Command {
	var f proxyFlags
	c := &cobra.Command{
		Use:   "proxy --listen ADDRESS --to URL[,URL...]",
		Short: "Balance requests over endpoints, without a file",
		Example: `  poise proxy --listen 127.0.0.1:8080 --to http://127.0.0.1:9001,http://127.0.0.1:9002

  # only endpoints that pass a health check, by latency
  poise proxy --to http://10.0.0.1:80,http://10.0.0.2:80 --health "HEAD /health" --policy peak_ewma

  # https in, http out
  poise proxy --listen :8443 --to http://127.0.0.1:9001 --tls-cert cert.pem --tls-key key.pem`,
		RunE: func(*cobra.Command, []string) error { return f.run(s) },
	}
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8080", "address to serve, host:port")
	c.Flags().StringSliceVar(&f.to, "to", nil, "endpoints: http://host:port or https://host:port")
	c.Flags().StringVar(&f.policy, "policy", "least_time", "how an endpoint is chosen: "+strings.Join(policies(), ", "))
	c.Flags().StringVar(&f.health, "health", "", `active check, as in "HEAD /health"; empty: none`)
	c.Flags().StringVar(&f.engine, "engine", "auto", strings.Join(engines(), ", "))
	c.Flags().IntVar(&f.workers, "workers", 0, "processors to use; 0: all")
	c.Flags().StringVar(&f.cert, "tls-cert", "", "PEM file with the certificate chain: serve https")
	c.Flags().StringVar(&f.key, "tls-key", "", "PEM file with the private key")
	c.Flags().StringVar(&f.admin, "admin", "", "address of the admin API and its page, as 127.0.0.1:9900; empty: none")
	completeWords(c, "policy", policies())
	completeWords(c, "engine", engines())
	return c
}

func (f proxyFlags) run(s streams) error {
	engine, err := serve.Engine(f.engine).Resolve()
	if err != nil {
		return usage(fmt.Errorf("poise: --engine: %w", err))
	}
	if err := setWorkers(f.workers); err != nil {
		return usage(err)
	}
	c, err := f.config()
	if err != nil {
		return usage(err)
	}
	if err := c.Validate(); err != nil {
		return asFlags(err)
	}
	in, served, err := start(s, c, &origin{name: "flags"}, engine)
	if err != nil {
		return asFlags(err)
	}
	if !served {
		return nil
	}
	in.ready("policy " + f.policy + ", " + counted(endpointsOf(in), "endpoint"))
	return in.run(events{upgrade: true})
}

// config is what the flags say, in the words of a file.
func (f proxyFlags) config() (config.Config, error) {
	service := config.Service{Policy: config.Policy{Type: f.policy}}
	for _, url := range f.to {
		if url = strings.TrimSpace(url); url != "" {
			service.Endpoints = append(service.Endpoints, config.Endpoint{URL: url})
		}
	}
	if len(service.Endpoints) == 0 {
		return config.Config{}, errors.New("poise: say where requests go with --to URL[,URL...]")
	}
	if f.health != "" {
		service.Health = &config.Health{Check: f.health}
	}
	listen := config.Listen{Address: f.listen}
	switch {
	case f.cert != "" && f.key != "":
		listen.TLS = &config.TLS{Certificates: []config.Certificate{{Cert: f.cert, Key: f.key}}}
	case f.cert != "" || f.key != "":
		return config.Config{}, errors.New("poise: --tls-cert and --tls-key belong together")
	}
	return config.Config{
		Listen:   []config.Listen{listen},
		Admin:    config.Admin{Address: f.admin},
		Services: map[string]config.Service{serviceName: service},
		Routes:   []config.Route{{Service: serviceName}},
	}, nil
}

// flagOf says which flag a path of the configuration came from; "" if none.
func flagOf(path string) string {
	service := config.Key("services", serviceName)
	for _, f := range []struct{ path, flag string }{
		{service + ".endpoints", "--to"},
		{service + ".policy", "--policy"},
		{service + ".health", "--health"},
		{"listen[0].tls", "--tls-cert"},
		{"listen", "--listen"},
		{"admin", "--admin"},
	} {
		if strings.HasPrefix(path, f.path) {
			return f.flag
		}
	}
	return ""
}

// asFlags tells problems of the configuration in the words of the flags.
func asFlags(err error) error {
	var with interface{ Problems() []config.Problem }
	if !errors.As(err, &with) {
		return err
	}
	var lines []string
	for _, p := range with.Problems() {
		line := "poise: " + p.String()
		if flag := flagOf(p.Path); flag != "" {
			line = "poise: " + flag + ": " + p.Text()
		}
		lines = append(lines, line)
	}
	return usage(errors.New(strings.Join(lines, "\n")))
}

// endpointsOf counts the endpoints there really are: a name may stand for several.
func endpointsOf(in *instance) int {
	n := 0
	for _, service := range in.proxy.Status().Services {
		n += len(service.Endpoints)
	}
	return n
}
