package service

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// One part that fails is stale alone; its counters outlive another source, its failure does not.
func TestParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, Settings{})
		is := func(want ...PartStatus) {
			t.Helper()
			got := st.Source().Parts
			if len(got) != len(want) {
				t.Fatalf("%+v, want %+v", got, want)
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%+v, want %+v", got[i], want[i])
				}
			}
		}
		is()
		st.SetParts([]string{"consul", "nacos"})
		is(PartStatus{Name: "consul"}, PartStatus{Name: "nacos"})
		st.HearPart("consul", discovery.Update{Rejected: make([]discovery.Reject, 2)})
		st.HearPart("nacos", discovery.Update{Err: errors.New("refused")})
		st.HearPart("other", discovery.Update{}) // of a source that was replaced
		time.Sleep(time.Second)
		st.HearPart("nacos", discovery.Update{Err: errors.New("refused")})
		time.Sleep(time.Second)
		consul := PartStatus{Name: "consul", Rejects: 2, Counts: SourceCounts{Applied: 1}}
		is(consul, PartStatus{Name: "nacos", Age: 2 * time.Second, Counts: SourceCounts{Failed: 2}})
		st.HearPart("nacos", discovery.Update{})
		nacos := PartStatus{Name: "nacos", Counts: SourceCounts{Applied: 1, Failed: 2}}
		is(consul, nacos)
		st.HearPart("nacos", discovery.Update{Err: errors.New("refused")})
		st.Renew()
		is()
		st.SetParts([]string{"nacos"})
		nacos.Counts.Failed = 3
		is(nacos)
	})
}
