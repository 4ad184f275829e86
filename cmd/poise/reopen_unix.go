//go:build unix

package main

// SIGUSR1 has the access log opened again, which is how programs that rotate logs say that they
// have moved the file.

import (
	"os"
	"os/signal"
	"syscall"
)

// catchReopens catches SIGUSR1, which would end the process otherwise. One that comes early is
// kept for reopenAt.
func (in *instance) catchReopens() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	return c
}

// reopenAt reopens the log at every signal, for as long as the process runs.
func (in *instance) reopenAt(signals <-chan os.Signal) {
	go func() {
		for range signals {
			in.log.Info("opening the access log again", "signal", "SIGUSR1", "path", in.config().AccessLog.Path)
			in.proxy.ReopenLogs()
		}
	}()
}
