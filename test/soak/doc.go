// Package soak loads proxies for a long time with clients and endpoints that behave well,
// badly and not at all, side by side, and looks at every byte: each request has a token of
// its own, all content is made from it, and so nothing can be mixed up, lost, doubled or
// shortened unseen. When the load ends nothing of it may be left: goroutines, descriptors
// and heap are where they were after the first moments.
//
// It has tests only:
//
//	go test ./test/soak                                  some seconds for each engine
//	go test -short ./test/soak                           a moment
//	go test -v ./test/soak -for 30m -engine goroutine    for long
//	go test -v ./test/soak -seed 7                       the same draws once more
//
// The seed is told at the beginning and with every failure. It repeats what clients and
// endpoints draw, not how their moments meet.
//
// # Who takes part
//
// Three services stand behind one proxy. The endpoints of calm do what a request orders
// of them and nothing else, so that no request to it may fail but by order. Those of rude
// close connections without a word and say more than they were asked, those of wild die
// and come back. What a client may meet for that reason is in judge; everything else is a
// failure. Meanwhile the configuration is replaced over and over.
package soak
