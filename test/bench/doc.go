// Package bench measures what a proxied request costs: processor time beside
// httputil.ReverseProxy and nginx, and allocations.
//
// It has tests and benchmarks only:
//
//	go test -v -run TestCPUPerRequest ./test/bench
//	go test -run '^$' -bench . ./test/bench
//	make operate     what metrics and an access log add to it
package bench
