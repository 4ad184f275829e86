package fakes

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// A Heard is what a source has published so far. The zero value has nothing. It is safe for
// concurrent use.
type Heard struct {
	mu      sync.Mutex
	updates []discovery.Update
	at      []time.Time
}

// Publish is for the source's Run.
func (h *Heard) Publish(u discovery.Update) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.updates, h.at = append(h.updates, u), append(h.at, time.Now())
}

// All returns what was published since the last Take, and when.
func (h *Heard) All() ([]discovery.Update, []time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.updates), slices.Clone(h.at)
}

// Take returns what was published since the last Take, each as Describe has it.
func (h *Heard) Take() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, u := range h.updates {
		out = append(out, Describe(u))
	}
	h.updates, h.at = nil, nil
	return strings.Join(out, "; ")
}

// Expect takes what was published once the bubble has come to rest, and compares it.
func (h *Heard) Expect(t *testing.T, when, want string) {
	t.Helper()
	synctest.Wait()
	if got := h.Take(); got != want {
		t.Errorf("%s: published %q, want %q", when, got, want)
	}
}

// Describe is an update in short:
//
//	error
//	set 10.0.0.1:80 https://10.0.0.2:80*3@zone! -rejected    (* weight, ! out)
func Describe(u discovery.Update) string {
	if u.Err != nil {
		return "error"
	}
	out := []string{"set"}
	for _, s := range u.Endpoints {
		one := strings.TrimPrefix(s.URL(), "http://")
		if s.Weight != 0 {
			one += fmt.Sprint("*", s.Weight)
		}
		if s.Zone != "" {
			one += "@" + s.Zone
		}
		if s.Out {
			one += "!"
		}
		out = append(out, one)
	}
	for _, r := range u.Rejected {
		if strings.HasPrefix(r.ID, "/") {
			r.ID = path.Base(r.ID)
		}
		out = append(out, "-"+r.ID)
	}
	return strings.Join(out, " ")
}
