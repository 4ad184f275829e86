// Package h2spec judges HTTP/2 towards clients by h2spec, a conformance suite of others: a built
// poise on every engine, over TLS and in the clear. h2spec is a tool of the module ../../tools.
//
// It has tests only: make h2spec, or go test ./test/h2spec
package h2spec
