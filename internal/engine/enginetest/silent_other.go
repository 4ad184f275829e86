//go:build !linux

package enginetest

import "github.com/poise-lb/poise/internal/engine"

// full: how a listener's queue is filled differs too much.
func (n *Sockets) full() (*engine.Dial, func(), error) { return nil, nil, nil }
