package nacos

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// A journal is what a registrar reported.
type journal struct {
	mu    sync.Mutex
	words []string
}

func (j *journal) report(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	word := "announced"
	if err != nil {
		word = "not"
	}
	if word == "announced" || len(j.words) == 0 || j.words[len(j.words)-1] != word {
		j.words = append(j.words, word)
	}
}

func (j *journal) expect(t *testing.T, want string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if got := strings.Join(j.words, " "); got != want {
		t.Fatalf("reported %q, want %q", got, want)
	}
	j.words = nil
}

// announce runs a registrar; the result ends it and returns what Run returned.
func announce(t *testing.T, c Config, in discovery.Instance) (*journal, func() error) {
	t.Helper()
	j := new(journal)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- NewRegistrar(RegistrarConfig{Config: c}).Run(ctx, in, j.report) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { stop() })
	return j, stop
}

var webInstance = discovery.Instance{
	Service: "web", Address: "10.0.0.1:80", Weight: 7, Zone: "a", Scheme: "https", Metadata: map[string]string{"k": "v"},
}

func TestAnnounced(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		l, _ := start(t, New(c, webConfig))
		j, stop := announce(t, c, webInstance)
		pass(2 * time.Second)
		j.expect(t, "announced")
		updates := l.take()
		s := updates[len(updates)-1].Endpoints
		if len(s) != 1 || s[0].Weight != 7 || s[0].Zone != "a" || s[0].Metadata["k"] != "v" || s[0].URL() != "https://10.0.0.1:80" {
			t.Fatalf("%+v", s)
		}
		if len(webInstance.Metadata) != 1 {
			t.Errorf("the caller's metadata were changed: %v", webInstance.Metadata)
		}
		pass(10 * time.Minute)
		j.expect(t, "")
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := len(e.services[webSubject]); n != 0 {
			t.Error("not removed")
		}
		pass(time.Second)
		l.expect(t, "[]")
	})
}

func TestAnnouncedAgain(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		j, stop := announce(t, c, webInstance)
		pass(time.Second)
		j.expect(t, "announced")
		e.restart(10 * time.Second)
		pass(4 * time.Second)
		j.expect(t, "not announced")
		wake := make(chan struct{})
		e.set(func() { e.silent = wake })
		pass(9 * time.Second)
		j.expect(t, "not")
		e.set(func() { e.silent = nil })
		close(wake)
		pass(4 * time.Second)
		j.expect(t, "announced")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRemovalIsBounded(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		j, stop := announce(t, c, webInstance)
		pass(time.Second)
		j.expect(t, "announced")
		e.set(func() { e.silent = make(chan struct{}) })
		began := time.Now()
		if err := stop(); err == nil {
			t.Error("no error though nobody has confirmed the removal")
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestInstancesThatCannotBeAnnounced(t *testing.T) {
	for _, in := range []discovery.Instance{
		{Service: "web", Address: "host:80"},
		{Service: "web", Address: "10.0.0.1"},
		{Service: "web", Address: "10.0.0.1:0"},
		{Address: "10.0.0.1:80"},
		{Service: "web", Address: "10.0.0.1:80", Scheme: "ftp"},
	} {
		err := NewRegistrar(RegistrarConfig{Config: Config{Servers: []string{"one"}}}).Run(t.Context(), in, func(error) { t.Error("reported") })
		if err == nil {
			t.Errorf("%+v: no error", in)
		}
	}
}
