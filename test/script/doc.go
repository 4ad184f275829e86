// Package script tests what Poise does by scripts that its users can read. Each *.txtar
// file here is one: a configuration, what the endpoints do, what clients send and what
// has to come back. Their names are a table of contents. Every script is played by every
// driver: loop and goroutine (poise.Proxy behind a listener of its own), std (mounted in a
// server of net/http) and virtual (coroutines in a virtual world, in several of them, which
// differ in the order of tasks and in the pieces that writes are cut into).
//
// Clients and endpoints speak HTTP/1.1 or HTTP/2 by prior knowledge, each in plays of their own: a
// driver plays a script as loop, loop-http2 (clients), loop-to-h2c (endpoints) and
// loop-http2-to-h2c. The steps are the same, and what stands for
// HTTP/1.1 in them becomes frames (http2.go, endpoint_http2.go). Besides, sequences that are drawn
// at random have to come out alike in all four combinations (agree_test.go).
//
//	go test ./test/script                                        all of them
//	go test ./test/script -run TestScripts/retry                 those about retries
//	go test ./test/script -run 'TestScripts/drain_.*/virtual' -seed 3 -trace
//
// # The file
//
// The first line says in words what is shown. A line "only: loop goroutine virtual (why)"
// leaves drivers out, "clients: http1 (why)" a protocol of clients, and "endpoints: http1 (why)" one
// of endpoints, and "std: http1 (why)" one that net/http cannot speak as the script wants it; there
// are few of those, and a test counts them. Then follow the files poise.yaml, in
// which ${name} is the URL of an endpoint of that name, any others that "apply" uses, and script.
//
// The file filters gives routes filters (package internal/filter), one a line, as "0 wait 10ms"
// does the first route:
//
//	deny           answer 401 to requests without "Token: let-me-in"; X-Guarded on each response
//	refuse         answer 429 with a reason and no content of its own
//	wait DURATION  wait; X-Waited on the request
//	count          X-Request-Bytes on the response, X-Response-Bytes in its trailers
//	upper [TEXT]   content of both directions in capitals, and TEXT behind it
//	hold           hold the last byte of both directions back until there is more, or a flush
//	limit N        413 to content of more than N bytes
//	mark           X-Mark on the request, X-Marks on the response: how often it was called
//	panic          panic in the part that the request's field Panic names: request, response,
//	               request-content, response-content
//
// # Statements
//
//	METHOD TARGET [options] -> STATUS [options]    one request on a connection of its own
//	N times METHOD TARGET ...                      the same, N times
//	within DURATION METHOD TARGET ...              again until it comes out so
//	endpoint NAME BEHAVIOUR                        from now on; see below
//	endpoint NAME next BEHAVIOUR                   for the next request only
//	endpoint NAME saw METHOD TARGET [options]      the oldest request not asked about yet
//	endpoint NAME saw nothing                      there is none
//	endpoint NAME saw hangup                       an exchange was broken off by the proxy
//	counts NAME=N NAME=MIN..MAX                    requests since the last counts or saw
//	connections NAME=N                             connections since the last time
//	client NAME [at ADDRESS]                       one connection; steps below it
//	wait DURATION                                  real on sockets: short; a jump if virtual
//	shortage begins | ends                         the proxy has no descriptors to connect; virtual only
//	apply FILE [refused TEXT]                      another configuration
//	operator drain | undrain | eject | admit NAME  what an operator says of an endpoint, in all services
//	operator weight N NAME
//	status TEXT                                    what a service knows of its shadow and of load
//	                                               reports contains TEXT: see statusLine
//	logged TEXT                                    the oldest line of the access log that was
//	                                               not asked about yet contains TEXT
//	traced RE                                      likewise of exchanges of which spans are made: see
//	                                               tracedLine
//	drain DURATION / draining / drained            begin to close; it goes on; it has ended:
//	                                               timeouts.drain_delay is a part of DURATION
//
// # Behaviours of endpoints
//
// A new endpoint answers 200 with its name. A behaviour is a program of steps, on
// indented lines or separated by "then", that is run for every request, after its
// content was read:
//
//	reply STATUS [options]    a whole response
//	head STATUS [options]     the head only; with chunked, pieces become chunks
//	piece TEXT, end           content, bytes N for a pattern, and the last chunk with its trailers
//	raw TEXT                  these bytes
//	interim STATUS, continue  a 1xx response, before the content is read
//	early                     do not read the content first; it counts as seen now
//	read                      read the content after early; it counts as seen once more
//	wait DURATION
//	hang                      never answer; note when the proxy hangs up
//	echo                      send back what comes
//	close, reset              end the connection
//
// Instead of a program: refuse (the process is gone: nothing listens), black-hole
// (packets vanish), close-at-once and reset-at-once (after accepting), hangup (close
// idle connections now).
//
// # Steps of clients
//
//	send METHOD TARGET [options]      raw TEXT
//	expect STATUS [options]           a whole response; interim ones nobody asked for are skipped
//	expect head STATUS [options]      its head; then: expect content TEXT, end, or cut
//	expect goaway                     that GOAWAY comes or has come (clients of HTTP/2)
//	expect closed                     the end of the connection and nothing before it
//	expect nothing DURATION           no byte, and no end, for that time
//	expect raw TEXT                   these bytes next
//	finish, close, abort, wait        FIN of the sending side, close, reset
//	renew                             connect again if the last response said close
//
// # Options
//
// When sending they make a message, when expecting they say what it has to be like; what
// is not mentioned may be anything: header "Name: value" (* for any value, /.../ for a
// regular expression), no-header NAME, body TEXT, bytes N (a pattern of that length),
// contains TEXT, base64 TEXT (what the content stands for, padded anywhere), chunk TEXT, trailer "Name: value", length N, chunked, until-close,
// http/1.0, host NAME (none: without), at ADDRESS, from NAME and not-from NAME (who
// answered; $name takes the first value it meets), reason WORD (of an answer of the
// proxy's own), cookies NAME (of a request: those that responses to requests of this NAME have
// set). For limits of size, of a message that is sent: target N (lengthened to N
// bytes), fields N (that many further ones), head N (lengthened by a field to N bytes, its
// start line and line ends included).
package script
