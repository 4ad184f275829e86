package goroutine

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// peerGone asks for the FIN itself (POLLRDHUP), which lies behind unread bytes too; with
// reset, only for what breaks both ways.
func peerGone(fd uintptr, reset bool) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	if !reset {
		p[0].Events = unix.POLLRDHUP
	}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}

// pending reports whether a read would return at once: with bytes, FIN or an error. It is
// asked for every exchange, and unix.Recvfrom makes room for a sender's address on the
// heap. A call that cannot wait has no need of the scheduler.
func pending(fd uintptr) bool {
	var b byte
	_, _, err := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	return err != unix.EAGAIN && err != unix.EINTR
}
