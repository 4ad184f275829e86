package admin

// A request that an operator sends through the proxy to see what becomes of it. It needs the role
// operate, as a change does, since endpoints may change by it. No address is taken from the
// question: the proxy's own routes say where it goes, so it reaches nothing that a client of the
// proxy would not.

import (
	"net/http"

	"github.com/poise-lb/poise"
)

// sendsMax bounds how many are under way at a time.
const sendsMax = 4

func (a *api) send(w http.ResponseWriter, r *http.Request) {
	var q poise.SendRequest
	if !decode(w, r, &q) {
		return
	}
	defer a.sending.Add(-1)
	if a.sending.Add(1) > sendsMax {
		refuse(w, http.StatusTooManyRequests, "requests that were sent before are under way: try again when they have ended")
		return
	}
	sent, err := a.proxy.Send(r.Context(), q)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, sent)
}

// keys says how the keys of a service are spread.
func (a *api) keys(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("service")
	k, err := a.proxy.Keys(name)
	if err != nil {
		unknownService(w, a.proxy.Status().Services, name)
		return
	}
	answer(w, http.StatusOK, k)
}
