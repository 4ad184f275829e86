package consul

// Every agent answers for its datacenter, so one of them is asked until it fails. Calls
// are plain HTTP with answers in JSON.

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

const answerBytes = 64 << 20 // of one answer

// agents are those that may be asked, one of them at a time. They belong to one goroutine;
// a copy shares the connections and may ask another agent.
type agents struct {
	servers []*url.URL
	at      int // the one in use
	token   string
	scope   url.Values // what every call says
	http    *http.Client
}

// newAgents keeps up to so many connections that are not in use at present: a connection that
// came about after its request had timed out is one of them.
func newAgents(c Config, dial client.DialFunc, idle int) (*agents, error) {
	scheme := "http"
	if c.TLS != nil {
		scheme = "https"
	}
	servers, err := client.Servers(c.Servers, scheme, "127.0.0.1:8500", false)
	out := &agents{
		servers: servers, token: c.Token, scope: make(url.Values),
		http: client.NewHTTP(client.Options{Dial: dial, TLS: c.TLS, Idle: idle}),
	}
	if c.Namespace != "" {
		out.scope.Set("ns", c.Namespace)
	}
	if c.Partition != "" {
		out.scope.Set("partition", c.Partition)
	}
	return out, err
}

func (a *agents) close() { a.http.CloseIdleConnections() }

// use takes an agent. Connections to the last one are given up: they may hang.
func (a *agents) use(server int) {
	a.at = server
	a.http.CloseIdleConnections()
}

// call asks within the time and reads the answer, if it is of status 200, into out; a nil
// out is for answers that say nothing. path is escaped.
func (a *agents) call(ctx context.Context, timeout time.Duration, method, path string, query url.Values, in, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for name, values := range a.scope {
		query[name] = values
	}
	header := make(http.Header)
	if a.token != "" {
		header.Set("X-Consul-Token", a.token)
	}
	server := a.servers[a.at]
	explain := func(e *client.StatusError, content []byte) { e.Message = strings.TrimSpace(string(content)) } // it is text
	res, err := client.Ask(ctx, a.http, method, server.String()+path+"?"+query.Encode(), header, in, explain)
	if err == nil {
		err = client.Decode(ctx, res, answerBytes, out)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", server.Host, err)
	}
	return res.Header, nil
}
