//go:build darwin || freebsd || netbsd || openbsd

package upgrade

import "syscall"

func duplicate(from, to int) error { return syscall.Dup2(from, to) }
