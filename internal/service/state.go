package service

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/health"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/event"
)

// The state of a service, one struct for each concern. Functions say in their comments which
// of the two locks their caller holds: work, mu, or both.

// load are two numbers that every worker writes for every attempt, so they have a cache
// line to themselves. They are not kept for each worker: Pick would have to read them all,
// and turns that every worker takes by itself are not even.
type load struct {
	_   [64]byte
	n   atomic.Int64  // attempts in flight
	seq atomic.Uint64 // picks
	_   [48]byte
}

// A Service is a named set of endpoints with one policy. Make one with New.
//
// What no lock guards is atomic or never changes. work guards builds, and only the task that
// holds it changes the set of members; mu guards everything below it.
type Service struct {
	name   string
	rt     engine.Runtime
	events *event.Bus    // takes what happens to observers; nil: nothing
	wake   engine.Signal // the keeper's

	view    atomic.Pointer[view]
	rated   atomic.Bool  // the breaker looks at the failure rate: successes are counted
	retryAt atomic.Int64 // earliest instant at which an endpoint may become usable
	settled atomic.Bool
	known   atomic.Bool // there was a member
	stopped atomic.Bool
	load    load // attempts in flight, for Attempt.Load

	work   sync.Mutex // one change of members or view at a time; taken before mu
	builds builds     // guarded by work

	mu       sync.Mutex // held for some instructions; never where a task may wait
	conf     conf
	named    named
	source   source
	flaps    flaps
	former   formerCells
	members  []*Member               // in the order of their IDs; replaced, never modified
	byID     map[endpoint.ID]*Member // members and draining; changed with work held, too
	draining []*Member
	tally    tally
	todo     todo
	probers  probers
	faults   faults
	waiters  []engine.Signal // tasks in AwaitReady
}

// builds is when views are built. It is guarded by Service.work.
type builds struct {
	begun    bool          // there was a first set
	next     time.Duration // when the next view may be built
	again    time.Duration // when a Build that failed is repeated; 0: none did
	pickerOf uint64        // version of the settings whose policy built the picker
}

// conf is what the settings say, with defaults. It is guarded by Service.mu.
type conf struct {
	set      Settings
	check    Check // *set.Check
	health   health.Config
	version  uint64 // counts Configure
	checkGen uint64 // counts identities of the check
}

// named is the set that was named last. It is guarded by Service.mu.
type named struct {
	specs   []endpoint.Spec
	unread  bool // it was not looked at
	guarded bool // it comes from a source that named a set before
}

// A tally counts members by what is known of them. It is guarded by Service.mu.
type tally struct {
	healthy  int // members that are
	sound    int // those of them that are not only kept for want of another
	awaiting int // members of the first set without a verdict; -1 before the first set
}

// todo is what the keeper, or a build, has to do. It is guarded by Service.mu.
type todo struct {
	dirty  bool          // the usable set may have changed since the last build
	shaped bool          // members, weights or policy did: the picker must be rebuilt
	urgent bool          // the next build must not wait
	stray  bool          // there are members that were removed since the last reconcile
	due    time.Duration // the earliest Deadline of a member; 0: none
	trying []*Member     // half-open, perhaps
}

// probers are the members whose probers begin or have ended. It is guarded by Service.mu.
type probers struct {
	starting []*Member // need a prober
	ended    []*Member // their prober returned
	home     uint64    // counts Rehome
}

// faults is what went wrong in code that the service was given. It is guarded by Service.mu.
type faults struct {
	build  error         // of the last Build; nil: it went well
	pick   error         // the last panic in Pick that was published
	pickAt time.Duration // when that was
}
