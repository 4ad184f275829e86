// Package clients has other people's clients of HTTP/2 speak to a built poise: curl, nghttp, h2load,
// Python's httpx and Node's http2, under TLS by ALPN and in the clear by prior knowledge, to endpoints
// with HTTP/1.1 and with HTTP/2. Each asks, sends 20 MB and compares what comes back, asks sixty
// times at once, reads trailers where it can, leaves in the middle of a response, and sends a head
// that is too large.
//
// It has tests only: make clients, which installs what is missing.
package clients
