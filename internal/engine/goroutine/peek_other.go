//go:build unix && !linux

package goroutine

import "golang.org/x/sys/unix"

// peerGone sees a FIN only when nothing unread lies before it, and not at all with reset.
func peerGone(fd uintptr, reset bool) bool {
	var b [1]byte
	n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err == nil && n == 0 && !reset || err != nil && err != unix.EAGAIN && err != unix.EINTR
}
