package eureka

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

// bodyMax bounds an answer, unpacked: about 100,000 instances.
const bodyMax = 128 << 20

// A server is one replica of the registry. Its base has neither credentials nor a final
// slash: it may be shown.
type server struct {
	base           string
	user, password string
}

// parseServers reads the URLs. Errors do not quote them: they may hold a password.
func parseServers(c Config) ([]server, error) {
	all, err := client.Servers(c.Servers, "", "", true)
	if err != nil {
		return nil, fmt.Errorf("eureka: %w: a server's URL is like http://127.0.0.1:8761/eureka", err)
	}
	out := make([]server, len(all))
	for i, u := range all {
		s := server{user: c.User, password: c.Password}
		if u.User != nil {
			s.user = u.User.Username()
			s.password, _ = u.User.Password()
			u.User = nil
		}
		s.base = u.String()
		out[i] = s
	}
	return out, nil
}

// replicas are asked one at a time. They belong to one goroutine.
type replicas struct {
	servers []server
	current int // the one that is asked until it fails
	timeout time.Duration
	http    *http.Client
}

// No proxy of the environment is used: a registry is asked directly.
func newReplicas(c Config, servers []server) *replicas {
	return &replicas{
		servers: servers, timeout: c.Timeout,
		http: client.NewHTTP(client.Options{Dial: c.dial, TLS: c.TLS, Timeout: c.Timeout, Direct: true}),
	}
}

func (r *replicas) close() { r.http.CloseIdleConnections() }

// each calls ask until it succeeds with the server that is then the current one.
func (r *replicas) each(ctx context.Context, ask func() error) error {
	name := func(s server) string { return s.base }
	return client.Each(ctx, r.servers, &r.current, name, func(server) error { return ask() })
}

// do sends one request to the current server and returns the answer and its content. The time runs out when the server is silent, not when it is slow: a registry of
// a hundred megabytes may take its time, but not for ever.
func (r *replicas) do(ctx context.Context, method, path string, content []byte) (*http.Response, []byte, error) {
	s := r.servers[r.current]
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(r.timeout, func() { cancel(client.ErrSilent) })
	defer silence.Stop()
	end := time.AfterFunc(4*r.timeout, func() { cancel(client.ErrSilent) })
	defer end.Stop()
	header := http.Header{"Accept": {"application/json"}} // else it is XML
	if content != nil {
		header.Set("Content-Type", "application/json")
	}
	if s.user != "" || s.password != "" {
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(s.user+":"+s.password)))
	}
	res, err := client.Send(ctx, r.http, method, s.base+path, header, content)
	if err != nil {
		return nil, nil, err
	}
	res.Body = heard{res.Body, silence, r.timeout}
	data, err := client.Read(ctx, res, bodyMax)
	return res, data, err
}

// heard puts the end of patience off whenever bytes arrive.
type heard struct {
	io.ReadCloser
	silence *time.Timer
	timeout time.Duration
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	if n > 0 {
		h.silence.Reset(h.timeout)
	}
	return n, err
}

// refused says what a status that is not the wanted one means.
func refused(res *http.Response) error {
	message := ""
	switch res.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		message = "user or password not accepted"
	case http.StatusNotFound:
		message = "is the path of the URL right? It is /eureka for most servers"
	}
	return client.Refused(res, message)
}
