package simulate

// Hedges: an attempt beside the first one of a request, as internal/exchange makes it (hedge.go and
// race.go there). When one is due, whether the budget has one and where it goes is said by the
// shipped code. What is the same here:
//
//	first                     hedge                 the client gets
//	answers                   -                     that; the hedge is overtaken
//	-                         answers               that; the first one is overtaken
//	fails                     answers later         that
//	fails                     fails                 what becomes of the first one's failure
//
// An attempt that was overtaken is settled as one that says nothing. Its endpoint works on, as
// one does that finds out at the end only that nobody waits.

import (
	"github.com/poise-lb/poise/internal/extra"
	"github.com/poise-lb/poise/internal/service"
)

// awaitHedge has a hedge begin beside attempt i, the first one of its request, if it takes long.
func (w *world) awaitHedge(i int32) {
	a := &w.attempts.all[i]
	r := &w.requests.all[a.request]
	h := r.proxy.hedge
	if h == nil || !r.repeatable {
		return
	}
	a.timed = true
	after := h.Wait(r.proxy.service.HedgeDue())
	if after > 0 && w.now+after < a.fate.at {
		w.events.add(event{at: w.now + after, kind: evHedge, n: i, gen: a.gen})
	}
}

// hedge begins an attempt beside attempt i, if it is allowed.
func (w *world) hedge(i int32) {
	n := w.attempts.all[i].request
	r := &w.requests.all[n]
	s := r.proxy.service
	if !s.TakeExtra(w.now, extra.Hedge, r.proxy.retry.Extra) {
		s.Hedged(service.HedgeNoBudget)
		return
	}
	r.choice.Rand, r.choice.Now = w.tasks.Rand(), w.now
	k, ok := int32(0), false
	if e := s.PickHedge(&r.choice); e != nil {
		k, ok = w.start(n, e)
	}
	if !ok {
		s.ReturnExtra(extra.Hedge)
		s.Hedged(service.HedgeNoEndpoint)
		return
	}
	if w.requests.all[n].arrived >= w.from {
		w.report.Hedges++
	}
	w.attempts.all[k].hedge = true
	w.attempts.all[i].beside, w.attempts.all[k].beside = k+1, i+1
}

// overtake ends the attempt beside a, which has answered.
func (w *world) overtake(a *attempt) {
	i := a.beside - 1
	loser := w.attempts.all[i]
	r := &w.requests.all[a.request]
	loser.fate.result = overtaken
	w.settle(&loser, r)
	w.release(i)
	r.attempts++
	w.hedged(r, a)
}

// hedged counts the end of a hedge: a is the attempt whose answer the client gets.
func (w *world) hedged(r *request, a *attempt) {
	end := service.HedgeLost
	switch {
	case a.fate.result != answered:
		end = service.HedgeFailed
	case a.hedge:
		end = service.HedgeWon
	}
	if end == service.HedgeWon && r.arrived >= w.from {
		w.report.HedgesWon++
	}
	r.proxy.service.Hedged(end)
}

// outlive leaves the request to the attempt beside attempt i, which has failed.
func (w *world) outlive(i int32) {
	a := w.attempts.all[i]
	r := &w.requests.all[a.request]
	if !a.hedge {
		r.own = a.fate.result
	}
	other := &w.attempts.all[a.beside-1]
	other.beside, other.alone = 0, true
	w.settle(&a, r)
	w.release(i)
	if a.fate.result != refused {
		r.attempts++
	}
}
