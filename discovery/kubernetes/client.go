package kubernetes

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
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	answerBytes  = 64 << 20 // of a list, or of one event
	messageBytes = 200      // of what a server says about an error
	dialTimeout  = 3 * time.Second
	accountDir   = "/var/run/secrets/kubernetes.io/serviceaccount"
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// A client asks one API server. It has connections of its own.
type client struct {
	server    *url.URL
	namespace string
	token     string
	tokenFile string
	caFile    string // of the pod's account: read again with renew, since it is replaced in time
	tls       *tls.Config
	dial      dialFunc
	transport *http.Transport
	http      http.Client
}

func newClient(c Config, dial dialFunc) (*client, error) {
	out := &client{namespace: c.Namespace, token: c.Token, tokenFile: c.TokenFile, tls: c.TLS, dial: dial}
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
	u, err := serverURL(text)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "http" && (out.token != "" || out.tokenFile != "") && !loopback(u.Hostname()) {
		return nil, errors.New("a token is not sent over plain http: the server must be an https:// URL")
	}
	out.server = u
	if out.dial == nil {
		// Keepalives find a network that was cut in about ten seconds, whatever else waits.
		out.dial = (&net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 4 * time.Second, Interval: 2 * time.Second, Count: 3,
		}}).DialContext
	}
	return out, out.renew()
}

// serverURL checks the URL of a server. Errors do not repeat it: it may hold a password.
func serverURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("the server is not a URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errors.New("the server is neither an http:// nor an https:// URL")
	case u.User != nil:
		return nil, errors.New("the server's URL has credentials in it")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the server's URL has a query")
	}
	return u, nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// renew gives all connections up, which may hang, and reads the pod's roots again.
func (c *client) renew() error {
	config := c.tls.Clone()
	if c.caFile != "" {
		data, err := os.ReadFile(c.caFile)
		if err != nil && c.transport != nil {
			return nil // as it was
		}
		roots := x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(data) {
			if c.transport != nil {
				return nil
			}
			return errors.New("the roots of the pod's account cannot be read: " + c.caFile)
		}
		config = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	c.close()
	c.transport = &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         c.dial,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     2 * watchTime,
		// HTTP/1.1, so that a watch that is given up takes its connection along.
		Protocols: new(http.Protocols),
	}
	c.transport.Protocols.SetHTTP1(true)
	c.http = http.Client{
		Transport: c.transport,
		// A redirect might hand the token to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return nil
}

func (c *client) close() {
	if c.transport != nil {
		c.transport.CloseIdleConnections()
	}
}

// get asks for the slices of a service. The answer is one of status 200, and the caller
// closes its body. Errors have neither URLs nor credentials.
func (c *client) get(ctx context.Context, service string, query url.Values) (*http.Response, error) {
	u := c.server.JoinPath("apis/discovery.k8s.io/v1/namespaces", c.namespace, "endpointslices")
	query.Set("labelSelector", "kubernetes.io/service-name="+service)
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
	res, err := c.http.Do(req)
	if err != nil {
		return nil, plain(err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	return nil, refusal(res)
}

// bearer is the token as of now.
func (c *client) bearer() (string, error) {
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

// plain takes the URL out of an error and gives a passed deadline a name.
func plain(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return err
}

// A status is what the server says about a failure.
type status struct {
	Message string `json:"message"`
	Reason  string `json:"reason"`
	Code    int    `json:"code"`
}

// gone reports whether the revision is not known any more.
func (s status) gone() bool { return s.Code == http.StatusGone || s.Reason == "Expired" }

// Error says what is wrong in the server's words. They have the account's name in them,
// never its token.
func (s status) Error() string {
	text := strings.ToValidUTF8(s.Message[:min(len(s.Message), messageBytes)], "")
	return fmt.Sprintf("status %d: %s", s.Code, cmp.Or(text, s.Reason, http.StatusText(s.Code)))
}

func refusal(res *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(res.Body, 16<<10)) // as much as there is
	var s status
	if json.Unmarshal(data, &s) != nil {
		s = status{}
	}
	s.Code = res.StatusCode
	return s
}
