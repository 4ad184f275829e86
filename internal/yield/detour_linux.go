package yield

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A detour is the way through Go's poller: an eventfd that becomes readable while this goroutine
// waits for it. The zero value is made at its first use.
type detour struct {
	file    *os.File // nil: it was not made yet, or cannot be
	raw     syscall.RawConn
	look    func(fd uintptr) bool // ready
	broken  bool
	written bool // in the present pass
}

// pass goes there and back; false: it cannot.
func (d *detour) pass() bool {
	if d.file == nil && !d.broken {
		d.broken = !d.open()
	}
	if d.broken {
		return false
	}
	d.written = false
	return d.raw.Read(d.look) == nil
}

// ready is called before the wait, where it writes and so has Read wait, and behind it. What was
// written is never read: each write makes the poller report the descriptor anew.
func (d *detour) ready(fd uintptr) bool {
	if d.written {
		return true
	}
	d.written = true
	one := [8]byte{1} // a number in the order of this machine: its value does not matter
	_, err := unix.Write(int(fd), one[:])
	return err != nil // nil: there is something to wait for
}

// open makes the eventfd. It fails if the process has no descriptor left.
func (d *detour) open() bool {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), "eventfd")
	if err := f.SetReadDeadline(time.Time{}); err != nil { // which only files have that the poller watches
		f.Close()
		return false
	}
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return false
	}
	d.file, d.raw, d.look = f, raw, d.ready
	return true
}

func (d *detour) close() {
	if d.file != nil {
		d.file.Close()
		d.file, d.broken = nil, true
	}
}
