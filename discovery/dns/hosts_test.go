package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// A puppet is a source whose updates a test sends.
type puppet chan discovery.Update

func (p puppet) Run(ctx context.Context, publish func(discovery.Update)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case u, ok := <-p:
			if !ok {
				return errors.New("it can never succeed")
			}
			publish(u)
		}
	}
}

// named is an update of specs, given as addresses; "*2" at the end is a weight.
func named(addresses ...string) (u discovery.Update) {
	for _, a := range addresses {
		s := endpoint.Spec{ID: endpoint.ID{Scheme: "http"}}
		s.Address, a, _ = strings.Cut(a, "*")
		fmt.Sscan(a, &s.Weight)
		u.Endpoints = append(u.Endpoints, s)
	}
	return u
}

// follow runs Resolve around a puppet and returns what it publishes, one by one.
func follow(t *testing.T, z zone) (*server, puppet, func(want string)) {
	s := newServer(t, z)
	p := make(puppet)
	r := &resolved{inner: p, server: s.address, files: Config{Hosts: none(t), Resolv: none(t)}}
	got := make(chan string, 100)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		r.Run(ctx, func(u discovery.Update) {
			if u.Err != nil {
				got <- "error: " + u.Err.Error()
				return
			}
			var out []string
			for _, e := range u.Endpoints {
				out = append(out, fmt.Sprintf("%s*%v %s", e.Address, e.Weight, e.Host))
			}
			for _, j := range u.Rejected {
				out = append(out, "-"+j.ID)
			}
			slices.Sort(out)
			got <- strings.Join(out, ", ")
		})
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return s, p, func(want string) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		var last string
		for {
			select {
			case last = <-got:
			case <-deadline:
				t.Fatalf("the last set is %q, want %q", last, want)
			}
			if last == want {
				return
			}
		}
	}
}

// Names become addresses, which share the weight; they are followed, and an error of the
// inner source passes.
func TestResolvedNames(t *testing.T) {
	s, p, expect := follow(t, zone{records: map[string][]string{
		"pod-1.test.": {"A 1 192.0.2.1"}, "two.test.": {"A 1 192.0.2.2", "AAAA 1 2001:db8::2"},
	}})
	p <- named("10.0.0.1:80")
	expect("10.0.0.1:80*0 ")
	p <- named("10.0.0.1:80", "Pod-1.test:81", "two.test:82*3", "[fe80::1%eth0]:9", "localhost:83")
	expect("10.0.0.1:80*0 , 127.0.0.1:83*0 localhost, 192.0.2.1:81*0 pod-1.test, 192.0.2.2:82*1.5 two.test, [2001:db8::2]:82*1.5 two.test, [fe80::1%eth0]:9*0 ")
	p <- named("pod-1.test:81", "missing.test:80")
	expect("-missing.test:80, 192.0.2.1:81*0 pod-1.test")
	s.set(func(z *zone) {
		z.records["pod-1.test."] = []string{"A 1 192.0.2.9"}
		z.records["missing.test."] = []string{"A 1 192.0.2.8"}
	})
	expect("192.0.2.8:80*0 missing.test, 192.0.2.9:81*0 pod-1.test")
	p <- discovery.Update{Err: errors.New("away")}
	expect("error: away")
	p <- named()
	expect("")
}

// One name that nobody answers for holds up the others for a moment only, and a set of
// thousands of names asks for no more than the bound.
func TestResolvedNamesAreBounded(t *testing.T) {
	z := zone{records: map[string][]string{"good.test.": {"A 60 192.0.2.1"}}, silent: map[string]bool{"silent.test.": true}}
	s, p, expect := follow(t, z)
	began := time.Now()
	p <- named("silent.test:80", "good.test:80")
	expect("-silent.test:80, 192.0.2.1:80*0 good.test")
	if took := time.Since(began); took > hostsPatience+5*time.Second {
		t.Errorf("took %v", took)
	}
	many := []string{"good.test:80"}
	for i := range 3 * hostsMax {
		many = append(many, fmt.Sprintf("h%d.test:80", i))
	}
	s.questions()
	p <- named(many...)
	want := []string{"192.0.2.1:80*0 good.test"}
	for _, m := range many[1:] {
		want = append(want, "-"+m)
	}
	slices.Sort(want)
	expect(strings.Join(want, ", "))
	asked := make(map[string]bool)
	for _, q := range s.questions() {
		asked[strings.Fields(q)[1]] = true
	}
	if len(asked) > hostsMax+1 {
		t.Errorf("%d names were asked for", len(asked))
	}
}

// When inner can never succeed, Run ends with its error, whatever names there were.
func TestResolveEndsWithInner(t *testing.T) {
	p := make(puppet)
	ended := make(chan error, 1)
	go func() {
		ended <- (&resolved{inner: p, server: newServer(t, zone{}).address}).Run(context.Background(), func(discovery.Update) {})
	}()
	p <- named("a.test:80")
	close(p)
	if err := <-ended; err == nil {
		t.Error("ended without an error")
	}
}
