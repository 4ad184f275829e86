package h2

// The same cases on nginx and HAProxy, for comparison. Each case has an address of its own, and an
// endpoint. They are configured as test/conformance has them; Debian's nginx speaks no HTTP/2 to
// endpoints.

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/test/internal/rig"
)

// A subject is a proxy that is judged. A verdict is empty if the case was passed.
type subject struct {
	name    string
	clients func(r *rule) place // where a hostile client finds it; nil: it does not take part
	// endpoint is where the client of a hostile endpoint finds it, and its process if it has one of
	// its own; nil: it does not take part.
	endpoint func(a *answering) (place, *hostile, *rig.Process)
	strict   bool // also what the RFC leaves open is judged
}

// ours is Poise with one of its engines. Each case has a proxy of its own.
func ours(t *testing.T, engine string) *subject {
	return &subject{
		name: engine, strict: true,
		clients: func(*rule) place { return onSockets(t, engine) },
		endpoint: func(a *answering) (place, *hostile, *rig.Process) {
			e := &hostile{play: a}
			begun := make(chan struct{})
			s := onSocketsWith(t, engine, "h2c://", quick, func(c *net.TCPConn) {
				<-begun
				e.serve(socket{c, e.place.(*sockets).began})
			})
			e.place = s
			close(begun)
			return s, e, nil
		},
	}
}

// atPeer is where a peer serves a case.
func atPeer(address string) *sockets { return &sockets{address, time.Now().Add(-time.Second)} }

// plainEndpoint listens, and serves as the cases of clients have it.
func plainEndpoint(t *testing.T) string {
	l := listen(t)
	e := new(endpoint)
	go acceptAll(l, func(c *net.TCPConn) { e.serve(c, time.Sleep) })
	return l.Addr().String()
}

// hostileEndpoint listens for a case whose client finds the proxy at front.
func hostileEndpoint(t *testing.T, a *answering, front string) (string, place, *hostile) {
	l := listen(t)
	p := atPeer(front)
	e := &hostile{play: a, place: p}
	go acceptAll(l, func(c *net.TCPConn) { e.serve(socket{c, p.began}) })
	return l.Addr().String(), p, e
}

func nginx(t *testing.T) *subject {
	var text strings.Builder
	text.WriteString("proxy_http_version 1.1;\nproxy_buffering off;\nproxy_request_buffering off;\nclient_max_body_size 0;\n")
	var fronts []string
	places := map[*rule]place{}
	eachRule(func(r *rule) {
		front := rig.Address(t)
		fmt.Fprintf(&text, "server { listen %s http2; location / { proxy_pass http://%s; proxy_set_header Connection ''; } }\n", front, plainEndpoint(t))
		fronts = append(fronts, front)
		places[r] = atPeer(front)
	})
	rig.Nginx(t, 0, text.String(), fronts...)
	return &subject{name: "nginx", clients: func(r *rule) place { return places[r] }}
}

const haproxyFrame = `global
    nbthread 1
defaults
    mode http
    timeout connect 1s
    timeout client 20s
    timeout server 20s
    retries 1
`

func haproxy(t *testing.T) *subject {
	var text strings.Builder
	var fronts []string
	rules := map[*rule]place{}
	eachRule(func(r *rule) {
		front := rig.Address(t)
		fmt.Fprintf(&text, "listen c%d\n    bind %s proto h2\n    server s %s\n", len(rules), front, plainEndpoint(t))
		fronts = append(fronts, front)
		rules[r] = atPeer(front)
	})
	startHAProxy(t, text.String(), fronts...)
	return &subject{
		name: "HAProxy", clients: func(r *rule) place { return rules[r] },
		endpoint: func(a *answering) (place, *hostile, *rig.Process) {
			front := rig.Address(t)
			address, p, e := hostileEndpoint(t, a, front)
			// A process for each case: some of them end it.
			return p, e, startHAProxy(t, fmt.Sprintf("listen c\n    bind %s\n    server s %s proto h2\n", front, address), front)
		},
	}
}

func startHAProxy(t *testing.T, text string, fronts ...string) *rig.Process {
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(haproxyFrame+text), 0o600); err != nil {
		t.Fatal(err)
	}
	process := rig.Start(t, rig.Command{Path: rig.Program(t, "haproxy"), Args: []string{"-db", "-f", file}})
	for _, front := range fronts {
		process.Listens(front)
	}
	return process
}

func eachRule(f func(r *rule)) {
	for _, rules := range [][]rule{frames, messages, beginnings} {
		for i := range rules {
			f(&rules[i])
		}
	}
}

// answerings are all cases of endpoints, made once.
var answerings = sync.OnceValue(func() []answering {
	var all []answering
	for _, a := range allAnswerings() {
		if !a.slow {
			all = append(all, a)
		}
	}
	return all
})

// verdicts are what is wrong with each case; empty: nothing.
type verdicts struct {
	rules      map[*rule]string
	answerings map[*answering]string
}

// together is how many cases are played at once.
const together = 8

func (s *subject) judge() verdicts {
	v := verdicts{map[*rule]string{}, map[*answering]string{}}
	var mu sync.Mutex
	var running sync.WaitGroup
	free := make(chan struct{}, together)
	play := func(f func() error, note func(string)) {
		free <- struct{}{}
		running.Go(func() {
			err := f()
			<-free
			mu.Lock()
			defer mu.Unlock()
			if note(""); err != nil {
				note(err.Error())
			}
		})
	}
	silent := map[*rule]bool{}
	for i := range beginnings {
		silent[&beginnings[i]] = true
	}
	if s.clients != nil {
		eachRule(func(r *rule) {
			p := s.clients(r)
			play(func() error {
				err := r.play(p, silent[r])
				if closed := new(merelyClosed); !s.strict && errors.As(err, closed) {
					return nil // without GOAWAY, or with another code (RFC 9113 §5.4.1, §5.4.2)
				}
				return err
			}, func(text string) { v.rules[r] = text })
		})
	}
	if s.endpoint != nil {
		all := answerings()
		for i := range all {
			a := &all[i]
			p, e, process := s.endpoint(a)
			play(func() error {
				err := a.judged(p, e, s.strict)
				if process != nil {
					defer process.Kill()
					time.Sleep(10 * time.Millisecond) // it may be about to end
					if process.Ended() {
						return errors.New("its process ends")
					}
				}
				return err
			}, func(text string) { v.answerings[a] = text })
		}
	}
	running.Wait()
	return v
}

// judged plays a case once. Of a peer only what RFC 9113 demands is judged: not the reason and the
// status of a failure, nor whether a request that was not processed is repeated (§8.7 allows it),
// nor whether an error of a stream ends the connection (§5.4.2 allows that).
func (a *answering) judged(p place, e *hostile, strict bool) error {
	method := a.method
	if method == "" {
		method = "POST"
	}
	want := a.want
	if !strict {
		want.lax, want.any = true, !want.told || !want.over
	}
	if want.lax {
		want.told = false
	}
	return e.try(p, method, want)
}

// subjects are those of the page.
func subjects(t *testing.T) []*subject {
	var all []*subject
	for _, engine := range poise.Engines() {
		all = append(all, ours(t, engine))
	}
	return append(all, nginx(t), haproxy(t))
}
