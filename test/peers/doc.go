// Package peers measures Poise beside other proxies, all in front of the same endpoints,
// with the same load, on the same machine, in turns: make bench. What comes out is
// docs/benchmarks.md, with its picture, and results.json, which both are made of.
//
// A scenario is one value in scenarios_test.go, and a peer is one file: how it is
// installed, started and configured. It has tests only, and is for Linux.
package peers
