// Command poise is the load balancer as a binary: a client of the library
// github.com/poise-lb/poise that turns flags and files into a configuration.
//
// Exit codes: 0 after an orderly end, 1 for failures (a port in use, say) and for an end by
// a second signal, 2 for flags or a configuration that cannot be used, 4 from plan if something
// would change.
package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	signals := make(chan os.Signal, 4) // a burst of signals is not lost
	catch := func() { signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, upgradeSignal) }
	os.Exit(command(os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr, signals, catch}))
}

// Main is the command without the process around it: it returns the exit code. signals
// delivers what the operating system would: SIGINT and SIGTERM end it, SIGHUP reloads, SIGUSR2 upgrades.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	return command(args, streams{stdin, stdout, stderr, signals, func() {}})
}

func command(args []string, s streams) int {
	root := newRoot(s)
	root.SetArgs(args)
	err := root.Execute()
	var problem *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errChanges):
		return exitChanges
	case errors.As(err, &problem):
		say(s.stderr, "%v\n", problem)
		return exitUsage
	default:
		say(s.stderr, "poise: %v\n", err)
		return exitFailed
	}
}
