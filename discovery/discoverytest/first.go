package discoverytest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

// What tests need that only want to know which endpoints a source finds.

// First runs a source until it has published a set, and returns that. The test ends if none
// comes within 10 s or Run returns an error.
func First(t *testing.T, src discovery.Source) []endpoint.Spec {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var set []endpoint.Spec
	err := src.Run(ctx, func(u discovery.Update) {
		if u.Err == nil {
			set = u.Endpoints
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if context.Cause(ctx) == context.DeadlineExceeded {
		t.Fatal("nothing was published")
	}
	return set
}

// URLs are those of a set, sorted and separated by spaces.
func URLs(set []endpoint.Spec) string {
	var out []string
	for _, s := range set {
		out = append(out, s.URL())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
