package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	answerBytes  = 64 << 20 // of one answer
	messageBytes = 200      // of what an agent says about an error
	dialTimeout  = 3 * time.Second
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// A client calls agents. It has connections of its own and belongs to one goroutine.
type client struct {
	servers   []string // URLs without a final slash
	at        int      // the one in use
	token     string
	scope     url.Values // what every call says
	http      http.Client
	transport *http.Transport
}

func newClient(c Config, dial dialFunc) (*client, error) {
	out := &client{token: c.Token, scope: make(url.Values)}
	scheme := "http"
	if c.TLS != nil {
		scheme = "https"
	}
	for _, text := range c.Servers {
		u, err := serverURL(text, scheme)
		if err != nil {
			return nil, err
		}
		out.servers = append(out.servers, u)
	}
	if len(out.servers) == 0 {
		out.servers = []string{scheme + "://127.0.0.1:8500"}
	}
	if c.Namespace != "" {
		out.scope.Set("ns", c.Namespace)
	}
	if c.Partition != "" {
		out.scope.Set("partition", c.Partition)
	}
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	out.transport = &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dial,
		TLSClientConfig:     c.TLS.Clone(),
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     time.Minute,
	}
	out.http = http.Client{
		Transport: out.transport,
		// A redirect would hand the token to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return out, nil
}

// serverURL checks the URL of an agent. Errors do not repeat it: it may hold a password.
func serverURL(text, scheme string) (string, error) {
	if !strings.Contains(text, "://") {
		text = scheme + "://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", errors.New("a server is not a URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", errors.New("a server is neither an http:// nor an https:// URL")
	case u.User != nil:
		return "", errors.New("a server's URL has credentials in it: set the token apart")
	case u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("a server's URL has a query")
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

func (c *client) close() { c.transport.CloseIdleConnections() }

func (c *client) server() string { return c.servers[c.at] }

// next takes the next agent. Connections to the last one are given up: they may hang.
func (c *client) next() {
	c.at = (c.at + 1) % len(c.servers)
	c.transport.CloseIdleConnections()
}

// call asks within the time and reads the answer, if it is of status 200, into out; a nil
// out is for answers that say nothing. path is escaped.
func (c *client) call(ctx context.Context, timeout time.Duration, method, path string, query url.Values, in, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	for name, values := range c.scope {
		query[name] = values
	}
	req, err := http.NewRequestWithContext(ctx, method, c.server()+path+"?"+query.Encode(), body)
	if err != nil {
		return nil, errors.New("the request cannot be made")
	}
	if c.token != "" {
		req.Header.Set("X-Consul-Token", c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", req.URL.Host, plain(err))
	}
	defer res.Body.Close()
	if err := decode(res, out); err != nil {
		return nil, fmt.Errorf("%s: %w", req.URL.Host, err)
	}
	return res.Header, nil
}

// decode reads an answer to its end, so that the connection can be used again.
func decode(res *http.Response, out any) error {
	if res.StatusCode != http.StatusOK {
		data, _ := io.ReadAll(io.LimitReader(res.Body, 16<<10)) // as much as there is
		text := strings.TrimSpace(string(data[:min(len(data), messageBytes)]))
		return &apiError{res.StatusCode, text}
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, answerBytes+1))
	switch {
	case err != nil:
		return fmt.Errorf("the answer broke off: %w", plain(err))
	case len(data) > answerBytes:
		return fmt.Errorf("the answer is longer than %d MiB", answerBytes>>20)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return errors.New("the answer is not what Consul says")
	}
	return nil
}

// An apiError is an answer that is not 200.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.message) }

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
