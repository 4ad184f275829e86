package kubernetes

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A vault gives what a test says.
type vault struct {
	mu      sync.Mutex
	now     *Credential
	next    *Credential // after a refusal; nil: there is no other
	refused int
	err     error
}

func (v *vault) Get(context.Context) (*Credential, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now, v.err
}

func (v *vault) set(c *Credential, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now, v.err = c, err
}

func (v *vault) Refused(_ context.Context, c *Credential) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.refused++
	if c == v.now && v.next == nil {
		return false
	}
	v.now, v.next = v.next, nil
	return true
}

// TestCredentials: a token that is refused is replaced at once; another certificate has a
// connection of its own; and a failure to get one is an outage like any other.
func TestCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		defer s.stop()
		s.set("web-1", sliceOf(80, "10.0.0.1"))
		s.token = "new"
		v := &vault{now: &Credential{Token: "old"}, next: &Credential{Token: "new"}}
		registry := s.registry()
		registry.config.Credentials = v
		r := start(t, registry.Source(ServiceConfig{Service: "web"}))
		defer r.stop()
		r.want("10.0.0.1:80", soon)
		if v.refused != 1 || s.dials != 1 {
			t.Errorf("%d refusals, %d connections", v.refused, s.dials)
		}
		synctest.Wait()
		c := &Credential{Token: "new", Certificate: new(tls.Certificate)}
		v.set(c, nil)
		time.Sleep(time.Minute)
		s.cut()
		r.quiet(time.Second)
		if s.dials < 2 {
			t.Errorf("another certificate uses the connection of the first")
		}
		v.set(c, errors.New("the vault is closed"))
		s.cut()
		r.want("error: kubernetes: the credentials: the vault is closed", 2*time.Second)
		v.set(c, nil)
		r.want("10.0.0.1:80", 6*time.Second)
		s.mu.Lock()
		s.token = "another"
		s.mu.Unlock()
		s.cut()
		r.want("error: kubernetes: status 401: Unauthorized", 2*time.Second)
	})
}
