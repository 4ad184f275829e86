package kubernetes

// The HTTP client of one API server, which all namespaces share: by HTTP/2 they share one
// connection too.

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

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
	credential *Credential          // of credentials; nil: none was needed yet
	http       *http.Client         // by the transport of number made
	made       int                  // how many transports there were
	retired    map[int]*http.Client // those of before that may have connections, by number
	conns      map[*conn]struct{}   // nil: the client is closed
}

// newAPIServer returns a client. dial and protocols are for tests; nil: those of the network.
func newAPIServer(c Config, dial dialFunc, protocols *http.Protocols) (*apiServer, error) {
	if c.Namespace != "" && !isName(c.Namespace) {
		return nil, fmt.Errorf("%q cannot be the name of a namespace", c.Namespace)
	}
	out := &apiServer{
		namespace: c.Namespace, token: c.Token, tokenFile: c.TokenFile, tls: c.TLS,
		credentials: c.Credentials, dial: dial, protocols: protocols, conns: make(map[*conn]struct{}), retired: make(map[int]*http.Client),
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

// get asks for slices of a namespace that belong to a Service. The answer is one of status
// 200, and the caller closes its body. Errors have neither URLs nor credentials.
func (c *apiServer) get(ctx context.Context, namespace string, query url.Values) (*http.Response, error) {
	u := c.server.JoinPath("apis/discovery.k8s.io/v1/namespaces", namespace, "endpointslices")
	query.Set("labelSelector", "kubernetes.io/service-name")
	u.RawQuery = query.Encode()
	header := http.Header{"Accept": {"application/json"}}
	token, err := c.bearer()
	if err != nil {
		return nil, err
	}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	c.mu.Lock()
	current := c.http
	c.mu.Unlock()
	return client.Ask(ctx, current, http.MethodGet, u.String(), header, nil, explain)
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

// explain reads what the server says about a failure.
func explain(e *client.StatusError, content []byte) {
	var s status
	if json.Unmarshal(content, &s) != nil {
		return
	}
	e.Message = cmp.Or(s.Message, s.Reason)
	if s.Reason == reasonExpired {
		e.Status = http.StatusGone
	}
}

const reasonExpired = "Expired"
