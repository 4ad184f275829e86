// Package stage is what proxies are measured between: the client that loads them and the
// endpoints behind them, both on one epoll loop of one process, so that they cost as
// little as they can and a proxy is what is measured. Everything on the loop is a coroutine
// of straight-line code.
//
// A Stage is a process of its own, controlled by one line of JSON after the other:
// Main is its end of that, and the test that started it has the other. Latency counts from
// the instant a request was due, so that a proxy that holds requests up gains nothing.
//
// It is for Linux only.
package stage
