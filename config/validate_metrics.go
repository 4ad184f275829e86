package config

// Metrics: buckets are chosen among those that are counted.

import (
	"fmt"
	"slices"
	"time"

	"github.com/poise-lb/poise/internal/limits"
)

func (v *validator) metrics(m *Metrics) {
	seen := make(map[time.Duration]bool, len(m.Buckets))
	for i, b := range m.Buckets {
		path := Index("metrics.buckets", i)
		switch {
		case !slices.Contains(limits.DurationBounds[:], b):
			v.add(path, b.String(), nearestBound(b).String(), fmt.Sprintf("%s is not a bound that is counted: those are %v", b, limits.DurationBounds))
		case seen[b]:
			v.add(path, b.String(), "", fmt.Sprintf("%s is there already", b))
		}
		seen[b] = true
	}
}

// nearestBound is the bound that d differs from least.
func nearestBound(d time.Duration) time.Duration {
	best := limits.DurationBounds[0]
	for _, b := range limits.DurationBounds {
		if (b - d).Abs() < (best - d).Abs() {
			best = b
		}
	}
	return best
}
