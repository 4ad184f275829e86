package sockets

// Listeners at unix sockets, and what two listeners of one socket share.

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"
)

// UnixMode is the mode of a unix socket where none is given: for its owner and group.
const UnixMode fs.FileMode = 0o660

// ListenUnix listens at a path, which it makes with this mode, and which is removed when the
// listener is closed. A socket that nothing listens on any more is replaced.
func ListenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// removeStale removes a socket that nothing listens on any more: what a process left that was
// killed. Anything else at the path stays, and listening fails.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		return errors.Join(err, fmt.Errorf("%s is there and is no socket", path))
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return fmt.Errorf("another process listens on %s", path)
	}
	return os.Remove(path)
}

// Share returns another listener on the same socket. The path of a unix socket is not its own:
// see Own.
func Share(l net.Listener) (net.Listener, error) {
	with, ok := l.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("a %T cannot be shared", l)
	}
	f, err := with.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileListener(f)
}

// Own has the path of a unix socket removed when l is closed. Keep takes that back.
func Own(l net.Listener) {
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(true)
	}
}
