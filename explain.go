package poise

import (
	"github.com/poise-lb/poise/internal/explain"
	"github.com/poise-lb/poise/internal/front"
)

// What becomes of a request: see Proxy.Explain and Explain. An Explanation is a value for
// encoding/json, WriteText writes it for people, and Locate fills in places in a file.
type (
	Explanation    = explain.Explanation
	ExplainRequest = explain.Request
	ExplainField   = explain.Field
)

// Explain says what would become of a request at this moment: the normal form of its path, the
// routes that were tried and why, what the endpoint would get, every endpoint of the service with
// its state and how often the policy chooses it, what a retry would do, and the limits of time.
// It sends nothing and changes no state: no trial is used up and nothing is counted. The error
// says that q is no request, as its URL is missing for instance.
func (p *Proxy) Explain(q ExplainRequest) (Explanation, error) {
	return p.server.Core().Explain(q)
}

// Explain is Proxy.Explain for a configuration that is not in force. Nothing is contacted:
// endpoints of static lists count as healthy and idle, a host name stands for its addresses, and
// of services with a source no endpoint is known. Notes of the result say so where it matters. An
// error is one of New, or of Proxy.Explain.
func Explain(c Config, q ExplainRequest) (Explanation, error) {
	return front.ExplainOffline(c, q)
}
