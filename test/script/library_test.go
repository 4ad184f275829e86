package script

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/config"
)

// socketProxy is the library behind a listener of its own, or mounted in a server of
// net/http.
type socketProxy struct {
	*poise.Proxy
	stage  *socketStage
	served chan error
	server *http.Server // nil: Serve has the listener
	delay  time.Duration
}

func openServe(s *socketStage, cfg config.Config) (proxy, string, error) {
	return openSocket(s, cfg, func(p *socketProxy, ln net.Listener) error { return p.Serve(ln) }, nil)
}

func openStd(s *socketStage, cfg config.Config) (proxy, string, error) {
	server := &http.Server{ErrorLog: slog.NewLogLogger(quiet.Handler(), slog.LevelError), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	return openSocket(s, cfg, func(p *socketProxy, ln net.Listener) error {
		p.server.Handler = p.Proxy
		return p.server.Serve(ln)
	}, server)
}

func openSocket(s *socketStage, cfg config.Config, serve func(*socketProxy, net.Listener) error, server *http.Server) (proxy, string, error) {
	inner, err := poise.New(cfg)
	if err != nil {
		return nil, "", err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	p := &socketProxy{Proxy: inner, stage: s, served: make(chan error, 1), server: server, delay: cfg.Timeouts.DrainDelay}
	s.Go("proxy", func() { p.served <- serve(p, ln) })
	return p, ln.Addr().String(), nil
}

// Close drains as a program that embeds the library would: first it says so, for the time
// of the delay, then it shuts the server and closes the proxy.
func (p *socketProxy) Close(by time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), by-p.stage.Now())
	defer cancel()
	if p.server != nil {
		p.Drain()
		select {
		case <-time.After(p.delay):
		case <-ctx.Done():
		}
		if p.server.Shutdown(ctx) != nil {
			p.server.Close()
		}
	}
	p.Proxy.Close(ctx)
	select {
	case <-p.served:
		return nil
	case <-time.After(30 * time.Second):
		return errors.New("Serve does not return after Close")
	}
}

func (p *socketProxy) Status() (lines []string) {
	for _, s := range p.Proxy.Status().Services {
		var shadow poise.ShadowStatus
		var reports poise.LoadReportsStatus
		if s.Shadow != nil {
			shadow = *s.Shadow
		}
		if s.LoadReports != nil {
			reports = *s.LoadReports
		}
		lines = append(lines, statusLine(s.Name, shadow.Policy, shadow.Picks, shadow.Agreed, reports.Taken, reports.Refused))
	}
	return lines
}

func (p *socketProxy) Operate(kind, address string, weight float64) error {
	var last error
	heard := false
	for _, s := range p.Proxy.Status().Services {
		r := poise.OverrideRequest{Service: s.Name, Endpoint: address, Kind: kind, Weight: weight}
		if _, err := p.Override(r); err != nil {
			last = err
			continue
		}
		heard = true
	}
	if heard {
		return nil // the other services do not have the endpoint
	}
	return last
}
