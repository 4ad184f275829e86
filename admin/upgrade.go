package admin

// An upgrade over the API: another process takes the place of this one, as by SIGUSR2. The answer
// is the outcome, so that a client need not look for it in the log.

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// ErrRefused is what an error of Options.Upgrade wraps if nothing was begun: one is under way, or
// this process cannot be replaced.
var ErrRefused = errors.New("no upgrade")

// An Upgraded is the answer of /api/v1/upgrade: another process serves, and this one drains.
type Upgraded struct {
	PID int `json:"pid"` // of the process that serves
}

func (a *api) upgrade(w http.ResponseWriter, r *http.Request) {
	if !a.current(w, r) {
		return
	}
	if a.options.Upgrade == nil {
		refuse(w, http.StatusNotImplemented, "this program has no upgrade over its API: replace it the way it was started")
		return
	}
	http.NewResponseController(w).SetReadDeadline(time.Time{}) // it may take longer than a request may
	pid, err := a.options.Upgrade(r.Context(), who(r))
	switch {
	case errors.Is(err, ErrRefused):
		refuse(w, http.StatusConflict, err.Error())
	case err != nil:
		refuse(w, http.StatusInternalServerError, "the upgrade failed, the process goes on as before: "+err.Error())
	default:
		answer(w, http.StatusOK, Upgraded{pid})
	}
}

// An Upgrader puts another process in the place of this one: see Options.Upgrade.
type Upgrader func(ctx context.Context, who string) (pid int, err error)
