package loop

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Addresses as the kernel writes them, read without allocating.

// ownAddr is the address of the socket itself; the zero value if it has none.
func (l *loop) ownAddr(fd int) netip.AddrPort {
	l.nameSize = unix.SizeofSockaddrAny
	// The kernel writes to fields of l, which is on the heap.
	_, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&l.name)), uintptr(unsafe.Pointer(&l.nameSize)))
	if errno != 0 {
		return netip.AddrPort{}
	}
	return addrPort(&l.name)
}

// addrPort reads an address as the kernel wrote it.
func addrPort(a *unix.RawSockaddrAny) netip.AddrPort {
	// The family says which of the kernel's structures it is; both fit into the largest.
	switch a.Addr.Family {
	case unix.AF_INET:
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		return netip.AddrPortFrom(netip.AddrFrom4(p.Addr), hostOrder(&p.Port))
	case unix.AF_INET6:
		p := (*unix.RawSockaddrInet6)(unsafe.Pointer(a))
		ip := netip.AddrFrom16(p.Addr).Unmap()
		if p.Scope_id != 0 && ip.Is6() {
			ip = ip.WithZone(fmt.Sprint(p.Scope_id))
		}
		return netip.AddrPortFrom(ip, hostOrder(&p.Port))
	}
	return netip.AddrPort{}
}

// hostOrder reads a port, which is in the order of the network.
func hostOrder(port *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(port))
	return uint16(b[0])<<8 | uint16(b[1])
}
