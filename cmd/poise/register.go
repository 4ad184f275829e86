package main

// poise register: announces an instance in a registry and withdraws it at the end.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/register"
)

type registerFlags struct {
	servers map[string]*[]string // by the name of the registry
	in      discovery.Instance
	ttl     time.Duration
	check   config.Health
	checkAt string

	username, passwordFile, tokenFile       string
	prefix, path, namespace, group, cluster string
	datacenter                              string
	tags                                    []string
	tls                                     config.SourceTLS
	kubernetes                              bool
}

// registries are those that an instance can be announced in, with an example of a server.
var registries = []struct{ name, example string }{
	{"etcd", "http://127.0.0.1:2379"}, {"consul", "http://127.0.0.1:8500"}, {"nacos", "127.0.0.1:8848"},
	{"eureka", "http://127.0.0.1:8761/eureka"}, {"zookeeper", "127.0.0.1:2181"},
}

// only are the flags that not every registry has.
var only = map[string]string{
	"username": "etcd nacos eureka zookeeper", "password-file": "etcd nacos eureka zookeeper", "token-file": "consul",
	"prefix": "etcd", "path": "zookeeper", "namespace": "nacos consul", "group": "nacos", "cluster": "nacos",
	"datacenter": "consul", "tag": "consul", "ttl": "etcd consul eureka zookeeper",
	"tls-ca": "etcd consul nacos eureka", "tls-cert": "etcd consul nacos eureka", "tls-key": "etcd consul nacos eureka",
	"tls-server-name": "etcd consul nacos eureka", "tls-insecure": "etcd consul nacos eureka",
}

func newRegister(s streams) *cobra.Command {
	f := registerFlags{servers: make(map[string]*[]string)}
	c := &cobra.Command{
		Use:   "register --REGISTRY SERVER[,SERVER...] --service NAME --address HOST:PORT",
		Short: "Announce an instance of a service in a registry",
		Long: `Announce an instance of a service in a registry, for a program that has no client
of it. It stays announced until SIGTERM or SIGINT, and is removed then. With --check it
is announced only while it is well.

Passwords and tokens are read from files, because everybody can see the flags of a
process.`,
		Example: `  poise register --nacos 127.0.0.1:8848 --service users --address 127.0.0.1:9001

  # with a weight and a zone, and only while it is well
  poise register --consul http://127.0.0.1:8500 --service users --address 127.0.0.1:9001 --weight 3 --zone a --meta version=2 --check "HEAD /health"

  # a program behind a sidecar, which others reach at 10.0.0.7:8443 (docs/mesh.md)
  poise register --consul http://127.0.0.1:8500 --service users --address 10.0.0.7:8443 --scheme https --check "HEAD /health" --check-at http://127.0.0.1:9001

  # the other registries
  poise register --etcd http://127.0.0.1:2379 --service users --address 127.0.0.1:9001
  poise register --eureka http://127.0.0.1:8761/eureka --service USERS --address 127.0.0.1:9001
  poise register --zookeeper 127.0.0.1:2181 --service users --address 127.0.0.1:9001`,
	}
	f.flags(c)
	c.RunE = func(c *cobra.Command, _ []string) error { return f.run(c, s) }
	return c
}

func (f *registerFlags) flags(c *cobra.Command) {
	p := c.Flags()
	for _, r := range registries {
		f.servers[r.name] = new([]string)
		p.StringSliceVar(f.servers[r.name], r.name, nil, "servers of "+r.name+", as in "+r.example)
	}
	p.BoolVar(&f.kubernetes, "kubernetes", false, "not needed: Kubernetes announces pods by itself")
	p.StringVar(&f.in.Service, "service", "", "name of the service")
	p.StringVar(&f.in.Address, "address", "", "host:port as others reach the instance")
	p.StringVar(&f.in.ID, "id", "", "unique within the service; empty: made of the address")
	p.StringVar(&f.in.Scheme, "scheme", "http", "http or https")
	p.IntVar(&f.in.Weight, "weight", 1, "share relative to other instances, 1 to 1000")
	p.StringVar(&f.in.Zone, "zone", "", "where the instance is")
	p.StringToStringVar(&f.in.Metadata, "meta", nil, "metadata: key=value, repeatable")
	p.StringVar(&f.check.Check, "check", "", `announce only while this passes, as in "HEAD /health"`)
	p.StringVar(&f.checkAt, "check-at", "", "where --check asks, as in http://127.0.0.1:8080; empty: at the address")
	p.DurationVar(&f.check.Interval, "check-interval", 5*time.Second, "between checks")
	p.DurationVar(&f.ttl, "ttl", 0, "an instance that died without a word is kept so long; 0: the registry's default")
	p.StringVar(&f.username, "username", "", "of a registry with authentication")
	p.StringVar(&f.passwordFile, "password-file", "", "file with the password")
	p.StringVar(&f.tokenFile, "token-file", "", "consul: file with the ACL token")
	p.StringVar(&f.prefix, "prefix", "", "etcd: what the key begins with; empty: /services/NAME/")
	p.StringVar(&f.path, "path", "", "zookeeper: node to stand below; empty: /services/NAME")
	p.StringVar(&f.namespace, "namespace", "", "nacos: id of the namespace; consul: of the Enterprise edition")
	p.StringVar(&f.group, "group", "", "nacos: group of the service; empty: DEFAULT_GROUP")
	p.StringVar(&f.cluster, "cluster", "", "nacos: cluster of the instance; empty: DEFAULT")
	p.StringVar(&f.datacenter, "datacenter", "", "consul: empty: the agent's own")
	p.StringSliceVar(&f.tags, "tag", nil, "consul: tags of the instance")
	p.StringVar(&f.tls.CA, "tls-ca", "", "PEM file with the authorities to trust; empty: the system's")
	p.StringVar(&f.tls.Cert, "tls-cert", "", "PEM file with the certificate to show to the registry")
	p.StringVar(&f.tls.Key, "tls-key", "", "PEM file with its private key")
	p.StringVar(&f.tls.ServerName, "tls-server-name", "", "name to verify; empty: the host of the server")
	p.BoolVar(&f.tls.Insecure, "tls-insecure", false, "accept any certificate: for tests only")
	completeWords(c, "scheme", []string{"http", "https"})
}

func (f *registerFlags) run(c *cobra.Command, s streams) error {
	settings, err := f.config(c)
	if err != nil {
		return usage(fmt.Errorf("poise: %w", err))
	}
	s.catch()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log, lines := newLogger("text", levelOf(config.Log{}), s.stderr)
	defer func() { within(writeFor, func() { lines.Close(context.Background()) }) }()
	announced, once := false, false
	done := make(chan error, 1)
	go func() {
		done <- register.Run(ctx, settings, f.in, func(err error) {
			switch {
			case err != nil:
				announced = false
				log.Warn("not announced", "service", f.in.Service, "address", f.in.Address, "error", err)
			case !announced && !once:
				announced, once = true, true
				say(s.stdout, "poise: announced %s of %s in %s\n", f.in.Address, f.in.Service, settings.Name())
			case !announced:
				announced = true
				log.Info("announced again", "service", f.in.Service, "address", f.in.Address)
			}
		})
	}()
	for {
		select {
		case err := <-done:
			if ctx.Err() == nil { // it can never be announced: the flags are wrong
				return usage(fmt.Errorf("poise: %w", err))
			}
			return err
		case sig := <-s.signals:
			if sig != syscall.SIGHUP {
				cancel()
			}
		}
	}
}

// config is what the flags say, in the words of a file.
func (f *registerFlags) config(c *cobra.Command) (register.Config, error) {
	var none register.Config
	name, err := f.registry()
	if err != nil {
		return none, err
	}
	for _, flag := range slices.Sorted(maps.Keys(only)) {
		names := only[flag]
		if c.Flags().Changed(flag) && !strings.Contains(" "+names+" ", " "+name+" ") {
			return none, fmt.Errorf("--%s is not for %s, but for %s", flag, name, strings.ReplaceAll(names, " ", ", "))
		}
	}
	switch {
	case f.in.Service == "":
		return none, errors.New("say which service it is with --service NAME")
	case f.in.Address == "":
		return none, errors.New("say where the instance is with --address HOST:PORT")
	case f.in.Weight < 1 || f.in.Weight > 1000:
		return none, fmt.Errorf("--weight %d: 1 to 1000", f.in.Weight)
	case f.checkAt != "" && f.check.Check == "":
		return none, errors.New("--check-at says where --check asks: say what, as in --check \"HEAD /health\"")
	case f.ttl < 0:
		return none, fmt.Errorf("--ttl %v: 0 or more", f.ttl)
	}
	password, err := secret("--password-file", f.passwordFile)
	if err != nil {
		return none, err
	}
	token, err := secret("--token-file", f.tokenFile)
	if err != nil {
		return none, err
	}
	out := f.target(name, password, token)
	if out.TTL = f.ttl; f.check.Check != "" {
		f.check.Timeout = min(time.Second, f.check.Interval)
		out.Health, out.Ask = &f.check, f.checkAt
	}
	return out, nil
}

// registry is the name of the one that is given.
func (f *registerFlags) registry() (string, error) {
	if f.kubernetes {
		return "", errors.New("pods are announced by Kubernetes itself: give them a Service, and Poise a source of that (docs/discovery/kubernetes.md)")
	}
	var names, given []string
	for _, r := range registries {
		names = append(names, "--"+r.name)
		if len(*f.servers[r.name]) > 0 {
			given = append(given, r.name)
		}
	}
	if len(given) != 1 {
		return "", fmt.Errorf("say where to announce with one of %s", strings.Join(names, ", "))
	}
	return given[0], nil
}

// target is the registry of that name.
func (f *registerFlags) target(name, password, token string) (out register.Config) {
	servers := *f.servers[name]
	var secure *config.SourceTLS
	if f.tls != (config.SourceTLS{}) {
		secure = &f.tls
	}
	switch name {
	case "etcd":
		out.Etcd = &config.EtcdSource{Servers: servers, Prefix: f.prefix, Username: f.username, Password: password, TLS: secure}
	case "consul":
		out.Consul = &config.ConsulSource{Servers: servers, Tags: f.tags, Datacenter: f.datacenter, Namespace: f.namespace, Token: token, TLS: secure}
	case "nacos":
		out.Nacos = &config.NacosSource{Servers: servers, Namespace: f.namespace, Group: f.group, Username: f.username, Password: password, TLS: secure}
		if f.cluster != "" {
			out.Nacos.Clusters = []string{f.cluster}
		}
	case "eureka":
		out.Eureka = &config.EurekaSource{Servers: servers, Username: f.username, Password: password, TLS: secure}
	case "zookeeper":
		out.Zookeeper = &config.ZookeeperSource{Servers: servers, Path: f.path, Username: f.username, Password: password}
	}
	return out
}

// secret reads a file without the break at its end. An empty path is an empty secret.
func secret(flag, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}
