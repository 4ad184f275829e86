package goroutine

import "golang.org/x/sys/unix"

// peerGone asks for the FIN itself (POLLRDHUP), which lies behind unread bytes too.
func peerGone(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}
