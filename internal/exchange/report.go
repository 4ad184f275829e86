package exchange

// What endpoints say of their load (package orca), of a service with load_reports: in the head of a
// response, and in trailers, where gRPC has it. Every response counts, also one that is discarded
// because another attempt follows; the client sees the field of none.
//
// An exchange of a service without load_reports pays a comparison for each response.

import (
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/orca"
)

// takeReport takes the load report out of fields that have come from the endpoint. The attempt is
// still in flight there, as its endpoint counts it.
func (a *attempt) takeReport(fields []message.Field) {
	r, found, ok := orca.Take(fields)
	if found {
		a.x.service.Report(a.endpoint, r, a.x.rt.Now(), ok)
	}
}
