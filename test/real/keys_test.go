package real

import (
	"fmt"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

const usersMax = 300

// homes asks for every user's cart and returns which site answered, by user.
func (w *world) homes(t *testing.T) map[string]string {
	t.Helper()
	c, err := rig.Dial(w.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	homes := make(map[string]string, usersMax)
	for i := range usersMax {
		user := fmt.Sprintf("user-%d", i)
		a, err := c.Do(get("shop.example.com", "/carts/1", "X-User-Id: "+user))
		if err != nil || a.Status != 200 {
			t.Fatalf("%s: %v, status %d %s", user, err, a.Status, a.Body)
		}
		homes[user] = string(a.Field("X-Site"))
	}
	return homes
}

// moved counts the users that are elsewhere now, by their old home.
func moved(before, after map[string]string) map[string]int {
	n := map[string]int{}
	for user, home := range before {
		if after[user] != home {
			n[home]++
		}
	}
	return n
}

// population counts users by home.
func population(homes map[string]string) map[string]int {
	n := map[string]int{}
	for _, home := range homes {
		n[home]++
	}
	return n
}

// keys stay where they are.
func (w *world) keys(t *testing.T) {
	before := w.homes(t)
	n := population(before)
	t.Logf("users by home: %v", n)
	for _, s := range []*site{w.a, w.b, w.c} {
		if n[s.name] < usersMax/6 {
			t.Errorf("site %s is home of %d users of %d", s.name, n[s.name], usersMax)
		}
	}
	for range 3 {
		if m := moved(before, w.homes(t)); len(m) > 0 {
			t.Errorf("users moved for no reason: %v", m)
		}
	}
	// Without the field the client's address is the key. One connection: two requests at
	// once are more than bounded_load gives an endpoint of three that are else idle.
	l := (&load{dial: tcp(w.http), request: get("shop.example.com", "/carts/1")}).start(t, 1)
	time.Sleep(100 * time.Millisecond)
	answers := l.stop()
	flawless(t, answers)
	if n := bySite(answers); len(n) != 1 {
		t.Errorf("one client's address leads to %v", n)
	}
}

// list: the endpoint list of a file is followed, and moves no more than it must.
func (w *world) list(t *testing.T) {
	before := w.homes(t)
	n := population(before)
	w.carts(t, w.a, w.b)
	after := w.eventually(t, "c leaves", func(h map[string]string) bool { return population(h)["c"] == 0 })
	if m := moved(before, after); m["c"] != n["c"] || len(m) != 1 {
		t.Errorf("c had %d users and left the list; moved: %v", n["c"], m)
	}
	w.carts(t, w.a, w.b, w.c)
	after = w.eventually(t, "c comes back", func(h map[string]string) bool { return population(h)["c"] > 0 })
	if m := moved(before, after); len(m) > 0 {
		t.Errorf("c is back in the list, and not at home: %v", m)
	}
	// A list with a mistake changes nothing.
	rig.Write(t, w.path("carts.yaml"), "- htp://"+w.a.address+"\n")
	w.poise.Await(`carts.yaml:1:3: `)
	if m := moved(before, w.homes(t)); len(m) > 0 {
		t.Errorf("a broken list moved users: %v", m)
	}
	w.carts(t, w.a, w.b, w.c)
}

// eventually looks at all homes until ok agrees.
func (w *world) eventually(t *testing.T, what string, ok func(map[string]string) bool) map[string]string {
	t.Helper()
	for deadline := time.Now().Add(rig.Patience); ; time.Sleep(10 * time.Millisecond) {
		if h := w.homes(t); ok(h) {
			// Once more: the first look may have been taken while it changed.
			return w.homes(t)
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", rig.Patience, what)
		}
	}
}

// flap stops a site of the service carts, which has no health check: nothing notices but
// its own users, and those only by being answered elsewhere. It returns what is to be
// checked when the breaker has had its time.
func (w *world) flap(t *testing.T) (home func(t *testing.T)) {
	before := w.homes(t)
	n := population(before)
	w.c.process.Kill()
	for range 2 { // before and after the breaker opens
		if m := moved(before, w.homes(t)); m["c"] != n["c"] || len(m) != 1 {
			t.Errorf("c had %d users and stopped; moved: %v", n["c"], m)
		}
	}
	w.c.start()
	again := time.Now()
	return func(t *testing.T) {
		after := w.eventually(t, "users of c are home", func(h map[string]string) bool { return population(h)["c"] == n["c"] })
		if m := moved(before, after); len(m) > 0 {
			t.Errorf("c is back, and not at home: %v", m)
		}
		t.Logf("users of c were home at most %.1f s after it came back, the breaker holds %v", time.Since(again).Seconds(), openFor)
	}
}
