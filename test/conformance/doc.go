// Package conformance judges a proxy by what RFC 9110, RFC 9112 and their neighbours say, on
// raw sockets and without any of the code that it judges: a case is what a client sends, what
// an endpoint answers, and what the other side of the proxy may see of it. The suite has a
// strict reader of its own, so that whatever a proxy writes is checked in every case.
//
//	go test ./test/conformance                                   Poise, on each of its engines
//	go test ./test/conformance -run 'TestConformance/std/chunks' one group on one engine
//	make conformance                                             nginx and HAProxy too
//
// The cases are tables in cases_*_test.go. A case that leaves a choice, as the RFC does,
// accepts every choice, so that it can judge other proxies than Poise. What must not happen
// is shown by something that happens after it (a later request that is the first to arrive)
// rather than by waiting. Nothing depends on how fast the machine is: a case that waits for
// something waits for ten seconds.
//
// docs/conformance.md has the results, and a test compares its rows with the tables.
package conformance
