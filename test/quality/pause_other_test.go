//go:build !linux

package quality

import "time"

func pause(d time.Duration) { time.Sleep(d) }
