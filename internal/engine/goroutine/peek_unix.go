//go:build unix && !linux

package goroutine

import "golang.org/x/sys/unix"

// pending reports whether a read would return at once: with bytes, FIN or an error.
func pending(fd uintptr) bool {
	var b [1]byte
	_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err != unix.EAGAIN && err != unix.EINTR
}
