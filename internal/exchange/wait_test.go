package exchange

import (
	"testing"

	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/service"
)

// A request that finds the service full costs three small allocations (the reason phrase and the
// field with the reason), far less than one that is served over a connection of its own.
func TestAFullServiceRefusesCheaply(t *testing.T) {
	if underRace {
		t.Skip("the race detector allocates")
	}
	rt := goroutine.New()
	t.Cleanup(func() { rt.Close() })
	st := &stage{t: nil, rt: canned{rt}}
	st.serve(one)
	s := st.table.Routes[0].Service.Service
	s.Configure(service.Settings{Policy: inOrder{}, Overload: service.Overload{InFlight: 1}})
	if !s.Begin(st.endpoint(one), rt.Now()) {
		t.Fatal("no place")
	}
	r, peer, x := &reader{}, &Peer{}, new(Exchange)
	client := r.parts()
	client.ResponseWriter = r
	method, path, host := []byte("GET"), []byte("/path"), []byte("example.com")
	once := func() {
		r.status = 0
		x.Request.Method, x.Request.Path, x.Request.Host, x.Request.Minor = method, path, host, 1
		x.Request.Fields = x.Request.Fields[:0]
		*x.Client() = client
		x.Run(st.rt, st.table, peer)
		if r.status != 503 {
			t.Fatalf("status %d", r.status)
		}
	}
	once()
	if n := testing.AllocsPerRun(1000, once); n > 3 {
		t.Errorf("%v allocations", n)
	}
}
