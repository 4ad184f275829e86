//go:build !unix

package systemd

func monotonic() int64 { return 0 }
