package h2

import (
	"fmt"
	"testing"

	"github.com/poise-lb/poise"
)

// rulesLeast is how many cases there have to be.
const rulesLeast = 100

// TestRules plays every case in virtual worlds and on every engine.
func TestRules(t *testing.T) {
	if n := len(frames) + len(messages) + len(beginnings); n < rulesLeast {
		t.Errorf("%d cases, want %d", n, rulesLeast)
	}
	t.Run("virtual", func(t *testing.T) {
		each(t, func(t *testing.T, r *rule, silent bool) {
			inWorlds(t, nil, func(w *world) error { return r.play(w, silent) })
		})
	})
	for _, engine := range poise.Engines() {
		t.Run(engine, func(t *testing.T) {
			s := onSockets(t, engine)
			each(t, func(t *testing.T, r *rule, silent bool) {
				if err := r.play(s, silent); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func each(t *testing.T, f func(t *testing.T, r *rule, silent bool)) {
	for i, rules := range [][]rule{frames, messages, beginnings} {
		for j := range rules {
			r := &rules[j]
			t.Run(r.section+" "+r.name, func(t *testing.T) { f(t, r, i == 2) })
		}
	}
}

// play plays a case on a connection of its own.
func (r *rule) play(p place, silent bool) error {
	c, err := dial(p, silent)
	if err != nil {
		return err
	}
	defer c.wire.Close()
	r.send(c)
	if err := r.want(c); err != nil {
		return fmt.Errorf("RFC %s, %s: %w", r.section, r.name, err)
	}
	return nil
}
