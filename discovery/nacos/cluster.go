package nacos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

// A server is one member of the cluster. It may be shown: it holds no credentials.
type server struct {
	http string // base of the HTTP interface, without a final slash
	grpc string // host:port
}

// parseServers reads the addresses. Errors do not quote them: they may hold a password,
// though there is no place for one.
func parseServers(c Config) ([]server, error) {
	all, err := client.Servers(c.Servers, "http", "", false)
	if err != nil {
		return nil, fmt.Errorf("nacos: %w: servers are host:port or URLs like http://127.0.0.1:8848/nacos", err)
	}
	out := make([]server, len(all))
	for i, u := range all {
		port := 8848
		if u.Port() != "" {
			port, err = strconv.Atoi(u.Port())
		}
		if high := port + c.PortOffset; err != nil || port < 1 || port > 65535 || high < 1 || high > 65535 {
			return nil, fmt.Errorf("nacos: server %d has no usable port", i+1)
		}
		u.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(port))
		u.Path = cmp.Or(u.Path, "/nacos")
		out[i] = server{http: u.String(), grpc: net.JoinHostPort(u.Hostname(), strconv.Itoa(port+c.PortOffset))}
	}
	return out, nil
}

// A cluster is the servers, which are connected to in turn. It belongs to one goroutine.
type cluster struct {
	config  Config
	servers []server
	current int // the one that is asked until it fails
	web     *web
}

func newCluster(c Config, servers []server) *cluster {
	return &cluster{config: c, servers: servers, web: newWeb(c)}
}

func (c *cluster) close() { c.web.client.CloseIdleConnections() }

// each calls ask for one server after the other, from the current one, until one succeeds,
// and returns the errors of all if none does.
func (c *cluster) each(ctx context.Context, ask func(server) error) error {
	return client.Each(ctx, c.servers, &c.current, func(s server) string { return s.grpc }, ask)
}

// connect returns a session with the first server that will have one.
func (c *cluster) connect(ctx context.Context, push func(serviceJSON)) (*session, error) {
	var s *session
	err := c.each(ctx, func(to server) (err error) {
		s, err = c.begin(ctx, to, push)
		return err
	})
	return s, err
}

// A session is a connection that the server has taken notice of.
type session struct {
	*conn
	cluster *cluster
	server  server
}

// begin introduces this client to a server.
func (c *cluster) begin(ctx context.Context, to server, push func(serviceJSON)) (*session, error) {
	n, err := dial(ctx, to, c.config, push)
	if err != nil {
		return nil, err
	}
	s := &session{conn: n, cluster: c, server: to}
	if err := s.introduce(ctx); err != nil {
		n.close()
		return nil, err
	}
	return s, nil
}

func (s *session) introduce(ctx context.Context) error {
	if err := s.call(ctx, "ServerCheckRequest", nil, struct{}{}, nil); err != nil {
		return err
	}
	err := s.send("ConnectionSetupRequest", map[string]any{
		"clientVersion":   "Poise:1",
		"tenant":          s.cluster.config.Namespace,
		"labels":          map[string]string{"source": "sdk", "module": "naming"},
		"clientAbilities": struct{}{},
	})
	if err != nil {
		return err
	}
	// The stream and the calls are not ordered: until the server has seen the stream, it
	// does not know the connection.
	deadline := time.Now().Add(s.cluster.config.Timeout)
	for {
		err := s.check(ctx)
		remote, ok := errors.AsType[*remoteError](err)
		if !ok || remote.code != codeUnregistered || time.Now().After(deadline) {
			return err
		}
		if !client.Sleep(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// check asks for a sign of life.
func (s *session) check(ctx context.Context) error {
	return s.ask(ctx, "HealthCheckRequest", subject{}, struct{}{}, nil)
}

// ask is call with the signature for what it is about, and with the token of the login,
// which is made anew once if it is not accepted.
func (s *session) ask(ctx context.Context, kind string, about subject, in, out any) error {
	for try := 0; ; try++ {
		token, err := s.cluster.web.token(ctx, s.server)
		if err != nil {
			return err
		}
		headers := s.cluster.config.signature(about)
		if token != "" {
			if headers == nil {
				headers = make(map[string]string)
			}
			headers["accessToken"] = token
		}
		err = s.call(ctx, kind, headers, in, out)
		remote, ok := errors.AsType[*remoteError](err)
		if !ok || remote.code != codeForbidden {
			return err
		}
		switch {
		case token == "" && s.cluster.config.AccessKey != "":
			return fmt.Errorf("%w: the access key may not do this, or the secret key is wrong", err)
		case token == "":
			return fmt.Errorf("%w: it asks for a user and a password, or for an access key", err)
		case try > 0:
			return fmt.Errorf("%w: the user may not do this", err)
		}
		s.cluster.web.forget()
	}
}

// A serviceRequest is the part that requests about a service have in common.
type serviceRequest struct {
	Module    string `json:"module"`
	Namespace string `json:"namespace"`
	Group     string `json:"groupName"`
	Service   string `json:"serviceName"`
}

func (c *cluster) request(s subject) serviceRequest {
	return serviceRequest{Module: "naming", Namespace: c.config.Namespace, Group: s.group, Service: s.service}
}

// subscribe begins or ends the pushes for a service and returns its instances. All of
// them: which clusters are wanted is looked at here, so that sources that want different
// ones share a subscription.
func (s *session) subscribe(ctx context.Context, to subject, on bool) ([]hostJSON, error) {
	in := struct {
		serviceRequest
		Clusters  string `json:"clusters"`
		Subscribe bool   `json:"subscribe"`
	}{s.cluster.request(to), "", on}
	var out struct {
		Service serviceJSON `json:"serviceInfo"`
	}
	err := s.ask(ctx, "SubscribeServiceRequest", to, in, &out)
	if err != nil || !on {
		return nil, err
	}
	return out.Service.instances()
}

// query returns the instances of a service.
func (s *session) query(ctx context.Context, of subject) ([]hostJSON, error) {
	in := struct {
		serviceRequest
		Cluster string `json:"cluster"`
		Healthy bool   `json:"healthyOnly"`
		UDPPort int    `json:"udpPort"`
	}{s.cluster.request(of), "", false, 0}
	var out struct {
		Service serviceJSON `json:"serviceInfo"`
	}
	if err := s.ask(ctx, "ServiceQueryRequest", of, in, &out); err != nil {
		return nil, err
	}
	return out.Service.instances()
}

// named says which server err is about.
func (s *session) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", s.server.grpc, err)
}
