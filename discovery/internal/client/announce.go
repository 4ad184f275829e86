package client

// What registrars have in common: the instance that they announce, and what they report of it.

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// Announced returns the address of an instance that can be announced: a literal IP address, by
// which others reach it, and a port.
func Announced(in discovery.Instance) (netip.AddrPort, error) {
	address, name, err := discovery.ParseAddress(in.Address)
	switch {
	case in.Scheme != "" && in.Scheme != "http" && in.Scheme != "https":
		err = errors.New("its scheme is neither http nor https")
	case name != "":
		err = errors.New("its address is a name: it must be an IP address and a port")
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("the instance cannot be announced: %w", err)
	}
	return netip.ParseAddrPort(address)
}

// Metadata is that of the instance, and what its registry has no other place for: members of
// more that are not "".
func Metadata(in discovery.Instance, more map[string]string) map[string]string {
	out := maps.Clone(in.Metadata)
	if out == nil {
		out = make(map[string]string)
	}
	for key, text := range more {
		if text != "" {
			out[key] = text
		}
	}
	return out
}

// An Announcement is what a registrar reports about its instance. It belongs to one
// goroutine.
type Announcement struct {
	Report func(error) // as in the registrar's Run
	// Until is when the registry forgets the instance unless it hears of it: failures
	// before it are not reported. Zero: at once.
	Until  time.Time
	well   bool // success was reported last
	outage outage
}

// Succeed reports that the instance is announced, if it is anew or if that is not what was
// reported last.
func (a *Announcement) Succeed(anew bool) {
	if anew || !a.well {
		a.well, a.outage = true, outage{}
		a.Report(nil)
	}
}

// Fail reports a reason, unless this outage's reason is known.
func (a *Announcement) Fail(err error) {
	if !time.Now().Before(a.Until) && a.outage.note(err) {
		a.well = false
		a.Report(err)
	}
}
