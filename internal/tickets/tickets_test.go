package tickets

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/testcert"
)

// visit makes a connection to a server with the configuration and reports whether the client
// resumed a session. The client keeps its tickets in cache.
func visit(t *testing.T, server *tls.Config, version uint16, cache tls.ClientSessionCache) bool {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		s := tls.Server(there, server)
		s.Write([]byte("x"))
		io.Copy(io.Discard, s)
	}()
	c := tls.Client(here, &tls.Config{ServerName: "a.test", InsecureSkipVerify: true, ClientSessionCache: cache, MaxVersion: version})
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil { // a ticket of TLS 1.3 comes before it
		t.Fatal(err)
	}
	return c.ConnectionState().DidResume
}

// A ticket of one process is resumed by the next one, for a week, over listeners and clones.
func TestTicketsOutliveTheRing(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	cert := testcert.New(t, testcert.Template{Names: []string{"a.test"}}).TLS
	server := func(r *Ring) *tls.Config {
		c := &tls.Config{Certificates: []tls.Certificate{cert}, Time: clock}
		r.Use(c)
		return c.Clone()
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(1)
		first := newRing(nil, clock)
		if visit(t, server(first), version, cache) {
			t.Fatal("resumed a session that there was none of")
		}
		second := newRing(first.Keys(), clock)
		if !visit(t, server(second), version, cache) {
			t.Errorf("version %x: not resumed by the next process", version)
		}
		if visit(t, server(newRing(nil, clock)), version, tls.NewLRUClientSessionCache(1)) {
			t.Error("resumed without a ticket")
		}
	}
}

// A new key comes every day, and none is kept for more than a week.
func TestKeysTurn(t *testing.T) {
	now := time.Now()
	r := newRing(nil, func() time.Time { return now })
	seen := map[string]bool{string(r.Keys()[0].Key): true}
	for day := 1; day <= 10; day++ {
		now = now.Add(sealFor + time.Second)
		keys := r.Keys()
		if seen[string(keys[0].Key)] {
			t.Fatalf("day %d: no new key", day)
		}
		seen[string(keys[0].Key)] = true
		if want := min(day+1, 7); len(keys) != want {
			t.Errorf("day %d: %d keys, want %d", day, len(keys), want)
		}
	}
	if again := newRing(r.Keys(), func() time.Time { return now }); string(again.Keys()[0].Key) != string(r.Keys()[0].Key) {
		t.Error("the next process begins with another key")
	}
	if bad := newRing([]Key{{Key: []byte("short"), Made: now}}, func() time.Time { return now }); len(bad.Keys()) != 1 || len(bad.Keys()[0].Key) != 32 {
		t.Errorf("what is no key is used: %v", bad.Keys())
	}
}

// A ticket is resumed after the keys have turned, at listeners that were made before and after that,
// and the client gets one of the new key with it; after a week without a visit it is not.
func TestSessionsOutliveARotation(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	r := newRing(nil, clock)
	cert := testcert.New(t, testcert.Template{Names: []string{"a.test"}, Until: now.Add(30 * 24 * time.Hour)}).TLS
	listener := func() *tls.Config {
		c := &tls.Config{Certificates: []tls.Certificate{cert}, Time: clock}
		r.Use(c)
		return c
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache, old := tls.NewLRUClientSessionCache(1), listener()
		visit(t, old, version, cache)
		for day := range 6 { // crypto/tls itself ends a session a week after it began
			now = now.Add(sealFor + time.Second)
			if !visit(t, old, version, cache) || !visit(t, listener(), version, cache) {
				t.Errorf("version %x: not resumed on day %d", version, day+1)
			}
		}
		now = now.Add(openFor)
		if visit(t, old, version, cache) {
			t.Errorf("version %x: resumed a week later", version)
		}
	}
}
