package exchange

import (
	"testing"

	"github.com/poise-lb/poise/internal/filter"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
)

// TestAFilterMayTranslate: a request that a filter has made one of gRPC is held to its rules, and
// one that was read before leaves nothing behind in an Exchange that is used again.
func TestAFilterMayTranslate(t *testing.T) {
	st := newStage(t, 1)
	st.serve(one) // where nothing listens
	translate := func(x *filter.Exchange) *message.Reply {
		message.Drop(x.Request.Fields, message.ContentType)
		x.Request.Fields = append(x.Request.Fields, message.NewField("Content-Type", "application/grpc"))
		return nil
	}
	filters := []filter.Filter{{Name: "translate", Slot: filter.BodyLimit, Request: translate}}
	chain, err := filter.Compile(filters)
	if err != nil {
		t.Fatal(err)
	}
	st.table.Routes[0].Service.Retry = Retry{Attempts: 1}
	x := new(Exchange)
	ask := func(fields ...message.Field) *visitor {
		v := &visitor{}
		v.request(x, "POST", "/shop.Cart/Add")
		x.Request.Fields = append(x.Request.Fields, fields...)
		*x.Client() = v.parts()
		x.Run(st.rt, st.table, &Peer{})
		return v
	}
	st.run(func() {
		timeout := message.NewField("grpc-timeout", "1S")
		if v := ask(timeout); v.status != 502 || x.rpc.is || x.log.RPC != 0 {
			t.Errorf("HTTP: status %d, %+v", v.status, x.rpc)
		}
		st.table.Routes[0].Filters = chain
		if v := ask(timeout); v.status != 200 || v.reason != reason.ConnectFailed || !x.rpc.timed || x.deadline != x.began+1e9 {
			t.Errorf("translated: status %d, %s, %+v", v.status, v.reason, x.rpc)
		}
		if v := ask(timeout, timeout); v.status != 200 || v.reason != reason.BadGRPCTimeout {
			t.Errorf("two timeouts: status %d, %s", v.status, v.reason)
		}
		st.table.Routes[0].Filters = nil
		if v := ask(); v.status != 502 || x.rpc.is || x.log.RPC != 0 {
			t.Errorf("HTTP again: status %d, %+v", v.status, x.rpc)
		}
	})
}

// TestACallAllocatesNothing: neither to find out that a request is one of gRPC nor to keep its
// time takes memory.
func TestACallAllocatesNothing(t *testing.T) { allocatesNothing(t, cannedCall(t)) }

func BenchmarkCall(b *testing.B) {
	once := cannedCall(b)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

// cannedCall is cannedExchange with a call of gRPC.
func cannedCall(tb testing.TB) (once func()) {
	fields := []message.Field{message.NewField("content-type", "application/grpc"), message.NewField("grpc-timeout", "5S")}
	return cannedExchangeOf(tb, nil, "POST", fields)
}
