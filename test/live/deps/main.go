// Command deps installs what test/live needs: the real servers, into a cache outside of the
// repository. Arguments select recipes; without any it is all of them. What cannot be had,
// for a reason that is not in this repository, is named and left out; the tests count it as
// skipped. It runs in the folder test/live.
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
		if len(os.Args) > 1 && !slices.Contains(os.Args[1:], r.Name) {
			continue
		}
		began := time.Now()
		dir, err := r.Ensure(ctx)
		var away recipe.Unavailable
		switch {
		case err == nil:
			fmt.Printf("%-11s %4.0f s  %s\n", r.Name, time.Since(began).Seconds(), dir)
		case errors.As(err, &away):
			line, _, _ := strings.Cut(away.Reason, "\n")
			fmt.Printf("%-11s %4.0f s  UNAVAILABLE: %s\n", r.Name, time.Since(began).Seconds(), line)
		default:
			fmt.Fprintf(os.Stderr, "%s: %v\n", r.Name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}
