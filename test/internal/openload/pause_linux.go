package openload

import (
	"syscall"
	"time"
)

// pause sleeps by the kernel's timer: the runtime's rounds up to a millisecond, which is
// more than requests are apart.
func pause(d time.Duration) {
	if d <= 0 {
		return
	}
	ts := syscall.NsecToTimespec(int64(d))
	syscall.Nanosleep(&ts, nil)
}
