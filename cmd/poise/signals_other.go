//go:build !unix

package main

import "os"

// upgradeSignal is a signal that never comes.
var upgradeSignal os.Signal = never{}

type never struct{}

func (never) String() string { return "upgrade" }
func (never) Signal()        {}
