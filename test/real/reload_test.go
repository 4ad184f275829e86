package real

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// reload: ten new configurations under load, some of them announced by SIGHUP, and
// nothing is lost; each is in force soon.
func (w *world) reload(t *testing.T) {
	l := w.users(t)
	storm := wrk(t, 8, 4*time.Second, apiHost, "http://"+w.http+usersURI)
	for i := range 10 {
		time.Sleep(200 * time.Millisecond) // so that they are spread over wrk's time
		name := fmt.Sprintf("poise-%d", i)
		w.apply(t, strings.Replace(w.config, "X-Gateway: poise", "X-Gateway: "+name, 1))
		if i%2 == 1 {
			w.poise.Signal(syscall.SIGHUP)
		}
		l.recent(t, rig.Patience, "under configuration "+name, func(a answer) bool { return a.gateway == name })
	}
	w.apply(t, w.config)
	l.recent(t, rig.Patience, "under the first configuration", func(a answer) bool { return a.gateway == "poise" })
	storm.flawless(t)
	answers := l.stop()
	flawless(t, answers)
	if n := bySite(answers); n["a"] == 0 || n["b"] == 0 {
		t.Errorf("sites while reloading: %v", n)
	}
}

// mistake: a configuration with a mistake changes nothing, and the log says where it is.
func (w *world) mistake(t *testing.T) {
	l := w.users(t)
	bad := strings.Replace(w.config, "    service: users", "    service: userz", 1)
	w.apply(t, bad)
	before, _, _ := strings.Cut(bad, "userz")
	line, column := strings.Count(before, "\n")+1, len("    service: ")+1
	w.poise.Await(fmt.Sprintf(`the last good configuration stays.*%s:%d:%d: .*users`, regexp.QuoteMeta(w.path("poise.yaml")), line, column))
	l.recent(t, rig.Patience, "after the mistake", func(a answer) bool { return a.gateway == "poise" && a.err == nil })
	w.apply(t, w.config)
	flawless(t, l.stop())
	if p := rig.Start(t, rig.Command{Path: w.binary, Args: []string{"check", "-c", w.path("poise.yaml")}}); p.Exit() != 0 {
		t.Errorf("poise check: %s", p.Text())
	}
}

// certificate: another certificate is written to disk under load; no handshake fails, and
// the new one is served soon.
func (w *world) certificate(t *testing.T) {
	var serial atomic.Int64
	c := &tls.Config{RootCAs: w.pool.Clone(), ServerName: apiHost, NextProtos: []string{"http/1.1"}}
	var mu sync.Mutex // guards c.RootCAs
	dial := func() (net.Conn, error) {
		mu.Lock()
		own := c.Clone()
		mu.Unlock()
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: rig.Patience}, "tcp", w.https, own)
		if err != nil {
			return nil, err
		}
		serial.Store(conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64())
		return conn, nil
	}
	request := get(apiHost, usersURI)
	shaking := (&load{dial: dial, request: request, fresh: true}).start(t, 2)
	steady := (&load{dial: dial, request: request, pause: time.Millisecond}).start(t, 1)
	shaking.recent(t, rig.Patience, "over TLS", func(a answer) bool { return a.err == nil })
	for next := int64(2); next <= 4; next++ {
		mu.Lock()
		w.certify(t, next)
		c.RootCAs = w.pool.Clone()
		mu.Unlock()
		written := time.Now()
		for serial.Load() != next {
			if time.Since(written) > rig.Patience {
				t.Fatalf("certificate %d is still served, want %d", serial.Load(), next)
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Logf("certificate %d is served %.2f s after it was written", next, time.Since(written).Seconds())
	}
	flawless(t, shaking.stop())
	flawless(t, steady.stop())
	if status, _, _ := w.curl(t, "--http2", "-H", "Host: "+apiHost, "https://"+w.https+usersURI); status != "HTTP/2 200" {
		t.Errorf("curl, which trusts the file: %s", status)
	}
}

// end: SIGTERM under load. What is under way is answered whole, and the exit code is 0.
func (w *world) end(t *testing.T) {
	l := w.users(t)
	slow := (&load{dial: tcp(w.http), request: get(apiHost, "/api/v1/users/slow/later"), pause: time.Hour}).start(t, 0)
	const slowMax = 16
	for range slowMax {
		slow.group.Go(func() {
			var a answer
			if c := slow.ask(nil, &a); c != nil {
				c.Close()
			}
			slow.mu.Lock()
			slow.answers = append(slow.answers, a)
			slow.mu.Unlock()
		})
	}
	time.Sleep(500 * time.Millisecond) // half of what the slow ones take
	w.poise.Signal(syscall.SIGTERM)
	began := time.Now()
	if code := w.poise.Exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("drained in %.2f s", time.Since(began).Seconds())
	answers := slow.stop()
	flawless(t, answers)
	if len(answers) != slowMax {
		t.Errorf("%d answers, want %d", len(answers), slowMax)
	}
	// A request that was sent as an idle connection was closed finds no reader, and a new
	// connection is refused. No answer is cut short and none is an error.
	whole := 0
	for _, a := range l.stop() {
		var refused *net.OpError
		switch {
		case a.err == nil:
			whole++
		case errors.Is(a.err, rig.ErrNoAnswer), errors.As(a.err, &refused) && refused.Op == "dial":
			if a.at.Before(began) {
				t.Errorf("before SIGTERM: %v", a.err)
			}
		default:
			t.Errorf("at SIGTERM: %v", a.err)
		}
	}
	t.Logf("%d requests were answered before and while it drained", whole)
	if whole == 0 {
		t.Error("no request was answered")
	}
}
