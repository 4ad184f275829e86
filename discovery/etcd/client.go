package etcd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	answerBytes  = 64 << 20 // of one answer
	messageBytes = 200      // of what a server says about an error
	dialTimeout  = 3 * time.Second
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// A client calls the JSON gateway. It has connections of its own and may be used by
// several goroutines.
type client struct {
	servers        []string // URLs without a final slash
	user, password string
	http           http.Client
	transport      *http.Transport

	mu    sync.Mutex
	at    int    // the server in use
	token string // "": log in before the next call, if there is a user
	open  bool   // the server has no authentication
}

func newClient(c Config, dial dialFunc) (*client, error) {
	out := &client{user: c.Username, password: c.Password}
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
		out.servers = []string{scheme + "://127.0.0.1:2379"}
	}
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	out.transport = &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dial,
		TLSClientConfig:     c.TLS.Clone(),
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     2 * sessionTime,
	}
	out.http = http.Client{
		Transport: out.transport,
		// A redirected POST loses its content, or hands the password to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return out, nil
}

// serverURL checks the URL of a server. Errors do not repeat it: it may hold a password.
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
		return "", errors.New("a server's URL has credentials in it: set the user and the password apart")
	case u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("a server's URL has a query")
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

func (c *client) close() { c.transport.CloseIdleConnections() }

func (c *client) server() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.servers[c.at]
}

// next takes the next server. Connections to the last one are given up: they may hang.
func (c *client) next() {
	c.mu.Lock()
	c.at = (c.at + 1) % len(c.servers)
	c.mu.Unlock()
	c.transport.CloseIdleConnections()
}

// call asks and reads the answer into out, within the time. It logs in where that is
// necessary, and again when the server does not know the token any more.
func (c *client) call(ctx context.Context, timeout time.Duration, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	res, err := c.post(ctx, path, in)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return decode(res, out)
}

// decode reads an answer to its end, so that the connection can be used again.
func decode(res *http.Response, out any) error {
	data, err := io.ReadAll(io.LimitReader(res.Body, answerBytes+1))
	switch {
	case err != nil:
		return fmt.Errorf("the answer broke off: %w", plain(err))
	case len(data) > answerBytes:
		return fmt.Errorf("the answer is longer than %d MiB", answerBytes>>20)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return errors.New("the answer is not what etcd's gateway says")
	}
	return nil
}

// post asks. The answer is one of status 200, and the caller closes its body.
func (c *client) post(ctx context.Context, path string, in any) (*http.Response, error) {
	for again := false; ; again = true {
		token, err := c.login(ctx)
		if err != nil {
			return nil, err
		}
		res, err := c.once(ctx, path, token, in)
		if err == nil || again || !tokenRefused(err) || c.user == "" {
			return res, err
		}
		c.logout(token)
	}
}

// login returns the token to send, "" where none is needed.
func (c *client) login(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.user == "" || c.token != "" || c.open {
		return c.token, nil
	}
	c.mu.Unlock()
	token, err := c.authenticate(ctx)
	c.mu.Lock()
	if err != nil {
		return "", err
	}
	c.token, c.open = token, token == ""
	return token, nil
}

// logout forgets a token, unless another goroutine has got a new one meanwhile.
func (c *client) logout(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == token {
		c.token, c.open = "", false
	}
}

func (c *client) authenticate(ctx context.Context) (string, error) {
	res, err := c.once(ctx, "/v3/auth/authenticate", "", map[string]string{"name": c.user, "password": c.password})
	if err != nil {
		if strings.Contains(err.Error(), "authentication is not enabled") {
			return "", nil
		}
		return "", fmt.Errorf("login: %w", err)
	}
	defer res.Body.Close()
	var answer struct{ Token string }
	if err := decode(res, &answer); err != nil {
		return "", fmt.Errorf("login: %w", err)
	}
	if answer.Token == "" {
		return "", errors.New("login: the server gave no token")
	}
	return answer.Token, nil
}

func (c *client) once(ctx context.Context, path, token string, in any) (*http.Response, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	server := c.server()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server+path, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the request cannot be made")
	}
	req.Header.Set("Content-Type", "application/json")
	// A member that has lost its cluster ends watches, rather than staying silent.
	req.Header.Set("Grpc-Metadata-Hasleader", "true")
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", req.URL.Host, plain(err))
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	return nil, fmt.Errorf("%s: %w", req.URL.Host, refusal(res))
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

// An apiError is an answer of the gateway that is not 200.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.message) }

// refusal reads what a server says about an error: message and, up to 3.5, error; around
// both, for calls that are streams, another error.
func refusal(res *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(res.Body, 16<<10)) // as much as there is
	var stream struct {
		Error struct{ Message string }
	}
	var plain struct{ Message string }
	json.Unmarshal(data, &stream) // what is not there is empty
	json.Unmarshal(data, &plain)
	message := cmp.Or(stream.Error.Message, plain.Message, http.StatusText(res.StatusCode))
	return &apiError{res.StatusCode, message[:min(len(message), messageBytes)]}
}

// tokenRefused reports whether a new token may help: the last one has expired, or there
// was none because the server had no authentication then.
func tokenRefused(err error) bool {
	var e *apiError
	return errors.As(err, &e) && (e.status == http.StatusUnauthorized ||
		strings.Contains(e.message, "user name is empty") ||
		strings.Contains(e.message, "auth token") ||
		strings.Contains(e.message, "revision of auth store"))
}
