package rig

import (
	"os/exec"
	"syscall"
)

// EndWithParent has the process killed when the test is, which then runs no Cleanup.
func EndWithParent(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
