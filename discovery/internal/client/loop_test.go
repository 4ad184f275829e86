package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// play runs a loop whose turns end as given, one after the other, and returns for each the
// time until the next and whether the set was stale.
func play(t *testing.T, l *Loop, turns []Turn) (waits []time.Duration, stale []bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := time.Now()
	n := 0
	l.Run(ctx, func() Turn {
		if n > 0 {
			waits = append(waits, time.Since(ended))
		}
		if n == len(turns) {
			cancel()
			return Turn{}
		}
		turn := turns[n]
		if turn.Answered.Equal(now) {
			turn.Answered = time.Now()
		}
		n++
		stale = append(stale, false)
		ended = time.Now()
		return turn
	}, func(error) { stale[n-1] = true })
	return waits, stale
}

// now stands for the time at which a turn ends.
var now = time.Unix(1, 0)

func TestLoop(t *testing.T) {
	lost := errors.New("lost")
	patience := func(d time.Duration) error {
		return fmt.Errorf("somewhere: %w", &StatusError{Status: 503, After: d})
	}
	const quick, first, second = 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond
	type want struct {
		least, most time.Duration
		stale       bool
	}
	for name, c := range map[string]struct {
		loop  Loop
		turns []Turn
		want  []want
	}{
		"each server has a try": {
			Loop{Servers: 2},
			[]Turn{{Err: lost}, {Err: lost}, {Err: lost}, {Err: lost}, {Answered: now}, {Err: lost}},
			[]want{{0, quick, false}, {0, quick, false}, {first / 2, first, true}, {second / 2, second, true}, {0, 0, false}, {0, quick, false}},
		},
		"a turn that tries all by itself": {
			Loop{},
			[]Turn{{Err: lost}, {Err: lost}, {Err: lost, Wait: 50 * time.Millisecond}},
			[]want{{first / 2, first, true}, {second / 2, second, true}, {50 * time.Millisecond, 50 * time.Millisecond, true}},
		},
		"an answer that was short is no success": {
			Loop{Servers: 1, Steady: time.Second},
			[]Turn{{Answered: now, Err: lost}, {Answered: now, Err: lost}},
			[]want{{0, quick, false}, {first / 2, first, true}},
		},
		"everything again and again": {
			Loop{Servers: 1, Steady: time.Second},
			[]Turn{{Answered: now, Err: Again}, {Answered: now, Err: Again}},
			[]want{{first / 2, first, false}, {second / 2, second, false}},
		},
		"patience of the only server": {
			Loop{Servers: 1},
			[]Turn{{Err: patience(20 * time.Second)}, {Err: lost}},
			[]want{{20 * time.Second, 22 * time.Second, false}, {first / 2, first, true}},
		},
		"patience of one of two": {
			Loop{Servers: 2},
			[]Turn{{Err: patience(20 * time.Second)}, {Err: lost}, {Err: lost}, {Err: patience(5 * time.Second)}, {Answered: now}},
			[]want{{0, quick, false}, {0, quick, false}, {first / 2, first, true}, {5 * time.Second, 6 * time.Second, true}, {0, 0, false}},
		},
		"patience is more than the wait between polls": {
			Loop{},
			[]Turn{{Err: patience(20 * time.Second), Wait: time.Second}},
			[]want{{20 * time.Second, 22 * time.Second, true}},
		},
		"no server is silent for long": {
			Loop{Servers: 5, Silent: time.Second},
			[]Turn{{Answered: now, Wait: 2 * time.Second}, {Err: lost}, {Err: lost}},
			[]want{{2 * time.Second, 2 * time.Second, false}, {0, quick, false}, {0, quick, true}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				waits, stale := play(t, &c.loop, c.turns)
				for i, w := range c.want {
					if waits[i] < w.least || waits[i] > w.most || stale[i] != w.stale {
						t.Errorf("after turn %d: %v and stale %t, want %v to %v and %t", i+1, waits[i], stale[i], w.least, w.most, w.stale)
					}
				}
			})
		})
	}
}

// TestUse: a server that asked for patience is passed over while another has not.
func TestUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used []int
		l := Loop{Servers: 3, Use: func(server int) { used = append(used, server) }}
		busy := &StatusError{Status: 429, After: 10 * time.Second}
		lost := errors.New("lost")
		play(t, &l, []Turn{{Err: lost}, {Err: busy}, {Err: lost}, {Err: lost}, {Err: lost}, {Answered: now, Wait: 11 * time.Second}, {Err: lost}})
		if got, want := fmt.Sprint(used), "[1 2 0 2 0 1]"; got != want {
			t.Errorf("used %s, want %s", got, want)
		}
	})
}

// TestWake: a value in Wake ends the wait, and the end of the context ends the loop.
func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		wake := make(chan struct{}, 1)
		began, n := time.Now(), 0
		time.AfterFunc(time.Second, func() { wake <- struct{}{} })
		time.AfterFunc(3*time.Second, cancel)
		new(Loop).Run(ctx, func() Turn {
			n++
			return Turn{Answered: time.Now(), Wait: time.Hour, Wake: wake}
		}, nil)
		if n != 2 || time.Since(began) != 3*time.Second {
			t.Errorf("%d turns in %v, want 2 in 3s", n, time.Since(began))
		}
	})
}

// TestRetryAfter reads the field of answers, in both of its forms.
func TestRetryAfter(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		field  string
		want   time.Duration
	}{
		"seconds":             {503, "7", 7 * time.Second},
		"too many":            {429, "3", 3 * time.Second},
		"another status":      {500, "7", 0},
		"none":                {503, "", 0},
		"longer than is good": {503, "86400", time.Minute},
		"huge":                {503, "99999999999999999999", 0},
		"a date":              {503, time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), time.Minute},
		"a date past":         {503, time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), 0},
		"nonsense":            {503, "soon", 0},
		"negative":            {503, "-5", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Retry-After", c.field)
				w.WriteHeader(c.status)
			}))
			defer s.Close()
			res, err := Send(t.Context(), NewHTTP(Options{}), http.MethodGet, s.URL, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			err = fmt.Errorf("it: %w", Refused(res, ""))
			if got := retryAfter(err); got < c.want || got > c.want*11/10 {
				t.Errorf("%v after %q, want %v", got, c.field, c.want)
			}
			if !strings.Contains(err.Error(), fmt.Sprint(c.status)) {
				t.Errorf("the error has no status: %v", err)
			}
		})
	}
	busy, busier := &StatusError{After: 5 * time.Second}, &StatusError{After: 9 * time.Second}
	if got := retryAfter(errors.Join(busier, busy)); got < 5*time.Second || got > 6*time.Second {
		t.Errorf("of two servers that ask for patience: %v", got)
	}
	if got := retryAfter(errors.Join(busier, errors.New("lost"))); got != 0 {
		t.Errorf("of two servers, of which one does not ask for patience: %v", got)
	}
}

func TestEach(t *testing.T) {
	at := 1
	name := func(s string) string { return s }
	err := Each(t.Context(), []string{"a", "b", "c"}, &at, name, func(s string) error {
		if s == "a" {
			return nil
		}
		return errors.New("no")
	})
	if err != nil || at != 0 {
		t.Errorf("%v, at %d", err, at)
	}
	err = Each(t.Context(), []string{"a", "b"}, &at, name, func(s string) error { return errors.New("no") })
	if err == nil || err.Error() != "a: no\nb: no" || at != 0 {
		t.Errorf("%v, at %d", err, at)
	}
}

func TestJitterStaysWithinATenth(t *testing.T) {
	for range 1000 {
		if d := Jitter(time.Second); d < 900*time.Millisecond || d > 1100*time.Millisecond {
			t.Fatal(d)
		}
	}
}
