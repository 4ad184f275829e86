// Package loop serves HTTP over event loops with the neutral code as it is, a
// core.Proxy for each loop, and measures what a request costs there beside nginx and the
// goroutine engine.
//
// It has tests and benchmarks only:
//
//	go test ./test/loop
//	go test -run '^$' -bench . ./test/loop
package loop
