package live

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
	"github.com/poise-lb/poise/test/live/recipe"
)

// roleVar makes the test's own program something else: see endpoints.
const roleVar = "LIVE_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleVar) == "endpoints" {
		os.Exit(serveEndpoints())
	}
	began := time.Now()
	code := m.Run()
	if outcome.begun {
		outcome.print(os.Stdout, time.Since(began))
	}
	os.Exit(code)
}

// registries are all kinds of servers, in the order in which they are judged: those that
// take longest are the first.
func registries() []*registry {
	return []*registry{nacos2(), nacos3(), consul(), etcd34(), eureka(), etcd36(), kubernetes(), zookeeper()}
}

// outcome is what is printed when all is over.
var outcome report

// quiet is held for reading by what keeps processors busy, and for writing by what
// measures time.
var quiet sync.RWMutex

func TestRegistries(t *testing.T) {
	if testing.Short() {
		t.Skip("real servers take minutes")
	}
	outcome.begun = true
	slots := make(chan struct{}, number("LIVE_PARALLEL", 3))
	binary := rig.Poise(t)
	all := slices.DeleteFunc(registries(), func(r *registry) bool { return !selected(r.name) })
	if len(all) == 0 && !selected("mesh") {
		t.Fatalf("LIVE_ONLY=%s selects nothing", os.Getenv("LIVE_ONLY"))
	}
	t.Run("all", func(t *testing.T) {
		for _, r := range all {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				judge(t, r, binary)
			})
		}
	})
}

// selected reports whether LIVE_ONLY selects one of these names, by what they begin with.
func selected(names ...string) bool {
	only := strings.FieldsFunc(os.Getenv("LIVE_ONLY"), func(r rune) bool { return r == ',' || r == ' ' })
	return len(only) == 0 || slices.ContainsFunc(only, func(s string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, s) })
	})
}

// judge plays the whole story of one registry, unless it cannot be had.
func judge(t *testing.T, r *registry, binary string) {
	dir, err := find(r.name)
	if err == nil && r.missing != nil {
		err = r.missing()
	}
	var away recipe.Unavailable
	if errors.As(err, &away) {
		outcome.skip(r.name, away.Reason)
		t.Skip(away.Reason)
	}
	if err != nil {
		outcome.end(r.name, false)
		t.Fatal(err)
	}
	began := time.Now()
	defer func() {
		outcome.end(r.name, !t.Failed())
		say("%s: %s in %.0f s", r.name, map[bool]string{true: "FAILED", false: "passed"}[t.Failed()], time.Since(began).Seconds())
	}()
	w := newWorld(t, r, dir, binary)
	for _, s := range w.steps() {
		if !t.Run(s.name, s.play) {
			break // what follows stands on it
		}
	}
}

// find returns the folder of a server that the recipes have made.
func find(name string) (string, error) {
	r, err := recipe.Named(name)
	if err != nil {
		return "", err
	}
	dir, err := r.Find()
	if err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// say prints a line at once, so that people see where it is: minutes pass.
func say(format string, args ...any) {
	fmt.Printf("%s %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}
