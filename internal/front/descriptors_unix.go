//go:build unix

package front

import (
	"math"
	"syscall"
)

// openFiles is how many descriptors this process may have open; 0: any number. Package os
// has raised the soft limit to the hard one when the program started.
func openFiles() int {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil || r.Cur > math.MaxInt32 {
		return 0
	}
	return int(r.Cur)
}
