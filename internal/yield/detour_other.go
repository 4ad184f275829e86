//go:build !linux

package yield

import "time"

// A detour is a short sleep elsewhere: a goroutine that sleeps cannot run, so Go's poller is asked.
type detour struct{}

func (detour) pass() bool {
	time.Sleep(time.Microsecond)
	return true
}

func (detour) close() {}
