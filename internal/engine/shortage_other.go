//go:build !windows

package engine

import "syscall"

// short reports whether errno says that descriptors, buffers or memory ran out.
func short(errno syscall.Errno) bool {
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ENOSPC:
		return true // ENOSPC: of epoll_ctl, fs.epoll.max_user_watches
	}
	return false
}

func noAddress(errno syscall.Errno) bool { return errno == syscall.EADDRNOTAVAIL }
