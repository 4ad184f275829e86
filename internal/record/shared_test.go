package record

import (
	"testing"
	"time"
)

// TestCellsOfVariants: services that share a route have cells of their own, which outlive the
// configuration that first named them. An exchange that moves counts once, and a service that had the
// route alone counts on in the same series.
func TestCellsOfVariants(t *testing.T) {
	r := NewRoutes(1)
	count := func(c *Cells[RouteCell]) {
		c.At(0).Begin()
		c.At(0).End(&Trace{Status: 200}, time.Millisecond)
	}
	count(r.Name([]RouteName{{Name: "shop", Service: "v1"}}, 0)[0])

	both := []RouteName{{Name: "shop", Service: "v1", Shared: true}, {Name: "shop", Service: "v2", Shared: true}, {Name: "other", Service: "v1"}}
	cells := r.Name(both, time.Second)
	cells[0].At(0).Begin()
	cells[0].At(0).TakeBack()
	count(cells[1])
	count(cells[1])
	count(cells[2])
	again := r.Name([]RouteName{both[1], both[0]}, 2*time.Second)
	if again[0] != cells[1] || again[1] != cells[0] {
		t.Error("another order has other cells")
	}
	sums := r.Sums()
	want := []struct {
		name, service string
		n             uint64
	}{{"other", "v1", 1}, {"shop", "v1", 1}, {"shop", "v2", 2}}
	if len(sums) != len(want) {
		t.Fatalf("%+v", sums)
	}
	for i, w := range want {
		if s := &sums[i]; s.Name != w.name || s.Service != w.service || s.Begun != w.n || s.Ended() != w.n {
			t.Errorf("%s of %s: begun %d, ended %d, want %d", s.Name, s.Service, s.Begun, s.Ended(), w.n)
		}
	}
}
