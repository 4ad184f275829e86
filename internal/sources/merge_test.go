package sources

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/endpoint"
)

// told is a source whose updates come from a test.
type told struct {
	updates chan discovery.Update
	end     chan error
}

func newTold() told { return told{make(chan discovery.Update), make(chan error)} }

func (s told) Run(ctx context.Context, publish func(discovery.Update)) error {
	for {
		select {
		case u := <-s.updates:
			publish(u)
		case err := <-s.end:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func (s told) set(names ...string) {
	u := discovery.Update{}
	for _, name := range names {
		u.Endpoints = append(u.Endpoints, endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: name}})
	}
	s.updates <- u
}

// lines is a log that keeps what matters of each record.
type lines struct {
	mu  sync.Mutex
	out strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

// take returns what was logged since.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.out.Reset()
	return strings.TrimSuffix(l.out.String(), "\n")
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// A migration is a merge that runs.
type migration struct {
	live, other, shadow told
	log                 lines
	published           chan string // the sets, or errors
	stop                func() error
}

func migrate(t *testing.T) *migration {
	m := &migration{live: newTold(), other: newTold(), shadow: newTold(), published: make(chan string, 100)}
	s := Set{Log: m.log.logger()}
	_, src, err := s.Of("services.g", config.Service{Source: &config.Source{Merge: []config.SourcePart{
		{Source: config.Source{Custom: m.live}}, {Source: config.Source{Custom: m.shadow}, Shadow: true}, {Source: config.Source{Custom: m.other}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- src.Run(ctx, func(u discovery.Update) {
			if u.Err != nil {
				m.published <- u.Err.Error()
				return
			}
			m.published <- discoverytest.URLs(u.Endpoints)
		})
	}()
	m.stop = func() error {
		cancel()
		return <-ended
	}
	return m
}

func (m *migration) take() string {
	synctest.Wait()
	last := ""
	for len(m.published) > 0 {
		last = <-m.published
	}
	return last
}

func TestShadowsAreComparedAndNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := migrate(t)
		expect := func(want string) {
			t.Helper()
			time.Sleep(settle + time.Millisecond)
			synctest.Wait()
			if got := m.log.take(); got != want {
				t.Errorf("logged:\n%s\nwant:\n%s", got, want)
			}
		}
		m.shadow.set("c")
		expect("") // the others are not known
		m.live.set("a")
		m.other.set("b")
		if got := m.take(); got != "http://a http://b" {
			t.Errorf("used: %s", got)
		}
		expect(`level=WARN msg="shadow differs" source=services.g.source.merge shadow=custom only_in_use="http://a http://b" only_in_shadow=http://c only_in_use_count=2 only_in_shadow_count=1`)
		m.shadow.set("c")
		expect("") // no update
		m.shadow.set("b", "a")
		expect(`level=INFO msg="shadow agrees" source=services.g.source.merge shadow=custom`)
		if got := m.take(); got != "" {
			t.Errorf("a shadow has led to %s", got)
		}

		// What is only late is not reported.
		m.live.set("a", "d")
		time.Sleep(settle / 2)
		m.shadow.set("b", "a", "d")
		expect("")

		// A shadow that fails is reported once, and changes nothing.
		m.shadow.updates <- discovery.Update{Err: errors.New("gone")}
		m.shadow.updates <- discovery.Update{Err: errors.New("gone")}
		expect(`level=WARN msg="shadow is stale" source=services.g.source.merge shadow=custom error=gone`)
		m.shadow.end <- errors.New("never")
		expect(`level=ERROR msg="shadow has ended" source=services.g.source.merge shadow=custom error=never`)
		m.take()
		m.live.set()
		if got := m.take(); got != "http://b" {
			t.Errorf("without the first: %s", got)
		}
		expect(`level=WARN msg="shadow differs" source=services.g.source.merge shadow=custom only_in_use="" only_in_shadow="http://a http://d" only_in_use_count=0 only_in_shadow_count=2`)
		if err := m.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A set that never comes to rest is compared all the same, and a line names only some.
func TestDifferencesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := migrate(t)
		var many []string
		for i := range 1000 {
			many = append(many, fmt.Sprintf("h%03d", i))
		}
		m.live.set("z")
		m.other.set()
		began := time.Now()
		for m.log.out.Len() == 0 && time.Since(began) < time.Minute {
			m.shadow.set(many...)
			time.Sleep(settle / 2)
			synctest.Wait()
		}
		if after := time.Since(began); after > settleMax+settle {
			t.Errorf("told after %v", after)
		}
		got := m.log.take()
		if !strings.Contains(got, "http://h009 and 990 more") || !strings.Contains(got, "only_in_shadow_count=1000") || len(got) > 500 {
			t.Errorf("%s", got)
		}
		if err := m.stop(); err != nil {
			t.Error(err)
		}
	})
}

// The live source that gives up ends the whole, shadows too: the caller waits for Run.
func TestTheLiveSourceDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := migrate(t)
		m.live.end <- errors.New("one")
		m.other.end <- errors.New("two")
		synctest.Wait()
		if err := m.stop(); err == nil || !strings.Contains(err.Error(), "one") || !strings.Contains(err.Error(), "two") {
			t.Errorf("%v", err)
		}
	})
}

func TestKind(t *testing.T) {
	for want, s := range map[string]config.Source{
		"custom": {Custom: discovery.Static{}}, "nacos": {Nacos: &config.NacosSource{}}, "eureka": {Eureka: &config.EurekaSource{}},
	} {
		if got := kind(&s); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
