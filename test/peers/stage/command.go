//go:build linux

package stage

import "time"

// Kinds of commands.
const (
	// Closed: every connection sends its next request when it has the answer.
	Closed = "closed"
	// Open: requests are due at random instants, Rate of them a second, whatever the proxy does.
	Open = "open"
	// Fresh: as Closed, with a connection for each request, and a handshake with TLS.
	Fresh = "fresh"
	// Hold: Connections are opened and stay open, up to the next Release.
	Hold = "hold"
	// Release closes what was held.
	Release = "release"
	// Child: a program is the client, and the endpoints serve until it ends. It runs on the
	// processor of the stage.
	Child = "child"
)

// What is held.
const (
	HoldIdle = "idle" // has had one answer
	HoldTalk = "talk" // upgraded, and one message went round
	HoldWait = "wait" // has sent a request that is not answered
)

// A Command is one turn.
type Command struct {
	Kind        string
	Address     string // of the proxy
	TLS         bool   // 1.3 only, X25519, and answers by another cipher than Cipher are errors
	Resume      bool   // with a ticket of an earlier connection
	Connections int    // at once
	Paths       []string
	Upload      int     // bytes of content of each request; 0: GET
	Rate        float64 // requests per second, Open only
	Hold        string
	Warm        time.Duration // goes ahead of what counts
	WarmAnswers int           // and so do these, for at most warmMax
	Time        time.Duration // that counts
	Process     int           // the proxy's, whose processor time is read; 0: none

	Multi bool     // HTTP/2, Hold only
	Args  []string // of Child: the program, and what it is started with
	Env   []string // of Child: besides the stage's own
}

// Cipher is the one cipher suite of all turns with TLS.
const Cipher = "TLS_AES_128_GCM_SHA256"

// A Result is what came of a Command.
type Result struct {
	Requests int           `json:",omitempty"` // answered in the time that counts
	Before   int           `json:",omitempty"` // answered before it
	Elapsed  time.Duration `json:",omitempty"` // that time
	CPU      time.Duration `json:",omitempty"` // of the proxy in it
	Own      time.Duration `json:",omitempty"` // processor time of the stage in it
	P50      time.Duration `json:",omitempty"`
	P90      time.Duration `json:",omitempty"`
	P99      time.Duration `json:",omitempty"`
	P999     time.Duration `json:",omitempty"`
	Max      time.Duration `json:",omitempty"`
	Late     time.Duration `json:",omitempty"` // Open: p99 of what the stage itself was late by, with a connection free
	Resumed  int           `json:",omitempty"` // of the requests, with TLS
	Held     int           `json:",omitempty"`
	Content  int64         `json:",omitempty"` // bytes, where it is what counts
	Text     string        `json:",omitempty"` // what a Child has printed
	Errors   int           `json:",omitempty"` // in all of it
	Error    string        `json:",omitempty"` // the first of them; or why there is no result
}
