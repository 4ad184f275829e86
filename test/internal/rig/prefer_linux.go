package rig

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Prefer gives this process, and what it starts from then on, precedence over all other
// processes, so that what is measured is not their work: the kernel's round robin class,
// in which nice values and groups play no part. Without the right to do so it does
// nothing. It is for loads that leave the processors free most of the time.
//
// It is to be called first of all: a thread inherits its class from the one that made it.
func Prefer() {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	class := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1} // its lowest
	for _, task := range tasks {
		if id, err := strconv.Atoi(task.Name()); err == nil {
			_ = unix.SchedSetAttr(id, class, 0)
		}
	}
}
