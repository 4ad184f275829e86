// Command deps installs what test/live needs: the real servers, into a cache outside of the
// repository. LIVE_ONLY selects, as for the tests; without it it is all of them. What cannot
// be had, for a reason that is not in this repository, is named and left out; the tests count
// it as skipped. It runs in the folder test/live.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/poise-lb/poise/test/live/recipe"
)

// budget bounds all of it: what has not begun by then is left out. It is above the time
// that an idle machine with two processors takes (14 minutes).
const budget = 20 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	failed := false
	for _, r := range recipe.All() {
		if !wanted(r.Name) {
			continue
		}
		began := time.Now()
		dir, err := r.Ensure(ctx)
		var away recipe.Unavailable
		switch {
		case err == nil:
			fmt.Printf("%-11s %4.0f s  %s\n", r.Name, time.Since(began).Seconds(), dir)
		case errors.As(err, &away):
			fmt.Printf("%-11s %4.0f s  UNAVAILABLE: %.300s\n", r.Name, time.Since(began).Seconds(), away.Reason)
		default:
			fmt.Fprintf(os.Stderr, "%s: %v\n", r.Name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// wanted reports whether the tests that LIVE_ONLY selects, by what their names begin with,
// need a recipe. All need the official clients, Kubernetes needs an etcd, and the mesh
// Consul and Nacos.
func wanted(name string) bool {
	only := strings.FieldsFunc(os.Getenv("LIVE_ONLY"), func(r rune) bool { return r == ',' || r == ' ' })
	return len(only) == 0 || name == "clients" || slices.ContainsFunc(only, func(s string) bool {
		return strings.HasPrefix(name, s) || name == "etcd34" && strings.HasPrefix("kubernetes", s) ||
			(name == "consul" || name == "nacos3") && strings.HasPrefix("mesh", s)
	})
}
