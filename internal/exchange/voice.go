package exchange

// Interim responses in a race (race.go). A proxy has to pass on those that its client's request
// leads to (RFC 9110 §15.2), and may drop those of a request that it makes itself, as a hedge. The
// client gets those of one attempt, since they are hints for two responses of which only one comes:
//
//	first      hedge      the client gets
//	-          103        103 of the hedge at once: the first may be an endpoint that stalls
//	103        103        that of the first, as it came first; those of the hedge are dropped
//	103, ends  103        both: only the hedge can still win
//
// Hints of an attempt that loses do no harm: clients take them as speculative (RFC 8297 §2).

// speaks reports whether the client gets an interim response that a has read; spoke must follow when it
// is written. The first attempt writes in the exchange's own task, and so never beside the final head.
func (r *race) speaks(a *attempt) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.winner != nil || r.voice != nil && r.voice != a {
		return false
	}
	r.voice, r.writes = a, a == r.other
	return true
}

// spoke ends what speaks has begun.
func (r *race) spoke() {
	r.mu.Lock()
	r.writes = false
	r.mu.Unlock()
	r.changed.Set()
}

// silence waits until the hedge writes no interim response. The exchange's own task, which calls it,
// would have to wait for the client in any case.
func (r *race) silence() {
	for {
		r.mu.Lock()
		writes := r.writes
		r.mu.Unlock()
		if !writes {
			return
		}
		r.changed.Wait(0)
	}
}
