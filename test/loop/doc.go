// Package loop serves HTTP over event loops, as the library does on Linux, and looks at
// what only shows with several of them, or not at all in a script: contents of all sizes
// from many clients, what an exchange allocates, what is left behind.
//
// It has tests only:
//
//	go test ./test/loop
package loop
