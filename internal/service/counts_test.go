package service

import (
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/record"
)

// The counters of an endpoint outlive updates, Configure, and a time in which it is not named.
func TestCountersGoByIdentity(t *testing.T) {
	onStage(t, Settings{Workers: 3}, func(st *stage) {
		count := func(want string) {
			t.Helper()
			e := st.pick(want)
			Of(e).Cells.At(9).Attempt(&record.Attempt{Status: 200}, time.Millisecond, false)
		}
		check := func(gone bool, want uint64) {
			t.Helper()
			all := st.Readings()
			var classes [6]uint64
			var headed record.Durations
			all[0].Cells.Each(func(c *record.EndpointCell) {
				c.AddClasses(&classes)
				c.AddHeaded(&headed)
			})
			if len(all) != 2 || all[0].Label != "a:80" || classes[2] != want || all[0].Gone() != gone || headed.Count() != want {
				t.Errorf("want %d, gone %v: %v %v", want, gone, all, classes)
			}
		}
		st.Update(specs("a:80", "b:80"))
		count("a:80")
		st.Configure(st.with(Settings{Workers: 3}))
		count("a:80")
		check(false, 2)
		st.renew("b:80")
		time.Sleep(10 * time.Second)
		check(true, 2)
		st.renew("a:80", "b:80")
		count("a:80")
		check(false, 3)
		st.renew("b:80")
		time.Sleep(cellsKept + 10*time.Second)
		if all := st.Readings(); len(all) != 1 {
			t.Errorf("counters are kept for ever: %+v", all)
		}
	})
}

// The list that metrics are read by is made once for a set: to ask for it again takes no lock.
func TestReadingsAreMadeOnce(t *testing.T) {
	onStage(t, Settings{}, func(st *stage) {
		st.Update(specs("b:80", "a:80"))
		first := st.Readings()
		st.mu.Lock()
		again := st.Readings()
		st.mu.Unlock()
		if len(first) != 2 || first[0].Label != "a:80" || &again[0] != &first[0] {
			t.Errorf("%v, then %v", first, again)
		}
		if word, held := st.Word(&first[0]); word != "healthy" || held || first[0].Endpoint() == nil {
			t.Errorf("%s, held %v", word, held)
		}
		st.renew("a:80", "b:80", "c:80")
		if all := st.Readings(); len(all) != 3 {
			t.Errorf("one has come: %v", all)
		}
	})
}

func TestFormerCellsAreBounded(t *testing.T) {
	var f formerCells
	for i := range 2 * cellsMax {
		f.keep(&Member{endpoint: endpoint.New(endpoint.Spec{ID: endpoint.ID{Address: string(rune(i))}})}, 0)
	}
	if len(f) != cellsMax {
		t.Errorf("%d are kept", len(f))
	}
	f.keep(&Member{endpoint: endpoint.New(endpoint.Spec{ID: endpoint.ID{Address: "later"}})}, cellsKept)
	if len(f) != 1 {
		t.Errorf("%d are kept", len(f))
	}
}
