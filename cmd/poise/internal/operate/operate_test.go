package operate

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
	"github.com/poise-lb/poise/config"
)

// A side is a Server under test.
type side struct {
	*testing.T
	*Server
}

func newSide(t *testing.T) *side {
	p, err := poise.New(config.Config{
		Services: map[string]config.Service{"a": {Endpoints: []config.Endpoint{{URL: "http://127.0.0.1:1"}}}},
		Routes:   []config.Route{{Service: "a"}},
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &side{t, New(p, slog.New(slog.DiscardHandler))}
	t.Cleanup(func() {
		s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		p.Close(ctx)
	})
	return s
}

// apply puts the two addresses in force.
func (s *side) apply(admin config.Admin, status string) error {
	return s.Apply(&config.Config{Admin: admin, Status: config.StatusListener{Address: status}})
}

// ask gets a path over a client's connections, and returns status and content.
func ask(t *testing.T, c *http.Client, url, token string) (int, string) {
	t.Helper()
	r, _ := http.NewRequest("GET", url, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// bound is a real address behind one of this Server.
func (s *side) bound(i int) string { return s.Sockets()[i].Listener.Addr().String() }

// free is an address that nothing listens on.
func free(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A set of listeners of which one cannot be opened changes nothing: the other ones are served as
// before, whether their configuration changed or not.
func TestOneThatFailsChangesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	unix := "unix:" + filepath.Join(t.TempDir(), "admin.sock")
	for _, address := range []string{free(t), unix} {
		s := newSide(t)
		if err := s.apply(config.Admin{Address: address}, "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		socket, status := s.Sockets()[0].Listener, s.bound(1)
		for _, next := range []config.Admin{
			{Address: address, Hosts: []string{"other"}}, // the same address with other settings
			{Address: free(t)},
			{},
		} {
			err := s.apply(next, taken.Addr().String())
			if err == nil || !strings.Contains(err.Error(), "status: cannot listen on "+taken.Addr().String()) {
				t.Errorf("%+v: %v", next, err)
			}
			if s.Sockets()[0].Listener != socket {
				t.Errorf("%+v: another listener is in use", next)
			}
			c, err := net.Dial(socket.Addr().Network(), socket.Addr().String())
			if err != nil {
				t.Fatalf("%+v: the old listener is closed: %v", next, err)
			}
			c.Close()
			if code, _ := ask(t, http.DefaultClient, "http://"+status+"/healthz", ""); code != http.StatusOK {
				t.Errorf("%+v: /healthz: %d", next, code)
			}
		}
	}
}

// The same address with other settings keeps its socket and the connections of clients; requests
// are judged by the new settings, and a stream that the old ones allowed ends.
func TestTheSameAddressKeepsItsSocket(t *testing.T) {
	const old, now = "0123456789abcdef-old", "0123456789abcdef-new"
	s := newSide(t)
	with := func(secret string) config.Admin {
		return config.Admin{Address: "127.0.0.1:0", Tokens: []config.AdminToken{{Name: "a", Token: secret, Role: "view"}}}
	}
	if err := s.apply(with(old), ""); err != nil {
		t.Fatal(err)
	}
	dials := 0
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials++
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}
	url := "http://" + s.bound(0) + "/api/v1/"
	if code, text := ask(t, client, url+"status", old); code != http.StatusOK {
		t.Fatal(code, text)
	}
	r, _ := http.NewRequest("GET", url+"stream", nil)
	r.Header.Set("Authorization", "Bearer "+old)
	stream, err := http.DefaultClient.Do(r)
	if err != nil || stream.StatusCode != http.StatusOK {
		t.Fatal(stream, err)
	}
	defer stream.Body.Close()
	if err := s.apply(with(now), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, stream.Body); err != nil { // it would last for ever
		t.Errorf("the stream ended with %v", err)
	}
	if code, _ := ask(t, client, url+"status", old); code != http.StatusUnauthorized {
		t.Errorf("the token that was removed: %d", code)
	}
	if code, _ := ask(t, client, url+"status", now); code != http.StatusOK || dials != 1 {
		t.Errorf("status %d, %d connections", code, dials)
	}
}

// The path of a unix socket is there from the first Apply to the end, and not longer.
func TestThePathOfASocket(t *testing.T) {
	s, dir := newSide(t), t.TempDir()
	one, two := filepath.Join(dir, "one.sock"), filepath.Join(dir, "two.sock")
	there := func(path string, want bool) {
		t.Helper()
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	for _, a := range []config.Admin{{Address: "unix:" + one}, {Address: "unix:" + one, Profiles: true}} {
		if err := s.apply(a, ""); err != nil {
			t.Fatal(err)
		}
		there(one, true)
	}
	if err := s.apply(config.Admin{Address: "unix:" + two}, ""); err != nil {
		t.Fatal(err)
	}
	there(one, false)
	there(two, true)
	s.Close()
	there(two, false)
}

// Another listener on the same socket, as for another certificate: no moment without, and the path
// of a unix socket stays. If the set fails after that, the path stays too.
func TestShare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	was, err := open("unix:"+path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	given, err := open("unix:"+path, was, nil)
	if err != nil {
		t.Fatal(err)
	}
	given.plain.Close() // as of a set that failed
	k, err := open("unix:"+path, was, nil)
	if err != nil {
		t.Fatal(err)
	}
	sockets.Keep(was.plain)
	was.plain.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	k.plain.Close()
}

// An address whose port another listener of the same Server holds is refused, and the error says by
// which.
func TestHolder(t *testing.T) {
	s := newSide(t)
	address := free(t)
	if err := s.apply(config.Admin{Address: address}, ""); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(address)
	err := s.apply(config.Admin{Address: ":" + port}, "")
	if err == nil || !strings.Contains(err.Error(), address+" holds the port until a restart or an upgrade") {
		t.Error(err)
	}
}
