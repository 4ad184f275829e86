// Package faults breaks endpoints under load and counts what clients lose. Of N endpoints,
// which are processes, some refuse connections, reset them, freeze, answer 503, or vanish
// like a cable that was pulled out; then they return one by one. While one endpoint could
// have served it, no idempotent request may fail, and no request that was not delivered.
// In a second story all endpoints are down for a while and one returns: the service is to
// be back within seconds.
//
// nginx and HAProxy are judged beside Poise in the same way; what they lose is written
// down and no error.
//
//	go test ./test/faults                                  the short form, in a minute
//	go test ./test/faults -timeout 60m -args -full         every number of endpoints
//	make faults                                            the same, and writes docs/faults.md
//
// It has tests only, and is for Linux: a network namespace makes the black holes. Without
// the right to make one these are left out, and the run says so.
package faults
