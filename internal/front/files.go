package front

// Files that the configuration names are followed: when the authorities that endpoints are
// verified by change, or the certificate that they are shown, the Proxy reads them again by
// itself. Certificates of listeners are
// followed by TLSListener, files of sources by the sources.

import (
	"context"
	"errors"
	"sync"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/filewatch"
)

// followed is the task that follows the files.
type followed struct {
	watcher *filewatch.Watcher
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newFollowed(changed func()) *followed {
	return &followed{watcher: filewatch.New(true, changed), cancel: func() {}}
}

// start runs the task until stop.
func (f *followed) start() {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.running.Go(func() { f.watcher.Run(ctx) })
}

// stop waits for the task to end.
func (f *followed) stop() {
	f.cancel()
	f.running.Wait()
}

// reread takes the new content of files, or says why those in use stay.
func (srv *Server) reread() {
	switch err := srv.core.Reread(); {
	case err == nil:
		srv.log.Info("authorities and certificates towards endpoints read again")
	case !errors.Is(err, engine.ErrStopping):
		srv.log.Error("authorities or certificates towards endpoints changed and cannot be used, those in use stay", "error", err)
	}
}
