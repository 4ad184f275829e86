// Package simulate runs services of Poise against endpoints that are queues, under a virtual
// clock, and says what clients would have waited. What decides is the shipped code: the policies,
// package service with its views, breaker, probes and slow start, and the state machine of
// package health. What is simulated is the load, the endpoints and the network.
//
//	load ─arrival─► proxy ─Pick─► server: workers and a queue ─response─► proxy ─Settle, retry─► report
//
// A run is one loop over a heap of events (heap.go) and allocates nothing for a request, so that a
// million requests take about a second. The tasks of a service, its keeper and its probers,
// are coroutines that the same loop resumes (tasks.go). Nothing reads a clock or draws a random
// number that does not come from the seed: the same scenario and seed give the same bytes.
//
// # What is simulated
//
//	an endpoint       Workers requests at once, the others wait in the order in which they came
//	a request         takes a time drawn from a distribution, the same for every policy, so that
//	                  policies are compared by the same requests
//	the network       a constant time there and back; nothing is lost
//	a fault           slow, stall, crash, fail, flaky, cold, restart, join, leave: see Fault
//	a retry           by the rules of internal/exchange/retry.go: see exchange.go
//	a queue, limits   those of package service: see wait.go. which requests are of high
//	                  priority is in the load, whether that counts in the service: classes.go
//	a hedge           by those of internal/exchange/hedge.go: see hedge.go
//	several proxies   each a service of its own, which knows its own requests only
//
// # What is not
//
// The time that a proxy itself needs, connections and their limits, content, and clients that
// leave before their timeout. An endpoint finishes what it has begun also if nobody waits any more.
//
// # An example
//
// With one endpoint that serves one request at a time in 10 ms exactly and requests at 0, 4 and
// 30 ms, network 0: the second one waits for 6 ms, so the latencies are 10, 16 and 10 ms.
package simulate
