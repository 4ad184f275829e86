package loop

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls that move bytes. They never wait, whatever the flags of the descriptor
// say, and so go past Go's scheduler (RawSyscall): to announce a call that may block costs as
// much as a small one takes. They use the pointers they are given during the call only.

// receive reads into p, which is not empty; 0 without an error is the peer's end. flags are
// those of recv(2), as MSG_PEEK.
func receive(fd int32, p []byte, flags uintptr) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags|unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// send writes from p, which is not empty. A peer that is gone makes it fail (EPIPE), and
// raises no signal.
func send(fd int32, p []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// splice moves up to n bytes between a socket and a pipe. A pipe that is the source must
// hold n bytes at least: of fewer the kernel would hold back the last for more to come.
func splice(from, to, n int) (int, syscall.Errno) {
	moved, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	return int(moved), errno
}

// closeFD closes fd. On Linux the descriptor is gone whatever close says.
func closeFD(fd int) { unix.Close(fd) }
