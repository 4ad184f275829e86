//go:build !linux

package rig

// Prefer does nothing here.
func Prefer() {}
