package kubernetes

// The HTTP client of one API server, which all namespaces share: by HTTP/2 they share one
// connection too.

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

const (
	dialTimeout = 3 * time.Second
	accountDir  = "/var/run/secrets/kubernetes.io/serviceaccount"

	// A connection by HTTP/2 that has been silent for pingAfter is pinged, and closed if the
	// answer does not come within pingTime.
	pingAfter = 4 * time.Second
	pingTime  = 4 * time.Second
)

type dialFunc = client.DialFunc

// An apiServer is the client of one API server. It is safe for concurrent use.
type apiServer struct {
	server    *url.URL
	namespace string
	token     string
	tokenFile string
	caFile    string // of the pod's account: read again with renew, since it is replaced in time
	tls       *tls.Config
	dial      dialFunc
	protocols *http.Protocols

	credentials Credentials // nil: there are none that expire

	mu         sync.Mutex
	credential *Credential // of credentials; nil: none was needed yet
	transport  *http.Transport
	made       int                     // how many transports there were
	retired    map[int]*http.Transport // those of before that may have connections, by number
	conns      map[*conn]struct{}      // nil: the client is closed
}

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

// newAPIServer returns a client. dial and protocols are for tests; nil: those of the network.
func newAPIServer(c Config, dial dialFunc, protocols *http.Protocols) (*apiServer, error) {
	if c.Namespace != "" && !isName(c.Namespace) {
		return nil, fmt.Errorf("%q cannot be the name of a namespace", c.Namespace)
	}
	out := &apiServer{
		namespace: c.Namespace, token: c.Token, tokenFile: c.TokenFile, tls: c.TLS,
		credentials: c.Credentials, dial: dial, protocols: protocols, conns: make(map[*conn]struct{}), retired: make(map[int]*http.Transport),
	}
	text := c.Server
	account := cmp.Or(c.Account, accountDir)
	if text == "" {
		host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
		if host == "" || port == "" {
			return nil, errors.New("there is no server, and this is not a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
		}
		text = "https://" + net.JoinHostPort(host, port)
		if c.TLS == nil {
			out.caFile = filepath.Join(account, "ca.crt")
		}
		if c.Token == "" && c.TokenFile == "" {
			out.tokenFile = filepath.Join(account, "token")
		}
		if c.Namespace == "" {
			data, err := os.ReadFile(filepath.Join(account, "namespace"))
			if out.namespace = strings.TrimSpace(string(data)); err == nil && !isName(out.namespace) {
				return nil, errors.New("the account's namespace file has no name in it")
			}
		}
	}
	out.namespace = cmp.Or(out.namespace, "default")
	list, err := client.Servers([]string{text}, "", "", false)
	if err != nil {
		return nil, err
	}
	u := list[0]
	if u.Scheme == "http" && (out.token != "" || out.tokenFile != "" || out.credentials != nil) && !loopback(u.Hostname()) {
		return nil, errors.New("a token is not sent over plain http: the server must be an https:// URL")
	}
	out.server = u
	if out.dial == nil {
		// Keepalives find a network that was cut in about ten seconds, whatever else waits.
		out.dial = (&net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 4 * time.Second, Interval: 2 * time.Second, Count: 3,
		}}).DialContext
	}
	if out.protocols == nil {
		out.protocols = new(http.Protocols)
		out.protocols.SetHTTP1(true)
		out.protocols.SetHTTP2(true)
	}
	return out, out.renew(0)
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
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
func (c *apiServer) replace(used int) (old []*http.Transport, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made != used {
		return nil, nil
	}
	config := c.tls.Clone()
	if c.caFile != "" {
		data, err := os.ReadFile(c.caFile)
		if err != nil && c.transport != nil {
			return nil, nil // as it was
		}
		roots := x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(data) {
			if c.transport != nil {
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
	c.transport = &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         c.connect(c.made),
		TLSClientConfig:     config,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 1,
		// No IdleConnTimeout: net/http does not give a new request a connection that has
		// not been without requests for so long, and ours never are.
		Protocols: c.protocols,
		HTTP2:     &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTime},
	}
	return old, nil
}

// retire adds the present transport to those of before and forgets which of them have no
// connection any more. A request that has just ended may leave one behind, idle.
func (c *apiServer) retire() (old []*http.Transport) { // with mu held
	if c.transport == nil {
		return nil
	}
	c.retired[c.made] = c.transport
	used := make(map[int]bool)
	for conn := range c.conns {
		used[conn.made] = true
	}
	maps.DeleteFunc(c.retired, func(made int, _ *http.Transport) bool { return !used[made] })
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
	all, transport := c.conns, c.transport
	c.conns = nil
	c.mu.Unlock()
	for conn := range all {
		conn.Conn.Close()
	}
	transport.CloseIdleConnections()
}

// get asks for slices of a namespace that belong to a Service. The answer is one of status
// 200, and the caller closes its body. Errors have neither URLs nor credentials.
func (c *apiServer) get(ctx context.Context, namespace string, query url.Values) (*http.Response, error) {
	u := c.server.JoinPath("apis/discovery.k8s.io/v1/namespaces", namespace, "endpointslices")
	query.Set("labelSelector", "kubernetes.io/service-name")
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errors.New("the request cannot be made")
	}
	req.Header.Set("Accept", "application/json")
	token, err := c.bearer()
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	c.mu.Lock()
	do := http.Client{
		Transport: c.transport,
		// A redirect might hand the token to another server.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.mu.Unlock()
	res, err := do.Do(req)
	if err != nil {
		return nil, client.Plain(ctx, err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	return nil, refusal(res)
}

// bearer is the token as of now.
func (c *apiServer) bearer() (string, error) {
	if c.credentials != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.credential.Token, nil
	}
	if c.tokenFile == "" {
		return c.token, nil
	}
	data, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return "", fmt.Errorf("the token: %w", err)
	}
	data = bytes.TrimSpace(data)
	if len(data) == 0 || bytes.ContainsAny(data, "\r\n\x00") {
		return "", fmt.Errorf("the token: %s has none", c.tokenFile)
	}
	return string(data), nil
}

// A status is what the server says about a failure. Its words have the account's name in
// them, never its token.
type status struct {
	Message string `json:"message"`
	Reason  string `json:"reason"`
	Code    int    `json:"code"`
}

// refusal is the error of an answer.
func refusal(res *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(res.Body, 16<<10)) // as much as there is
	var s status
	if json.Unmarshal(data, &s) != nil {
		s = status{}
	}
	out := client.Refused(res, cmp.Or(s.Message, s.Reason))
	if s.Reason == reasonExpired {
		out.Status = http.StatusGone
	}
	return out
}

const reasonExpired = "Expired"

// isStatus reports whether err is a server's answer with one of the statuses, or with any
// if there are none.
func isStatus(err error, statuses ...int) bool {
	s, ok := errors.AsType[*client.StatusError](err)
	return ok && (len(statuses) == 0 || slices.Contains(statuses, s.Status))
}
