package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/testcert"
)

// echo is a Proxy that answers by itself, on net/http.
type echo struct {
	mu      sync.Mutex
	servers []*http.Server
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "echo") }

func (e *echo) server() *http.Server {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &http.Server{Handler: e, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	e.servers = append(e.servers, s)
	return s
}

func (e *echo) Serve(l net.Listener) error { return e.server().Serve(l) }

func (e *echo) Tickets(*tls.Config) {}

func (e *echo) NamedListener(l net.Listener, _ string) net.Listener { return l }

func (e *echo) ProtocolListener(l net.Listener, _ string) (net.Listener, error) { return l, nil }

func (e *echo) ProxyListener(l net.Listener, _ config.ProxyProtocol) (net.Listener, error) {
	return l, nil
}

func (e *echo) TLSListener(l net.Listener, t config.TLS) (net.Listener, error) {
	c, err := tls.LoadX509KeyPair(t.Certificates[0].Cert, t.Certificates[0].Key)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{c}}), nil
}

func (e *echo) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.servers {
		s.Close()
	}
}

// pair writes a certificate with that serial number.
func pair(t *testing.T, dir, name string, serial int64) config.Certificate {
	t.Helper()
	p := config.Certificate{Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key")}
	testcert.New(t, testcert.Template{Names: []string{"a.example"}, Serial: serial}).Write(t, p.Cert, p.Key)
	return p
}

// a fixture is a Server with its Proxy, ended with the test.
type fixture struct {
	*Server
	proxy *echo
}

// own stands for the engines that read and write by the own codec: to a Server they are one.
const own Engine = "goroutine"

func eachEngine(t *testing.T, f func(t *testing.T, s fixture)) {
	for _, e := range []Engine{own, Std} {
		t.Run(string(e), func(t *testing.T) {
			p := &echo{}
			s := fixture{New(p, e, slog.New(slog.DiscardHandler)), p}
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				s.Stop(ctx)
				p.close()
				s.Wait()
				select {
				case err := <-s.Failed():
					t.Errorf("a listener failed: %v", err)
				default:
				}
			})
			f(t, s)
		})
	}
}

func (f fixture) apply(t *testing.T, listen ...config.Listen) []string {
	t.Helper()
	ch, err := f.Prepare(config.Config{Listen: listen})
	if err != nil {
		t.Fatal(err)
	}
	ch.Commit()
	return f.URLs(listen)
}

// get makes a request on a connection of its own and returns the serial number of the
// certificate, 0 without TLS.
func get(url string) (int64, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "a.example"}}}
	r, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	if b, err := io.ReadAll(r.Body); err != nil || string(b) != "echo" {
		return 0, errors.New("not the answer: " + string(b))
	}
	if r.TLS == nil {
		return 0, nil
	}
	return r.TLS.PeerCertificates[0].SerialNumber.Int64(), nil
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestListenersComeAndGo(t *testing.T) {
	eachEngine(t, func(t *testing.T, s fixture) {
		a, b := config.Listen{Address: freeAddress(t)}, config.Listen{Address: freeAddress(t)}
		urls := s.apply(t, a)
		if _, err := get(urls[0]); err != nil {
			t.Fatal(err)
		}
		urls = s.apply(t, a, b)
		for _, u := range urls {
			if _, err := get(u); err != nil {
				t.Error(err)
			}
		}
		s.apply(t, b)
		for limit := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) { // Commit does not wait for its end
			if _, err := get("http://" + a.Address); err != nil {
				break
			}
			if time.Now().After(limit) {
				t.Fatal("the removed listener still answers")
			}
		}
		if _, err := get("http://" + b.Address); err != nil {
			t.Error(err)
		}
	})
}

func TestPrepareChangesNothingOnError(t *testing.T) {
	eachEngine(t, func(t *testing.T, s fixture) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		a, b := config.Listen{Address: freeAddress(t)}, config.Listen{Address: freeAddress(t)}
		url := s.apply(t, a)[0]
		_, err = s.Prepare(config.Config{Listen: []config.Listen{b, {Address: taken.Addr().String()}}})
		if want := "cannot listen on " + taken.Addr().String() + ": address already in use"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if _, err := get(url); err != nil {
			t.Error(err)
		}
		l, err := net.Listen("tcp", b.Address) // given back
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		_, err = s.Prepare(config.Config{Listen: []config.Listen{{Address: b.Address, TLS: &config.TLS{Certificates: []config.Certificate{{Cert: "/none.pem", Key: "/none.key"}}}}}})
		if err == nil || !strings.Contains(err.Error(), "/none.pem") {
			t.Errorf("a certificate that is not there: %v", err)
		}
		ch, err := s.Prepare(config.Config{Listen: []config.Listen{b}})
		if err != nil {
			t.Fatal(err)
		}
		ch.Cancel()
		if _, err := get(url); err != nil {
			t.Error(err)
		}
	})
}

// TestChangeOfTLSKeepsTheSocket: connections never find the port closed while a listener
// takes other certificates.
func TestChangeOfTLSKeepsTheSocket(t *testing.T) {
	eachEngine(t, func(t *testing.T, s fixture) {
		dir := t.TempDir()
		address := freeAddress(t)
		with := func(p config.Certificate) config.Listen {
			return config.Listen{Address: address, TLS: &config.TLS{Certificates: []config.Certificate{p}}}
		}
		one, two := with(pair(t, dir, "one", 1)), with(pair(t, dir, "two", 2))
		url := s.apply(t, one)[0]
		stop := make(chan struct{})
		var group sync.WaitGroup
		var served int
		var failed error
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := get(url); err != nil {
					failed = err
					return
				}
				served++
			}
		})
		for range 10 {
			s.apply(t, two)
			s.apply(t, one)
		}
		s.apply(t, two)
		close(stop)
		group.Wait()
		if failed != nil {
			t.Errorf("after %d requests: %v", served, failed)
		}
		for deadline := time.Now().Add(30 * time.Second); ; { // one may sit in the old accept
			serial, err := get(url)
			if err != nil {
				t.Fatal(err)
			}
			if serial == 2 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("still served with certificate %d", serial)
			}
		}
	})
}

func TestStdTakesOtherTimeouts(t *testing.T) {
	s := New(&echo{}, Std, slog.New(slog.DiscardHandler))
	c := config.Config{Listen: []config.Listen{{Address: freeAddress(t)}}}
	ch, err := s.Prepare(c)
	if err != nil {
		t.Fatal(err)
	}
	ch.Commit()
	before := s.open[c.Listen[0].Address]
	c.Timeouts.Head = time.Hour
	if ch, err = s.Prepare(c); err != nil {
		t.Fatal(err)
	}
	ch.Commit()
	after := s.open[c.Listen[0].Address]
	if after == before || after.std.http.ReadHeaderTimeout != time.Hour {
		t.Error("the new timeout is not in force")
	}
	if _, err := get("http://" + c.Listen[0].Address); err != nil {
		t.Error(err)
	}
	if !before.std.retired.Load() || after.std.retired.Load() {
		t.Error("the wrong one is retired")
	}
	s.Stop(context.Background())
	s.Wait()
}

// TestRetiredServersAreForgotten: a long life with many reloads collects nothing.
func TestRetiredServersAreForgotten(t *testing.T) {
	s := New(&echo{}, Std, slog.New(slog.DiscardHandler))
	c := config.Config{Listen: []config.Listen{{Address: freeAddress(t)}}}
	for i := range 200 {
		c.Timeouts.Head = time.Duration(i+1) * time.Second
		ch, err := s.Prepare(c)
		if err != nil {
			t.Fatal(err)
		}
		ch.Commit()
		if _, err := get("http://" + c.Listen[0].Address); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.old); n > 50 {
		t.Errorf("%d retired servers are kept", n)
	}
	s.Stop(context.Background())
	s.Wait()
}

// TestFailureIsTold: a listener that ends by itself is an error, once.
func TestFailureIsTold(t *testing.T) {
	eachEngine(t, func(t *testing.T, s fixture) {
		l := config.Listen{Address: freeAddress(t)}
		s.apply(t, l)
		s.open[l.Address].socket.Close() // behind its back
		select {
		case err := <-s.Failed():
			if !strings.Contains(err.Error(), l.Address) {
				t.Errorf("%v does not name the address", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("not told")
		}
	})
}

// TestStdReloadsCertificates: files that change are served by --engine std as well.
func TestStdReloadsCertificates(t *testing.T) {
	s := New(&echo{}, Std, slog.New(slog.DiscardHandler))
	dir := t.TempDir()
	c := config.Config{Listen: []config.Listen{{Address: "127.0.0.1:0", TLS: &config.TLS{Certificates: []config.Certificate{pair(t, dir, "a", 1)}}}}}
	ch, err := s.Prepare(c)
	if err != nil {
		t.Fatal(err)
	}
	ch.Commit()
	url := s.URLs(c.Listen)[0]
	if serial, err := get(url); serial != 1 || err != nil {
		t.Fatal(serial, err)
	}
	pair(t, dir, "a", 2)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		serial, err := get(url)
		if err != nil {
			t.Fatal(err)
		}
		if serial == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not served")
		}
	}
	s.Stop(context.Background())
	s.Wait()
}

func TestResolve(t *testing.T) {
	best := Engine(poise.Engines()[0])
	for in, want := range map[Engine]Engine{"": best, Auto: best, best: best, own: own, Std: Std} {
		if got, err := in.Resolve(); got != want || err != nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if _, err := Engine("epoll").Resolve(); err == nil {
		t.Error("an unknown engine was taken")
	}
}

// stuckTLS is a Proxy whose certificates are on a disk that does not answer.
type stuckTLS struct {
	*echo
	asked, release chan struct{}
}

func (s stuckTLS) TLSListener(l net.Listener, _ config.TLS) (net.Listener, error) {
	close(s.asked)
	<-s.release
	return l, nil
}

// TestStopWhilePrepareHangs: Stop does not wait for it, and what it prepared serves nothing.
func TestStopWhilePrepareHangs(t *testing.T) {
	p := stuckTLS{&echo{}, make(chan struct{}), make(chan struct{})}
	defer p.close()
	s := New(p, "goroutine", slog.New(slog.DiscardHandler))
	plain := config.Config{Listen: []config.Listen{{Address: "127.0.0.1:0"}}}
	ch, err := s.Prepare(plain)
	if err != nil {
		t.Fatal(err)
	}
	ch.Commit()
	reloaded := make(chan error, 1)
	go func() {
		ch, err := s.Prepare(config.Config{Listen: []config.Listen{{Address: "127.0.0.1:0", TLS: &config.TLS{}}}})
		if err == nil {
			ch.Commit()
		}
		reloaded <- err
	}()
	<-p.asked
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.Stop(ctx)
	if ctx.Err() != nil {
		t.Error("Stop waited")
	}
	close(p.release)
	if err := <-reloaded; err != nil {
		t.Error(err)
	}
	if urls := s.URLs(plain.Listen); len(urls) != 0 {
		t.Errorf("serves %v after Stop", urls)
	}
	s.Wait()
}
