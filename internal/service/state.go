package service

// The state of a service, one struct for each concern. What no lock guards is atomic or never
// changes. What writes and reads it:
//
//	view, rated, settled   written by builds, read by every exchange without a lock
//	load                   written by every attempt
//	queue                  has a lock of its own: queue.go
//	builds                 guarded by work: used by builds only
//	all else               guarded by mu
//
// The set of members (byID, members) changes only with both locks held, so a task that holds either
// of them may read it.

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/event"
)

// load has two numbers that all workers write for every attempt, so they have a cache line to
// themselves, with one that is read beside them. They are not kept per worker: Pick would have to read all of them, and round robin
// by a number of each worker is not even.
type load struct {
	_   [64]byte
	n   atomic.Int64  // attempts in flight, for policy.Attempt.Load
	seq atomic.Uint64 // number of picks: see Seq
	// turn is the instant of the next turn; written once a second.
	turn atomic.Int64
	// What bounds there are: see overload.go. All three are written when that changes, waiting and
	// open also by each request that waits.
	open    atomic.Int64 // Pick has newcomers wait from this number of attempts on
	waiting atomic.Int64 // requests in the queue
	bounded atomic.Bool  // Begin has a bound to keep
	_       [16]byte
}

// A Service is a named set of endpoints with one policy. Make one with New.
type Service struct {
	name   string
	rt     engine.Runtime
	events *event.Bus    // nil: no events are published
	wake   engine.Signal // wakes the keeper

	view    atomic.Pointer[view] // never nil
	rated   atomic.Bool          // the breaker has a failure rate: successes are counted
	retryAt atomic.Int64         // earliest instant at which an endpoint may become usable
	settled atomic.Bool          // see Settled
	known   atomic.Bool          // there was a member
	stopped atomic.Bool          // Stop was called
	load    load
	extras  extras
	reports reports
	shadow  shadow

	comparing comparing
	// laneMissed counts attempts whose lane had no usable endpoint.
	laneMissed atomic.Uint64
	sticky     sticky
	queue      queue

	work   sync.Mutex // held while members or view change; taken before mu
	builds builds     // guarded by work

	mu        sync.Mutex // held for some instructions; never where a task may wait
	conf      conf
	named     named
	source    source
	heard     SourceCounts
	parts     parts
	flaps     flaps
	former    formerCells
	handed    handed
	overrides overrides
	members   []*Member               // in the order of their IDs; replaced, never modified
	byID      map[endpoint.ID]*Member // members and draining
	draining  []*Member               // removed, but not gone yet
	tally     tally
	todo      todo
	probers   probers
	faults    faults
	waiters   []engine.Signal // tasks in AwaitReady
	changes   uint64          // of byID, counted

	readings atomic.Pointer[readings] // see Readings; nil: to be made
}

// builds is when views are built. It is guarded by Service.work.
type builds struct {
	begun    bool          // a view was built
	next     time.Duration // instant from which the next view may be built
	again    time.Duration // instant at which a failed Build is repeated; 0: none failed
	pickerOf uint64        // conf.version whose policy built the picker
	shadowOf uint64        // likewise, the picker of the shadow
	lanesOf  uint64        // conf.version whose policy built those of lanes
}

// conf is what the settings say, with defaults. It is guarded by Service.mu.
type conf struct {
	set      Settings
	check    Check // *set.Check
	health   health.Config
	version  uint64 // counts Configure
	checkGen uint64 // counts changes of the check's identity
}

// named is the set that was named last. It is guarded by Service.mu.
type named struct {
	specs   []endpoint.Spec
	unread  bool // reconcile has not seen it yet
	guarded bool // Guard applies: it comes from a source that has named a set before
}

// A tally counts members by what is known of them. It is guarded by Service.mu.
type tally struct {
	healthy  int  // healthy members that are not out
	sound    int  // those of them that are not Kept by the machine
	awaiting int  // members of the first set without a verdict; -1 before the first set
	overflow bool // event.OverflowChanged has said On last
}

// todo is what the keeper, or a build, has to do. It is guarded by Service.mu.
type todo struct {
	dirty  bool          // the usable set may have changed since the last build
	shaped bool          // members, weights or policy did: the picker must be rebuilt
	urgent bool          // the next build must not wait
	stray  bool          // members has some that were removed: see prune
	due    time.Duration // earliest instant at which expire has work for a member; 0: none
	trying []*Member     // members that are half-open, or were
}

// probers is the keeper's work on probers. It is guarded by Service.mu.
type probers struct {
	starting []*Member // members that need a prober
	ended    []*Member // members whose prober has returned, and must be joined
	home     uint64    // number of calls of Rehome: a prober of an older one gives way
}

// faults has the failures of the embedder's policy: see fault.go. It is guarded by Service.mu.
type faults struct {
	build  error         // of the last Build; nil: it went well
	pick   error         // the last panic in Pick that was published
	pickAt time.Duration // instant of that
}
