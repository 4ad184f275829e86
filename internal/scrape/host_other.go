//go:build !linux

package scrape

// readHost reads /proc, which there is on Linux only.
func readHost() (host, bool) { return host{}, false }
