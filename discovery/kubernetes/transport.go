package kubernetes

// The connections to one API server, which are given up together: one of them may hang, or lead
// to a server that does, while watches of other namespaces on it go on. So a client has one
// transport after the other, and knows each connection, to close it in whatever state it is.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

const (
	dialTimeout = 3 * time.Second

	// A connection by HTTP/2 that has been silent for pingAfter is pinged, and closed if the
	// answer does not come within pingTime.
	pingAfter = 4 * time.Second
	pingTime  = 4 * time.Second
)

// A conn is a connection that the client can close in whatever state it is.
type conn struct {
	net.Conn
	api  *apiServer
	made int // number of its transport
}

func (c *conn) Close() error {
	c.api.mu.Lock()
	delete(c.api.conns, c)
	c.api.mu.Unlock()
	return c.Conn.Close()
}

// generation counts the transports, for renew.
func (c *apiServer) generation() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made
}

// renew has the following requests use new connections, with the pod's roots as they are now,
// unless that was done since generation used: a connection may hang, and may lead to a
// server that does. Requests of others on the connections of before go on.
func (c *apiServer) renew(used int) error {
	old, err := c.replace(used)
	for _, t := range old {
		t.CloseIdleConnections() // without mu, which conn.Close takes
	}
	return err
}

// replace makes another transport and returns those of before.
func (c *apiServer) replace(used int) (old []*http.Client, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made != used {
		return nil, nil
	}
	config := c.tls.Clone()
	if c.caFile != "" {
		data, err := os.ReadFile(c.caFile)
		if err != nil && c.http != nil {
			return nil, nil // as it was
		}
		roots := x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(data) {
			if c.http != nil {
				return nil, nil
			}
			return nil, errors.New("the roots of the pod's account cannot be read: " + c.caFile)
		}
		config = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	if c.credentials != nil {
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		config.GetClientCertificate = c.certificate
	}
	old = c.retire()
	c.made++
	c.http = client.Over(&http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         c.connect(c.made),
		TLSClientConfig:     config,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 1,
		// No IdleConnTimeout: net/http does not give a new request a connection that has
		// not been without requests for so long, and ours never are.
		Protocols: c.protocols,
		HTTP2:     &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTime},
	})
	return old, nil
}

// retire adds the present transport to those of before and forgets which of them have no
// connection any more. A request that has just ended may leave one behind, idle.
func (c *apiServer) retire() (old []*http.Client) { // with mu held
	if c.http == nil {
		return nil
	}
	c.retired[c.made] = c.http
	used := make(map[int]bool)
	for conn := range c.conns {
		used[conn.made] = true
	}
	maps.DeleteFunc(c.retired, func(made int, _ *http.Client) bool { return !used[made] })
	return slices.Collect(maps.Values(c.retired))
}

// connect is the dial function of the transport of that number.
func (c *apiServer) connect(made int) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		inner, err := c.dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		out := &conn{Conn: inner, api: c, made: made}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.conns == nil {
			inner.Close()
			return nil, net.ErrClosed
		}
		c.conns[out] = struct{}{}
		return out, nil
	}
}

// close closes all connections. The client is of no use then.
func (c *apiServer) close() {
	c.mu.Lock()
	all, current := c.conns, c.http
	c.conns = nil
	c.mu.Unlock()
	for conn := range all {
		conn.Conn.Close()
	}
	current.CloseIdleConnections()
}
