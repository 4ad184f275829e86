package engine

import (
	"errors"
	"net"
	"syscall"
)

// A connection can fail because this machine lacks something: file descriptors, memory,
// ports. The peer has no part in that, so it must not be blamed, probed out or ejected for
// it. Drivers, and code that judges an error, distinguish such failures here.

// Exhausted reports whether err comes from a shortage of this machine or this process. That
// a local address cannot be assigned, EADDRNOTAVAIL, counts only where a driver's Dial has
// found that ports ran out and says so with ErrExhausted.
func Exhausted(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, ErrExhausted) {
		return true
	}
	var errno syscall.Errno
	return errors.As(err, &errno) && short(errno)
}

// DialExhausted is Exhausted for the error of connecting to an address.
func DialExhausted(network, address string, err error) bool {
	return Exhausted(err) || notAvailable(err) && network == "tcp" && outOfPorts(address)
}

// outOfPorts distinguishes the two causes of EADDRNOTAVAIL. Either every local port is in use
// for that address; or this machine has no local address from which it could be reached, as
// ::1 where IPv6 is switched off. Only the latter hinders UDP as well. Connecting a UDP
// socket sends nothing.
func outOfPorts(address string) bool {
	c, err := net.Dial("udp", address)
	if err != nil {
		return !notAvailable(err)
	}
	c.Close()
	return true
}

func notAvailable(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && noAddress(errno)
}
