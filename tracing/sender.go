package tracing

// The receiver as a client of HTTP sees it. The file of its authorities is followed: it is replaced
// before the certificate of the receiver is one that the old authorities have not signed. For example:
//
//	ca.pem has A          connections are verified by A
//	ca.pem has A and B    a new client; the next batch connects anew and is verified by both
//	ca.pem is empty       the log says so, and the client of before is used
//
// The proxy's own certificate is read for every connection: see certs.SourceTLS.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/certs"
	"github.com/poise-lb/poise/internal/filewatch"
)

const idleFor = 90 * time.Second

// A sender has the client in use.
type sender struct {
	otlp   *config.OTLP
	log    *slog.Logger
	client atomic.Pointer[http.Client]

	stop     context.CancelFunc
	watching sync.WaitGroup
}

// newSender returns the sender of o, whose close must follow. An error names the file that cannot
// be used.
func newSender(o *config.OTLP, log *slog.Logger) (*sender, error) {
	s := &sender{otlp: o, log: log, stop: func() {}}
	var known map[string]filewatch.Sum
	if o.TLS != nil && o.TLS.CA != "" {
		known = filewatch.Sums(o.TLS.CA) // first: what changes later is seen
	}
	if err := s.connect(); err != nil || known == nil {
		return s, err
	}
	w := filewatch.New(true, s.renew)
	w.Follow(known)
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.watching.Go(func() { w.Run(ctx) })
	return s, nil
}

// connect makes a client by the files as they are now.
func (s *sender) connect() error {
	transport := http.DefaultTransport.(*http.Transport).Clone() // with the proxies of the environment
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost, transport.IdleConnTimeout = 1, 1, idleFor
	if s.otlp.TLS != nil {
		secure, err := certs.SourceTLS(s.otlp.TLS)
		var file *certs.FileError
		if errors.As(err, &file) {
			return fmt.Errorf("otlp.tls.%s: %w", file.Key, err)
		}
		transport.TLSClientConfig = secure
	}
	old := s.client.Swap(&http.Client{
		Transport: transport, Timeout: s.otlp.Timeout,
		// A receiver that moved is a mistake of the configuration, and headers are for it alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	if old != nil {
		old.CloseIdleConnections() // the one that sends a batch meanwhile is closed when it is idle for long
	}
	return nil
}

// renew is called when the file of the authorities has changed.
func (s *sender) renew() {
	if err := s.connect(); err != nil {
		s.log.Error("authorities of the receiver of spans changed and cannot be used, those in use stay", "error", err)
		return
	}
	s.log.Info("authorities of the receiver of spans read again", "file", s.otlp.TLS.CA)
}

// close ends the watching, and connections that are idle.
func (s *sender) close() {
	s.stop()
	s.watching.Wait()
	s.client.Load().CloseIdleConnections()
}
