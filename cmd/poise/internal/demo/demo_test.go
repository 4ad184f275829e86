package demo

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSample(t *testing.T) {
	s := &Sample{Name: "ada", Delay: time.Millisecond}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	get := func(path string) (string, error) {
		r, err := http.Get(s.URL() + path)
		if err != nil {
			return "", err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		return r.Header.Get("X-Sample") + "|" + string(b), err
	}
	if got, err := get("/x?y"); err != nil || got != "ada|hello from ada, which takes 1ms: GET /x?y\n" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := get("/health"); err != nil || got != "ada|" {
		t.Errorf("health: %q, %v", got, err)
	}
	s.SetDown(true)
	for _, path := range []string{"/", "/health"} {
		if got, err := get(path); err == nil {
			t.Errorf("%s answered %q while down", path, got)
		}
	}
	s.SetDown(false)
	if _, err := get("/"); err != nil {
		t.Errorf("did not come back: %v", err)
	}
}

func TestLoad(t *testing.T) {
	s := &Sample{Name: "ada"}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{URL: s.URL(), Rate: 500}
	var group sync.WaitGroup
	group.Go(func() { l.Run(ctx) })
	until(t, "answers", func() bool { return l.OK.Load() > 10 })
	if n := l.Failed.Load(); n != 0 {
		t.Errorf("%d failed", n)
	}
	s.SetDown(true)
	until(t, "failures", func() bool { return l.Failed.Load() > 3 })
	cancel()
	group.Wait()
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}

func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
		defer cancel()
		began := time.Now()
		var got []string
		PlanFor(0).Run(ctx, func(down bool) {
			word := map[bool]string{true: "down", false: "up"}[down]
			got = append(got, time.Since(began).String()+" "+word)
		})
		if s := strings.Join(got, ", "); s != "8s down, 16s up, 38s down, 45s up" {
			t.Error(s)
		}
	})
}

func TestPlanFitsItsLength(t *testing.T) {
	for _, length := range []time.Duration{time.Second, 5 * time.Second, 23 * time.Second, 24 * time.Second, time.Hour} {
		o := PlanFor(length)
		if o.First <= 0 || o.Down <= 0 || o.Every <= o.Down || o.First+o.Down >= length {
			t.Errorf("%v: %+v leaves no time to come back", length, o)
		}
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	table := Table{Out: &out}
	table.Draw([]Row{
		{Name: "ada", State: "healthy", Attempts: 30, InFlight: 2, Latency: 4300 * time.Microsecond},
		{Name: "bob", State: "ejected", Attempts: 10},
	}, "note")
	want := "\x1b[2K  endpoint share                        in flight   latency  state\n" +
		"\x1b[2K  ada      ███████████████·····   75 %          2    4.3 ms  healthy\n" +
		"\x1b[2K  bob      █████···············   25 %          0         -  ejected\n" +
		"\x1b[2Knote\n\x1b[J"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	out.Reset()
	table.Draw([]Row{{Name: "ada", Attempts: 30}, {Name: "bob", Attempts: 20}}, "note") // shares of what is new
	if s := out.String(); !strings.HasPrefix(s, "\x1b[4A") || !strings.Contains(s, "bob      ████████████████████  100 %") {
		t.Errorf("second drawing:\n%s", s)
	}
	out.Reset()
	table.Draw([]Row{{Name: "ada", Attempts: 1}, {Name: "bob", Attempts: 20}}) // counted anew: no wrap around
	if s := out.String(); strings.Contains(s, "100 %") {
		t.Errorf("counter that went back:\n%s", s)
	}
	coloured := Table{Out: &out, Colour: true}
	out.Reset()
	coloured.Draw([]Row{{Name: "ada", State: "healthy"}, {Name: "bob", State: "ejected"}})
	if s := out.String(); !strings.Contains(s, "\x1b[32mhealthy\x1b[0m") || !strings.Contains(s, "\x1b[31mejected\x1b[0m") {
		t.Errorf("colours: %q", s)
	}
}
