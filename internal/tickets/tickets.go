// Package tickets has the keys of TLS session tickets: one Ring for all listeners of a proxy,
// which a process hands to the one that takes its place, so that clients resume their sessions
// there. A new key comes once a day, and a ticket is good for a week, as in crypto/tls itself:
//
//	day 0      key A seals and opens tickets
//	day 1      B seals; A and B open
//	...
//	day 7      A is dropped: tickets that it sealed are not resumed any more
package tickets

import (
	"crypto/rand"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"
)

const (
	sealFor = 24 * time.Hour
	openFor = 7 * 24 * time.Hour
	keysMax = 16
)

// A Key is secret: it opens the sessions of all tickets that it has sealed, where TLS 1.2 is
// spoken and no key exchange took place.
type Key struct {
	Key  []byte    `json:"key"` // 32 bytes
	Made time.Time `json:"made"`
}

// A Ring has the keys in use, the newest first. Any goroutine may call its methods.
type Ring struct {
	now func() time.Time

	config tls.Config   // its session ticket keys are those of the ring
	next   atomic.Int64 // Unix time from which another key is due

	mu   sync.Mutex // held for some instructions
	keys []Key
}

// New returns a Ring with the keys of another one. What is too old, or is no key, is left out.
func New(keys []Key) *Ring { return newRing(keys, time.Now) }

func newRing(keys []Key, now func() time.Time) *Ring {
	r := &Ring{now: now}
	for _, k := range keys {
		if len(k.Key) == 32 && len(r.keys) < keysMax {
			r.keys = append(r.keys, k)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn()
	return r
}

// Keys are the keys in use. They are secret.
func (r *Ring) Keys() []Key {
	r.refresh()
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Key(nil), r.keys...)
}

// Use has c, the configuration of a TLS server that does not run yet, seal and open tickets by
// the ring. Clones of c do the same.
func (r *Ring) Use(c *tls.Config) {
	c.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		r.refresh()
		return r.config.EncryptTicket(state, session)
	}
	c.UnwrapSession = func(identity []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		r.refresh()
		return r.config.DecryptTicket(identity, state)
	}
}

// refresh makes the next key if it is due. It takes no lock otherwise.
func (r *Ring) refresh() {
	if r.now().Unix() < r.next.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn()
}

// turn drops old keys and makes a new one, if the newest has sealed for long enough. Called with
// mu held.
func (r *Ring) turn() {
	now := r.now()
	var keep []Key
	for _, k := range r.keys {
		if age := now.Sub(k.Made); age < openFor && age > -sealFor { // a clock may have been set back
			keep = append(keep, k)
		}
	}
	if len(keep) == 0 || now.Sub(keep[0].Made) >= sealFor {
		k := Key{Key: make([]byte, 32), Made: now}
		rand.Read(k.Key) // never fails
		keep = append([]Key{k}, keep...)
	}
	r.keys = keep[:min(len(keep), keysMax)]
	all := make([][32]byte, len(r.keys))
	for i, k := range r.keys {
		copy(all[i][:], k.Key)
	}
	r.config.SetSessionTicketKeys(all)
	r.next.Store(r.keys[0].Made.Add(sealFor).Unix() + 1)
}
