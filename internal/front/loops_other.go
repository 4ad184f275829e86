//go:build !linux

package front

import (
	"log/slog"
	"net"
	"time"

	"github.com/poise-lb/poise/internal/admission"
	"github.com/poise-lb/poise/internal/core"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/scrape"
)

const hasLoops = false

// loops exist on Linux only.
type loops struct{}

func newLoops(time.Time, int, *slog.Logger) *loops { return nil }

func (*loops) Most() int                            { return 0 }
func (*loops) Start(int, func(engine.Runtime)) bool { return false }
func (*loops) look() []scrape.Worker                { return nil }
func (*loops) close()                               {}

func (*Server) serveLoops(net.Listener, *core.Listener, *admission.Listener) (served bool, err error) {
	return false, nil
}
