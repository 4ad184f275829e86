package front

// What a process hands to the one that takes its place: what is known of endpoints, and the keys
// of session tickets. The form is JSON. A version that is not known is ignored, as the new
// process can work without, and an old binary may follow a new one when an upgrade is undone.

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"time"

	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/tickets"
)

// handoverVersion changes when a field changes its meaning. Fields that are new do not change it.
const handoverVersion = 1

// A handover is what Handover returns. Wall clocks of one machine agree, so At gives the
// receiver how much time has passed.
type handover struct {
	Version int           `json:"version"`
	At      time.Time     `json:"at"`
	Known   core.Saved    `json:"known"`
	Tickets []tickets.Key `json:"tickets,omitempty"` // secret
}

// Handover is what the process that takes this one's place should know.
func (srv *Server) Handover() []byte {
	text, err := json.Marshal(handover{
		Version: handoverVersion, At: time.Now(), Known: srv.core.Save(), Tickets: srv.tickets.Keys(),
	})
	if err != nil { // a number that is none: nothing of it can be written
		srv.log.Error("what is known of endpoints cannot be handed over", "error", err)
		return nil
	}
	return text
}

// takeOverFrom reads what another process has handed over and makes the ring of ticket keys.
func (srv *Server) takeOverFrom(text []byte) *core.Saved {
	var h handover
	var err error
	if text != nil {
		if err = json.Unmarshal(text, &h); err == nil && h.Version != handoverVersion {
			err = errors.New("its version is not known")
		}
	}
	if err != nil {
		srv.log.Warn("what the other process knows of endpoints is not used: endpoints begin anew", "error", err)
		h = handover{}
	}
	srv.tickets = tickets.New(h.Tickets)
	if h.Version == 0 {
		return nil
	}
	h.Known.Passed = time.Since(h.At)
	return &h.Known
}

// Tickets has c use the keys of session tickets.
func (srv *Server) Tickets(c *tls.Config) { srv.tickets.Use(c) }
