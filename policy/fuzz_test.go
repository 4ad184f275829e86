package policy_test

import (
	"slices"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/policy"
)

// FuzzPickers takes each byte of the script for a member: whether it is usable, its weight
// and load. Whatever they are, every picker gives all of the usable ones, each once.
func FuzzPickers(f *testing.F) {
	f.Add([]byte{}, uint64(0))
	f.Add([]byte{1}, uint64(1))
	f.Add([]byte{1, 255, 3, 128, 7, 9, 0, 0}, uint64(1)<<63)
	f.Add([]byte{0, 0, 0, 1}, ^uint64(0))
	f.Add([]byte{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, uint64(12345))
	f.Fuzz(func(t *testing.T, script []byte, seed uint64) {
		script = script[:min(len(script), 60)]
		var members, usable []*endpoint.Endpoint
		load := int64(0)
		for i, b := range script {
			e := newEndpoint(i, []int{1, 2, 1000, 37}[b>>1&3])
			for range b >> 3 & 7 {
				e.Begin(time.Second)
				load++
			}
			if b >= 128 {
				e.Begin(time.Second)
				e.End(endpoint.Outcome{Now: time.Second, Latency: time.Duration(b), Failed: b >= 192})
			}
			members = append(members, e)
			if b&1 != 0 {
				usable = append(usable, e)
			}
		}
		for _, c := range slices.Concat(policies, composed) {
			prev := c.policy.Build(members, members, nil)
			picker := c.policy.Build(members, usable, prev)
			in := make(map[*endpoint.Endpoint]bool)
			for _, e := range usable {
				in[e] = true
			}
			a := policy.Attempt{Key: seed, Rand: seed, Seq: seed, Now: time.Second, Load: load}
			for try := range policy.AttemptsMax {
				e := picker.Pick(&a)
				if try >= len(usable) {
					if e != nil {
						t.Fatalf("%s: %v after all were tried", c.name, e.ID())
					}
					break
				}
				if !in[e] || a.Tried.Has(e) {
					t.Fatalf("%s: pick %d is %v: usable %v, tried %v", c.name, try, e, in[e], a.Tried.Has(e))
				}
				a.Tried.Add(e)
			}
		}
	})
}
