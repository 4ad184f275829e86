//go:build linux

package stage

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	openingMax = 200              // connections that are being opened at once
	holdTime   = 60 * time.Second // for all of them
)

// hold opens the connections and returns when all are as they are to stay.
func (ld *load) hold(e *endpoint) (r Result, err error) {
	held, opening, started := 0, 0, 0
	waiting := e.waiting + ld.Connections
	end := time.Now().Add(holdTime)
	err = ld.loop.run(func(now time.Time) time.Time {
		if ld.errors > 0 || now.After(end) || held == ld.Connections && (ld.Hold != HoldWait || e.waiting == waiting) {
			return now
		}
		for ; opening < openingMax && started < ld.Connections; started++ {
			opening++
			ld.tasks = append(ld.tasks, ld.loop.start(func(t *task) {
				err := ld.keep(t, func() { held, opening = held+1, opening-1 })
				if !t.over {
					ld.fail(err)
				}
			}))
		}
		return now.Add(10 * time.Millisecond) // looks again
	})
	if err == nil && held < ld.Connections {
		err = ld.first
		if err == nil {
			err = fmt.Errorf("%d of %d connections after %v", held, ld.Connections, holdTime)
		}
	}
	return Result{Held: held, Errors: ld.errors}, err
}

// keep is one connection, up to its release: it returns an error, always.
func (ld *load) keep(t *task, done func()) error {
	rw, _, err := ld.connect(t)
	if err != nil {
		return err
	}
	buf := make([]byte, headMax)
	switch {
	case ld.Multi:
		if ld.Hold != HoldIdle {
			return fmt.Errorf("not with HTTP/2: %q", ld.Hold)
		}
		err = askMulti(rw, ld.Paths[0])
	case ld.Hold == HoldIdle:
		err = ld.do(rw, buf)
	case ld.Hold == HoldWait:
		_, err = rw.Write(ld.requests[0])
	case ld.Hold == HoldTalk:
		if _, err = rw.Write(ld.requests[0]); err != nil {
			break
		}
		head, status, e := readAnswer(rw, buf, ld.scratch)
		if e != nil || status != 101 {
			return fmt.Errorf("no upgrade: status %d, %v: %q", status, e, head)
		}
		if _, err = rw.Write([]byte("hello")); err == nil {
			_, err = rw.Read(buf)
		}
	default:
		err = fmt.Errorf("nothing to hold: %q", ld.Hold)
	}
	if err != nil {
		return err
	}
	done()
	for {
		if err := t.await(unix.EPOLLIN); err != nil {
			return err
		}
		if n, err := rw.Read(buf); err != nil {
			return fmt.Errorf("a connection that is held: %w", err)
		} else if n > 0 && ld.Hold == HoldWait {
			return fmt.Errorf("an answer to what is not answered: %q", buf[:n])
		}
	}
}
