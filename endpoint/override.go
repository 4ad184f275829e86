package endpoint

// What an operator says about an endpoint, beside what its source says (Spec).

import (
	"fmt"
	"slices"
	"time"
)

// An OverrideKind is what an operator wants of an endpoint.
type OverrideKind uint8

const (
	Drain OverrideKind = iota // no new requests; attempts under way end, probes go on
	Eject                     // out of rotation as if ejected, whatever probes and attempts say
	Weigh                     // another weight than the source's
	Admit                     // healthy now, the breaker closed: an act, which nothing remains of
	kinds = iota
)

// overrideKinds are the words, by OverrideKind.
var overrideKinds = [kinds]string{"drain", "eject", "weight", "admit"}

// String is the word used in logs, in the status and by operators.
func (k OverrideKind) String() string { return overrideKinds[k] }

// OverrideKinds lists the words of all kinds. The caller must not modify the result.
func OverrideKinds() []string { return overrideKinds[:] }

// ParseOverrideKind returns the kind of a word; ok is false if there is none.
func ParseOverrideKind(word string) (k OverrideKind, ok bool) {
	i := slices.Index(overrideKinds[:], word)
	return OverrideKind(max(i, 0)), i >= 0
}

// An Override is what an operator says about one endpoint of a service. It belongs to the identity,
// so it outlives the endpoint: one that its source removes and names again is overridden still.
type Override struct {
	Endpoint ID
	Kind     OverrideKind
	Weight   float64       // of Weigh; else 0
	Who      string        // the operator, by a name of their own choice; may be empty
	Why      string        // for people; may be empty
	Made     time.Duration // instant on the clock of the proxy's runtime
	Until    time.Duration // instant at which it ends; 0: when it is removed
	// Absent: the service does not have the endpoint now. The override waits for it.
	Absent bool
}

// String is for logs: what is wanted, without the endpoint.
func (o Override) String() string {
	if o.Kind == Weigh {
		return fmt.Sprintf("weight %g", o.Weight)
	}
	return o.Kind.String()
}
