package admission

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
)

// Client connections by address: they are counted only while a limit is set, so that one
// client cannot take all the places.

// An address is that of a client with connections.
type address struct {
	addr netip.Addr
	open int // guarded by its shard's mu; 0: not in the map any more
}

// addresses are all of them, in shards, so that those who accept and those who close seldom
// meet.
type addresses struct {
	seed   maphash.Seed
	shards [64]shard
}

type shard struct {
	mu  sync.Mutex // held for a moment
	all map[netip.Addr]*address
	_   [40]byte
}

func (s *addresses) init() { s.seed = maphash.MakeSeed() }

func (s *addresses) shard(a netip.Addr) *shard {
	return &s.shards[maphash.Comparable(s.seed, a)%uint64(len(s.shards))]
}

// of6 is how many bits of an IPv6 address stand for one client: a home or a host has at
// least a /64.
const of6 = 64

// arrive counts a connection of that client, and reports false if it has as many as it may
// have. A nil address is one that is not counted: there is no limit, the address is not
// known, as of a unix socket, or it is exempt.
func (c *Control) arrive(remote netip.Addr) (*address, bool) {
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
	one := c.addresses.enter(a, l.PerClient)
	return one, one != nil
}

func (s *addresses) enter(a netip.Addr, most int) *address {
	of := s.shard(a)
	of.mu.Lock()
	defer of.mu.Unlock()
	one := of.all[a]
	switch {
	case one == nil:
		if of.all == nil {
			of.all = make(map[netip.Addr]*address)
		}
		one = &address{addr: a}
		of.all[a] = one
	case one.open >= most:
		return nil
	}
	one.open++
	return one
}

func (s *addresses) leave(one *address) {
	if one == nil {
		return
	}
	of := s.shard(one.addr)
	of.mu.Lock()
	defer of.mu.Unlock()
	if one.open--; one.open == 0 {
		delete(of.all, one.addr)
	}
}
