//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package upgrade

// Systems whose processes do not inherit sockets.

import (
	"context"
	"io"

	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
)

// A Predecessor is the process whose place this one takes: here there is none.
type Predecessor struct {
	Listeners []sockets.Named
	Handover  []byte
}

// Inherited returns nil.
func Inherited() (*Predecessor, error) { return nil, nil }

// Ready does nothing.
func (p *Predecessor) Ready() error { return nil }

// Serving does nothing.
func (p *Predecessor) Serving() {}

// Run returns ErrUnsupported.
func Run(context.Context, Program, []sockets.Named, []byte, io.Writer) (pid int, err error) {
	return 0, ErrUnsupported
}
