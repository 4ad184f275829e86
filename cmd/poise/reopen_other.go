//go:build !unix

package main

import "os"

// catchReopens and reopenAt do nothing: there is no SIGUSR1 on this system. A reload opens the
// access log again everywhere.
func (in *instance) catchReopens() <-chan os.Signal { return nil }

func (in *instance) reopenAt(<-chan os.Signal) {}
