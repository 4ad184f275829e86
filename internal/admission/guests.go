package admission

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
)

// Client connections by address: they are counted only while a limit is set, so that one
// client cannot take all the places.

// A Guest is an address that has connections.
type Guest struct {
	address netip.Addr
	open    int // guarded by its shard's mu; 0: not in the map any more
}

// guests are all of them, in shards, so that those who accept and those who close seldom
// meet.
type guests struct {
	seed   maphash.Seed
	shards [64]shard
}

type shard struct {
	mu  sync.Mutex // held for a moment
	all map[netip.Addr]*Guest
	_   [40]byte
}

func (g *guests) init() { g.seed = maphash.MakeSeed() }

func (g *guests) shard(a netip.Addr) *shard {
	return &g.shards[maphash.Comparable(g.seed, a)%uint64(len(g.shards))]
}

// of6 is how many bits of an IPv6 address stand for one client: a home or a host has at
// least a /64.
const of6 = 64

// Welcome counts a connection of that client, and reports false if it has as many as it
// may have. A nil Guest is one that is not counted: there is no limit, the address is not
// known, as of a unix socket, or it is exempt.
func (c *Control) Welcome(remote netip.Addr) (*Guest, bool) {
	if c == nil {
		return nil, true
	}
	l := c.limits.Load()
	if l.PerClient == 0 || !remote.IsValid() {
		return nil, true
	}
	a := remote.Unmap().WithZone("")
	if slices.ContainsFunc(l.Exempt, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return nil, true
	}
	if a.Is6() {
		p, _ := a.Prefix(of6)
		a = p.Addr()
	}
	guest := c.guests.enter(a, l.PerClient)
	if guest == nil {
		c.refused.Add(1)
	}
	return guest, guest != nil
}

func (g *guests) enter(a netip.Addr, most int) *Guest {
	s := g.shard(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	guest := s.all[a]
	switch {
	case guest == nil:
		if s.all == nil {
			s.all = make(map[netip.Addr]*Guest)
		}
		guest = &Guest{address: a}
		s.all[a] = guest
	case guest.open >= most:
		return nil
	}
	guest.open++
	return guest
}

func (g *guests) leave(guest *Guest) {
	if guest == nil {
		return
	}
	s := g.shard(guest.address)
	s.mu.Lock()
	defer s.mu.Unlock()
	if guest.open--; guest.open == 0 {
		delete(s.all, guest.address)
	}
}
