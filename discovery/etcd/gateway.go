package etcd

// The gateway turns JSON over HTTP into the calls of etcd. Every call is a POST; a login
// gives a token, which expires, and which each further call shows.

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

const answerBytes = 64 << 20 // of one answer

// A gateway calls the servers of one cluster, one of them at a time. It has connections of
// its own and may be used by several goroutines.
type gateway struct {
	servers        []*url.URL
	user, password string
	http           *http.Client

	mu    sync.Mutex
	at    int    // the server in use
	token string // "": log in before the next call, if there is a user
	open  bool   // the server has no authentication
}

func newGateway(c Config, dial client.DialFunc) (*gateway, error) {
	scheme := "http"
	if c.TLS != nil {
		scheme = "https"
	}
	servers, err := client.Servers(c.Servers, scheme, "127.0.0.1:2379", false)
	return &gateway{
		servers: servers, user: c.Username, password: c.Password,
		http: client.NewHTTP(client.Options{Dial: dial, TLS: c.TLS, Idle: 2}),
	}, err
}

func (g *gateway) close() { g.http.CloseIdleConnections() }

func (g *gateway) server() *url.URL {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.servers[g.at]
}

// use takes a server. Connections to the last one are given up: they may hang.
func (g *gateway) use(server int) {
	g.mu.Lock()
	g.at = server
	g.mu.Unlock()
	g.http.CloseIdleConnections()
}

// call asks and reads the answer into out, within the time. It logs in where that is
// necessary, and again when the server does not know the token any more.
func (g *gateway) call(ctx context.Context, timeout time.Duration, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	res, err := g.post(ctx, path, in)
	if err != nil {
		return err
	}
	return client.Decode(ctx, res, answerBytes, out)
}

// post asks. The answer is one of status 200, and the caller closes its body.
func (g *gateway) post(ctx context.Context, path string, in any) (*http.Response, error) {
	for again := false; ; again = true {
		token, err := g.login(ctx)
		if err != nil {
			return nil, err
		}
		res, err := g.once(ctx, path, token, in)
		if err == nil || again || !tokenRefused(err) || g.user == "" {
			return res, err
		}
		g.logout(token)
	}
}

// login returns the token to send, "" where none is needed.
func (g *gateway) login(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.user == "" || g.token != "" || g.open {
		return g.token, nil
	}
	g.mu.Unlock()
	token, err := g.authenticate(ctx)
	g.mu.Lock()
	if err != nil {
		return "", err
	}
	g.token, g.open = token, token == ""
	return token, nil
}

// logout forgets a token, unless another goroutine has got a new one meanwhile.
func (g *gateway) logout(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.token == token {
		g.token, g.open = "", false
	}
}

func (g *gateway) authenticate(ctx context.Context) (string, error) {
	res, err := g.once(ctx, "/v3/auth/authenticate", "", map[string]string{"name": g.user, "password": g.password})
	if err != nil {
		if strings.Contains(err.Error(), "authentication is not enabled") {
			return "", nil
		}
		return "", fmt.Errorf("login: %w", err)
	}
	var answer struct{ Token string }
	if err := client.Decode(ctx, res, answerBytes, &answer); err != nil {
		return "", fmt.Errorf("login: %w", err)
	}
	if answer.Token == "" {
		return "", errors.New("login: the server gave no token")
	}
	return answer.Token, nil
}

func (g *gateway) once(ctx context.Context, path, token string, in any) (*http.Response, error) {
	server := g.server()
	// A member that has lost its cluster ends watches, rather than staying silent.
	header := http.Header{"Content-Type": {"application/json"}, "Grpc-Metadata-Hasleader": {"true"}}
	if token != "" {
		header.Set("Authorization", token)
	}
	res, err := client.Ask(ctx, g.http, http.MethodPost, server.String()+path, header, in, explain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", server.Host, err)
	}
	return res, nil
}

// explain reads what a server says about an error: message and, up to 3.5, error; around
// both, for calls that are streams, another error.
func explain(e *client.StatusError, content []byte) {
	var stream struct {
		Error struct{ Message string }
	}
	var plain struct{ Message string }
	json.Unmarshal(content, &stream) // what is not there is empty
	json.Unmarshal(content, &plain)
	e.Message = cmp.Or(stream.Error.Message, plain.Message)
}

// tokenRefused reports whether a new token may help: the last one has expired, or there
// was none because the server had no authentication then.
func tokenRefused(err error) bool {
	e, ok := errors.AsType[*client.StatusError](err)
	return ok && (e.Status == http.StatusUnauthorized || tokenText(e.Message))
}

func tokenText(message string) bool {
	return strings.Contains(message, "user name is empty") ||
		strings.Contains(message, "auth token") ||
		strings.Contains(message, "revision of auth store")
}
