package register

// An instance is announced while its own check passes, and withdrawn while it fails.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
)

// A probe asks an instance whether it is well.
type probe struct {
	health config.Health // with defaults
	method string
	url    string
	expect []config.StatusRange
	client http.Client
}

// newProbe returns one that asks at base, which is scheme://host:port.
func newProbe(h config.Health, base string) (*probe, error) {
	h = h.WithDefaults()
	if err := h.Validate(); err != nil {
		return nil, err
	}
	method, target, err := h.Request()
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(base); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("it cannot ask at %q: that is http://host:port or https://host:port", base)
	}
	p := &probe{health: h, method: method, url: strings.TrimRight(base, "/") + target}
	if p.expect, err = h.Statuses(); err != nil {
		return nil, err
	}
	p.client.Transport = &http.Transport{
		// No proxy of the environment: it is this instance that is asked.
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true, // whether it still accepts connections is part of the question
	}
	p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return p, nil
}

func (p *probe) close() { p.client.CloseIdleConnections() }

// ask returns nil if the instance is well.
func (p *probe) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.health.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, p.method, p.url, nil)
	if err != nil {
		return err
	}
	if p.health.Host != "" {
		req.Host = p.health.Host
	}
	req.Header.Set("User-Agent", "poise-register")
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 64<<10) // so that the instance can finish it
	for _, r := range p.expect {
		if r.Has(resp.StatusCode) {
			return nil
		}
	}
	return fmt.Errorf("%s %s: status %d", p.method, p.url, resp.StatusCode)
}

// run has the instance announced while it is well, until ctx is done.
func (p *probe) run(ctx context.Context, r registrar, in discovery.Instance, report func(error)) error {
	var a announcement
	passed, failed, told := 0, 0, false
	for {
		err := p.ask(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			passed, failed = passed+1, 0
			if !a.running() && (passed >= p.health.HealthyAfter || !told) {
				told = true
				a.start(ctx, r, in, report)
			}
		default:
			passed, failed = 0, failed+1
			if a.running() && failed >= p.health.UnhealthyAfter || !told {
				told = true
				report(fmt.Errorf("the instance is not well: %w", errors.Join(err, a.stop())))
			}
		}
		every := p.health.Interval
		select {
		case <-time.After(every - every/10 + rand.N(every/5+1)):
		case <-a.done(): // it can never be announced, or ctx is done
			return a.stop()
		case <-ctx.Done():
			return a.stop()
		}
	}
}

// An announcement is a registrar at work, or none. It belongs to one goroutine.
type announcement struct {
	cancel  context.CancelFunc // nil: none
	ended   chan struct{}
	working sync.WaitGroup
	err     error // of the registrar, once it has ended
}

func (a *announcement) running() bool { return a.cancel != nil }

// done is closed when the registrar has ended by itself; nil if there is none.
func (a *announcement) done() <-chan struct{} { return a.ended }

func (a *announcement) start(ctx context.Context, r registrar, in discovery.Instance, report func(error)) {
	ctx, a.cancel = context.WithCancel(ctx)
	ended := make(chan struct{})
	a.ended = ended
	a.working.Go(func() {
		defer close(ended)
		a.err = r.Run(ctx, in, report)
	})
}

// stop has the instance removed, and returns what the registrar has returned.
func (a *announcement) stop() error {
	if a.cancel == nil {
		return nil
	}
	a.cancel()
	a.working.Wait()
	a.cancel, a.ended = nil, nil
	return a.err
}
