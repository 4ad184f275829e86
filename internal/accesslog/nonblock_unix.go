//go:build unix

package accesslog

import "syscall"

// nonblock opens a file without waiting for a reader at the other end of a named pipe.
const nonblock = syscall.O_NONBLOCK
