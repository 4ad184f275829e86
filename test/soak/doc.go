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
// The seed is printed at the beginning and with every failure. It repeats what clients and
// endpoints draw, not how their moments meet.
//
// # What takes part
//
// Four services stand behind one proxy. The endpoints of calm do what a request orders
// of them and nothing else, so that no request to it may fail but by order; those of h2c
// likewise, by HTTP/2, with resets of streams, GOAWAY and few streams at once. Those of rude
// close connections without a word and say more than they were asked, those of wild die
// and come back, one of them with HTTP/2. What a client may meet for that reason is in judge; everything else is a
// failure. Meanwhile the configuration is replaced over and over.
package soak
