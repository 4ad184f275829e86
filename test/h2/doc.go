// Package h2 attacks HTTP/2 on both sides. A client that is built of x/net's Framer and hpack, so that
// mistakes of our own codec do not cancel out, sends what RFC 9113 allows and what it does not,
// frame by frame, to a whole proxy core with a real endpoint behind it. An endpoint that is built
// likewise answers requests of real clients.
//
//	cases_*_test.go    one case for each rule, by sections of the RFC: in virtual worlds and, on
//	                   sockets, on every engine
//	attack_test.go     what is legal and dear, each against its bound (RFC 9113 §10.5)
//	lives_test.go      connections as they live: drains, timeouts, cancels, reloads
//	grpc_*_test.go     the rules of gRPC, with servers of x/net's Framer behind the proxy
//	fuzz_test.go       sequences of frames that are drawn at random
//	hostile*_test.go   endpoints that answer well and badly, one case for each rule, code and moment
//	alloc_test.go      what a warm request costs in memory
//
// It has tests only.
package h2
