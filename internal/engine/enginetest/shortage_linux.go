package enginetest

import "golang.org/x/sys/unix"

// Shortage forbids this process new descriptors. Those that are open stay.
func (n *Sockets) Shortage() (end func()) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		n.t.Fatal(err)
	}
	set := func(r unix.Rlimit) {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
			n.t.Error(err)
		}
	}
	set(unix.Rlimit{Cur: 0, Max: was.Max})
	return func() { set(was) }
}
