package simulate

// What a run has found.

import "time"

// samples is how many intervals the pictures over time have.
const samples = 120

// A Report is the result of one policy in one scenario. What arrived during the warm-up is left
// out, but for Load.
type Report struct {
	Policy    string
	Requests  int           // that arrived
	Outcomes  [outcomes]int // by Outcome
	Attempts  int           // of those requests
	Waited    int           // requests that have waited in the queue of the service
	Hedges    int           // those of the attempts that were begun beside another one
	HedgesWon int           // those of them whose answer came first
	Latency   *Histogram    // of those that were served
	Classes   []*Class      // by service.Priority; nil: requests are alike
	Interval  time.Duration // of Load and Away
	Endpoints []EndpointReport
	// Makespan is the time from the end of the warm-up to the last answer.
	Makespan time.Duration
}

// An EndpointReport is what one endpoint had to do.
type EndpointReport struct {
	Name     string
	Zone     string
	Workers  int
	Attempts int
	Failures int
	Load     []float32 // mean number of attempts under way in each interval
	Away     []bool    // at the end of the interval no proxy's rotation had it
}

// Errors is the number of requests that were not served.
func (r *Report) Errors() int { return r.Requests - r.Outcomes[Served] }

// PerRequest is the number of attempts for each request.
func (r *Report) PerRequest() float64 { return float64(r.Attempts) / float64(max(r.Requests, 1)) }

// Goodput is the number of requests served each second.
func (r *Report) Goodput() float64 {
	if r.Makespan <= 0 {
		return 0
	}
	return float64(r.Outcomes[Served]) / r.Makespan.Seconds()
}

// Busiest is the largest share of attempts that an endpoint had, in relation to that of its
// workers: 1 if all had as much to do as they can.
func (r *Report) Busiest() float64 {
	attempts, workers := 0, 0
	for _, e := range r.Endpoints {
		attempts += e.Attempts
		workers += e.Workers
	}
	most := 0.0
	for _, e := range r.Endpoints {
		if share := float64(e.Workers) / float64(workers) * float64(attempts); share > 0 {
			most = max(most, float64(e.Attempts)/share)
		}
	}
	return most
}
