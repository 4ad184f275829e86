package event

import (
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
)

// An endpoint of a service.
type (
	// EndpointChanged says that an endpoint went from one state to another. The breaker opened if To
	// is health.Ejected and Cause health.Attempts; it closed if From is health.HalfOpen and
	// To is health.Healthy.
	EndpointChanged struct {
		Endpoint endpoint.ID
		From, To health.State
		Cause    health.Cause   // what has ejected it, before or now; health.None: not ejected
		Trigger  health.Event   // what moved it
		Err      error          // of the probe that moved it; nil if none did
		Finding  health.Finding // of health.ComparedWorse: by what it is an outlier
	}
	// ProbeChanged says that a probe passed after one that failed, or the other way round; the first
	// one of an endpoint counts as a change.
	ProbeChanged struct {
		Endpoint endpoint.ID
		Err      error // nil: it passed
	}
	// EndpointDamped says that an endpoint came and went so often that it is used only after a quiet time, or
	// if too few others are left.
	EndpointDamped struct {
		Endpoint endpoint.ID
		Quiet    time.Duration
	}
)

// The endpoints of a service as a set.
type (
	// SetChanged says that the service has other members. Those that are Removed are draining.
	SetChanged struct {
		Added, Removed []endpoint.ID // in no order
		Members        int           // from now on
		First          bool          // before this set the service had none
	}
	// OutChanged says that the source said of that many members that they take no new requests, or
	// that they do again.
	OutChanged struct{ Out, Back, Members int }
	// RemovalHeld says that the source left out so many endpoints at once that they stay in use.
	RemovalHeld struct {
		Endpoints, Members int
		For                time.Duration
	}
	// RemovalTakenBack says that the source names some of the held endpoints again.
	RemovalTakenBack struct{ Endpoints int }
	// RemovalConfirmed says that a probe of a held endpoint failed, so it is removed.
	RemovalConfirmed struct {
		Endpoint endpoint.ID
		Err      error
	}
	// RemovalExpired says that held endpoints are removed because they were held long enough.
	RemovalExpired struct{ Removed, Members int }
	// PanicChanged says that panic mode began (On) or ended.
	PanicChanged struct {
		On              bool
		Usable, Members int
	}
	// OverflowChanged says that endpoints of other priorities than the first get a part of the
	// requests, because too few of those are usable (On), or that they get none any more.
	OverflowChanged struct {
		On              bool
		Share           float64 // from 0 to 1, at this moment
		Usable, Members int
	}
	// LastResortChanged says that no endpoint is sound, so ejected ones are tried (On); or that is over.
	LastResortChanged struct {
		On                       bool
		Ejected, Usable, Members int
	}
)

// What operators say about endpoints.
type (
	// OverrideSet says that an operator wants something of an endpoint. Override.Kind
	// endpoint.Admit is an act: no OverrideEnded follows.
	OverrideSet struct{ Override endpoint.Override }
	// OverrideEnded says that an override is not in force any more.
	OverrideEnded struct {
		Override endpoint.Override
		Reason   OverrideEnd
		Who      string // the operator who removed or replaced it; empty: not known, or its end came
	}
)

// An OverrideEnd says why an override ended.
type OverrideEnd uint8

const (
	OverrideExpired  OverrideEnd = iota // its end was reached
	OverrideRemoved                     // by an operator
	OverrideReplaced                    // by another one, or by an admission
	OverrideDropped                     // with its service, which has stopped
)

// String is the word used in logs.
func (r OverrideEnd) String() string {
	return [...]string{"expired", "removed", "replaced", "service stopped"}[r]
}

// The service and its source.
type (
	// ServiceStarted says that a service has begun. It has no endpoints yet.
	ServiceStarted struct{}
	// ServiceStopped is the last event of a service: its endpoints are gone.
	ServiceStopped struct{}
	// SourceFailed says that the source cannot be asked. The last set stays in use.
	SourceFailed struct {
		Err   error
		First bool // there is no last set yet
	}
	// SourceRecovered says that the source can be asked again.
	SourceRecovered struct{ Age time.Duration } // for how long it could not
	// EntriesRejected says that other entries of the source than before are no usable endpoints.
	EntriesRejected struct {
		Rejected []discovery.Reject // the first of them
		Total    int                // 0: none is rejected any more
	}
	// Fault says that code that the service was given, or a part of the service, panicked or
	// returned nonsense. The last good state stays in use.
	Fault struct {
		In    string // what panicked; empty: nothing did
		Value any    // of the panic
		Stack []byte
		Err   error
	}
	// FaultEnded says that the policy's Build works again.
	FaultEnded struct{}
)

// The proxy as a whole. Event.Service is empty.
type (
	// ConfigApplied says that a configuration is in force, from its generation on; the first one has
	// the generation 1.
	ConfigApplied struct {
		Generation       uint64
		Services, Routes int
	}
	// ConfigRefused says that a configuration has mistakes, and the last one stays in force.
	ConfigRefused struct{ Err error }
	// ConnectionsFull says that there are as many client connections as there may be, so idle ones
	// are closed. It is published every ten seconds at most.
	ConnectionsFull struct{ Open, Limit int64 }
	// ObserverFailed says that an observer panicked for the first time. It goes on.
	ObserverFailed struct {
		Observer string
		Value    any
		Stack    []byte
	}
	// Lost stands in the place of events that this observer was too slow for. Event.Seq is
	// that of the last of them.
	Lost struct{ Events uint64 }
)

func (EndpointChanged) detail()   {}
func (ProbeChanged) detail()      {}
func (EndpointDamped) detail()    {}
func (SetChanged) detail()        {}
func (OutChanged) detail()        {}
func (RemovalHeld) detail()       {}
func (RemovalTakenBack) detail()  {}
func (RemovalConfirmed) detail()  {}
func (RemovalExpired) detail()    {}
func (PanicChanged) detail()      {}
func (OverflowChanged) detail()   {}
func (LastResortChanged) detail() {}
func (OverrideSet) detail()       {}
func (OverrideEnded) detail()     {}
func (ServiceStarted) detail()    {}
func (ServiceStopped) detail()    {}
func (SourceFailed) detail()      {}
func (SourceRecovered) detail()   {}
func (EntriesRejected) detail()   {}
func (Fault) detail()             {}
func (FaultEnded) detail()        {}
func (ConfigApplied) detail()     {}
func (ConfigRefused) detail()     {}
func (ConnectionsFull) detail()   {}
func (ObserverFailed) detail()    {}
func (Lost) detail()              {}
