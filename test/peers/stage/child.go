//go:build linux

package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// childMax bounds the run of a program.
const childMax = 60 * time.Second

// child runs a program that is the client, and serves as the endpoints until it has ended. The
// processor time of the proxy is that of the whole run.
func (s *server) child(c Command) (r Result, err error) {
	if len(c.Args) == 0 {
		return r, errors.New("no program to run")
	}
	ctx, cancel := context.WithTimeout(context.Background(), childMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Env = append(os.Environ(), c.Env...)
	rig.EndWithParent(cmd)
	before, err := cpu(c.Process)
	if err != nil {
		return r, err
	}
	began := time.Now()
	var text []byte
	var failed error
	done := make(chan struct{})
	go func() { // ends with the program
		defer close(done)
		text, failed = cmd.CombinedOutput()
	}()
	err = s.loop.run(func(now time.Time) time.Time {
		select {
		case <-done:
			return now
		default:
		}
		return now.Add(5 * time.Millisecond) // looks again
	})
	if err != nil {
		return r, err
	}
	r.Elapsed, r.Text = time.Since(began), string(text)
	after, err := cpu(c.Process)
	if err == nil && failed != nil {
		err = fmt.Errorf("%s: %w: %s", c.Args[0], failed, text[max(0, len(text)-300):])
	}
	r.CPU = after - before
	return r, err
}

func cpu(process int) (time.Duration, error) {
	if process == 0 {
		return 0, nil
	}
	return rig.CPU(process)
}
