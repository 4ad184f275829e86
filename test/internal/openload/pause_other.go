//go:build !linux

package openload

import "time"

func pause(d time.Duration) { time.Sleep(d) }
