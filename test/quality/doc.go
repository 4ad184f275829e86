// Package quality judges how well Poise balances: the same open loop of requests goes
// through poise and through nginx to the same eight endpoints, in turns, and what clients
// wait is compared. Latency counts from the instant a request was due, so that a proxy
// gains nothing by holding requests up.
//
// It has tests only: go test -v ./test/quality
package quality
