package rig

import (
	"os/exec"
	"syscall"
)

// endWithParent has the process killed when the test is, which then runs no Cleanup.
func endWithParent(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
