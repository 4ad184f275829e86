package record

import (
	"bytes"
	"strings"
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/grpc"
)

// callOf is the record of a call of gRPC with that status; of none without it.
func callOf(rpc uint8) Exchange {
	x := Exchange{Trace: new(Trace), Method: []byte("POST"), Host: []byte("a"), Path: []byte("/shop.Cart/Add"), Protocol: "HTTP/2.0"}
	x.Status, x.RPC = 200, rpc
	return x
}

// TestCallsInEveryFormat: the status of a call is in each line of one, and in no other.
func TestCallsInEveryFormat(t *testing.T) {
	for format, want := range map[string]string{
		"json":                     `"status":200,"grpc_status":"UNAVAILABLE","bytes_in"`,
		"ecs":                      `"grpc_status":"UNAVAILABLE"`,
		"$status $grpc_status":     "200 UNAVAILABLE\n",
		"escape=json $grpc_status": "UNAVAILABLE\n",
	} {
		line := lineOf(config.AccessLog{Format: format}, func(*Sink) *Exchange { x := callOf(grpc.Unavailable.Plus()); return &x })
		if !strings.Contains(line, want) {
			t.Errorf("%s: %s has no %s", format, line, want)
		}
		if line := lineOf(config.AccessLog{Format: format}, func(*Sink) *Exchange { x := callOf(0); return &x }); strings.Contains(line, "grpc") {
			t.Errorf("%s: %s has a status of gRPC", format, line)
		}
	}
}

// TestFailedCalls: which statuses of gRPC are failures to ECS and to the rule "error".
func TestFailedCalls(t *testing.T) {
	failed := map[grpc.Code]bool{grpc.Unknown: true, grpc.DeadlineExceeded: true, grpc.Unimplemented: true, grpc.Internal: true, grpc.Unavailable: true, grpc.DataLoss: true}
	for code := range grpc.Codes {
		x := callOf(code.Plus())
		line := lineOf(config.AccessLog{Format: "ecs"}, func(*Sink) *Exchange { return &x })
		if strings.Contains(line, `"outcome":"failure"`) != failed[code] {
			t.Errorf("%v: %s", code, line)
		}
		s := sinkOf(config.AccessLog{Sample: config.LogSample{Rate: "0%", Always: []string{"error"}}})
		s.Put(&x)
		var out bytes.Buffer
		if s.Drain(&out); out.Len() > 0 != failed[code] {
			t.Errorf("%v: the rule error keeps %q", code, out.String())
		}
	}
}

// TestASpanOfACall: what spans are made of has the status, OK included.
func TestASpanOfACall(t *testing.T) {
	s := NewSink(4)
	s.Format = CompileSpans(&config.Tracing{})
	for _, rpc := range []uint8{0, grpc.OK.Plus(), grpc.Unavailable.Plus()} {
		x := callOf(rpc)
		x.Span = &Span{}
		s.Put(&x)
	}
	got := s.Spans(nil, 10)
	if len(got) != 3 || got[0].GRPC != nil || got[1].GRPC == nil || *got[1].GRPC != 0 || *got[2].GRPC != 14 || got[1].Failed() || !got[2].Failed() {
		t.Errorf("%+v", got)
	}
}

// TestCallsAreCounted: by status, and in a cell that other routes do not pay for.
func TestCallsAreCounted(t *testing.T) {
	cells := NewCells[RouteCell](2)
	for slot, codes := range [][]grpc.Code{{grpc.OK, grpc.OK, grpc.Unavailable}, {grpc.OK, grpc.Unauthenticated}} {
		for _, code := range codes {
			cells.At(slot).End(&Trace{Status: 200, RPC: code.Plus()}, 0)
		}
	}
	cells.At(2).End(&Trace{Status: 200}, 0)
	var s RouteSums
	s.add(cells)
	if want := [grpc.Codes]uint64{grpc.OK: 3, grpc.Unavailable: 1, grpc.Unauthenticated: 1}; s.RPCs != want {
		t.Errorf("%v, want %v", s.RPCs, want)
	}
	if cells.At(2).rpcs.Load() != nil {
		t.Error("a cell without calls of gRPC has counters for them")
	}
}
