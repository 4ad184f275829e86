package eureka

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// bodyMax bounds an answer, unpacked: about 100,000 instances.
const bodyMax = 128 << 20

var errSilent = errors.New("the server is silent")

// A server is one replica of the registry. Its base has neither credentials nor a final
// slash: it may be shown.
type server struct {
	base           string
	user, password string
}

// parseServers reads the URLs. Errors do not quote them: they may hold a password.
func parseServers(c Config) ([]server, error) {
	if len(c.Servers) == 0 {
		return nil, errors.New("eureka: no servers")
	}
	var out []server
	for i, text := range c.Servers {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("eureka: server %d is not a URL like http://127.0.0.1:8761/eureka", i+1)
		}
		s := server{user: c.User, password: c.Password}
		if u.User != nil {
			s.user = u.User.Username()
			s.password, _ = u.User.Password()
		}
		s.base = u.Scheme + "://" + u.Host + strings.TrimRight(u.EscapedPath(), "/")
		out = append(out, s)
	}
	return out, nil
}

// A client asks the servers. It belongs to one goroutine.
type client struct {
	servers []server
	current int // the one that is asked until it fails
	timeout time.Duration
	http    *http.Client
}

func newClient(c Config, servers []server) *client {
	var secure *tls.Config
	if c.TLS != nil {
		secure = c.TLS.Clone()
	}
	return &client{
		servers: servers,
		timeout: c.Timeout,
		http: &http.Client{
			// No proxy of the environment: a registry is asked directly.
			Transport: &http.Transport{
				DialContext:            c.dial,
				TLSClientConfig:        secure,
				TLSHandshakeTimeout:    c.Timeout,
				MaxIdleConnsPerHost:    1,
				IdleConnTimeout:        time.Minute,
				MaxResponseHeaderBytes: 64 << 10,
			},
			// Eureka does not redirect; what does would be shown the credentials.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// next turns to the next server.
func (c *client) next() { c.current = (c.current + 1) % len(c.servers) }

// each calls ask for one server after the other, from the current one, until one succeeds,
// and returns the errors of all if none does.
func (c *client) each(ctx context.Context, ask func() error) error {
	var errs []error
	for range c.servers {
		err := ask()
		if err == nil || ctx.Err() != nil {
			return err
		}
		errs = append(errs, fmt.Errorf("eureka: %s: %w", c.servers[c.current].base, err))
		c.next()
	}
	return errors.Join(errs...)
}

// do sends one request to the current server and returns the status and content of the
// answer. The time runs out when the server is silent, not when it is slow: a registry of
// a hundred megabytes may take its time, but not for ever.
func (c *client) do(ctx context.Context, method, path string, content []byte) (int, []byte, error) {
	s := c.servers[c.current]
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.timeout, func() { cancel(errSilent) })
	defer silence.Stop()
	end := time.AfterFunc(4*c.timeout, func() { cancel(errSilent) })
	defer end.Stop()
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(content))
	if err != nil {
		return 0, nil, errors.New("the path does not make a URL")
	}
	req.Header.Set("Accept", "application/json") // else it is XML
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.user != "" || s.password != "" {
		req.SetBasicAuth(s.user, s.password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, c.reason(ctx, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(heard{resp.Body, silence, c.timeout}, bodyMax+1))
	if err != nil {
		return 0, nil, c.reason(ctx, err)
	}
	if len(data) > bodyMax {
		return 0, nil, fmt.Errorf("the answer is larger than %d MiB", bodyMax>>20)
	}
	return resp.StatusCode, data, nil
}

// reason is err without the request's URL, and with the cause instead of "canceled".
func (c *client) reason(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return fmt.Errorf("%w for %v", errSilent, c.timeout)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// heard puts the end of patience off whenever bytes arrive.
type heard struct {
	io.Reader
	silence *time.Timer
	timeout time.Duration
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.silence.Reset(h.timeout)
	}
	return n, err
}

// refused says what a status that is not the wanted one means.
func refused(status int) error {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("user or password not accepted (status %d)", status)
	case http.StatusNotFound:
		return errors.New("status 404: is the path of the URL right? It is /eureka for most servers")
	}
	return fmt.Errorf("status %d %s", status, cmp.Or(http.StatusText(status), "?"))
}
