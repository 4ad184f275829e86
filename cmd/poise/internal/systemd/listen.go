package systemd

// Socket activation: the manager has opened sockets and passes them as descriptors from 3 on.
// They are found by their names (FileDescriptorName=), which cannot have a colon:
//
//	FileDescriptorName=0        the first entry of listen
//	FileDescriptorName=admin    admin.address; status likewise
//	any other name, or none     the entry whose address is the socket's own
//
// One that no entry is for is an error: clients would connect to it, and nothing would accept.

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
	"github.com/poise-lb/poise/config"
)

// firstFD is the first descriptor that the manager passes.
const firstFD = 3

// Sockets takes the sockets that the manager has passed, named as package sockets wants it. It takes
// LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES out of the environment. Nil: there are none.
func Sockets(c *config.Config) ([]sockets.Named, error) {
	pid, fds, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	os.Unsetenv("LISTEN_PID")
	os.Unsetenv("LISTEN_FDS")
	os.Unsetenv("LISTEN_FDNAMES")
	if fds == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 || n > 1000 {
		return nil, fmt.Errorf("LISTEN_FDS is %q: it is the number of sockets that were passed", fds)
	}
	var all []sockets.Named
	taken := map[string]string{}
	for i := range n {
		name := ""
		if i < len(names) {
			name = names[i]
		}
		one, err := adopt(firstFD+i, name, c)
		if err != nil {
			return nil, err
		}
		if other, ok := taken[one.Name]; ok {
			return nil, fmt.Errorf("two passed sockets are for %s: %s and %s", one.Name, other, sockets.Kind(one.Listener))
		}
		taken[one.Name] = sockets.Kind(one.Listener)
		all = append(all, one)
	}
	return all, nil
}

// adopt makes a listener of one descriptor.
func adopt(fd int, name string, c *config.Config) (one sockets.Named, err error) {
	file := os.NewFile(uintptr(fd), name)
	defer file.Close() // FileListener has its own
	l, err := net.FileListener(file)
	if err != nil {
		return one, fmt.Errorf("descriptor %d (%q) is no listening socket: %w", fd, name, err)
	}
	own := nameOf(name, l.Addr(), c)
	if own == "" {
		l.Close()
		return one, fmt.Errorf("nothing in the configuration listens on the passed socket %q (%s): add it to listen, name it by the index of its entry, or take it out of the socket unit", name, sockets.Kind(l))
	}
	return sockets.Named{Name: own, Listener: l}, nil
}

// nameOf is the name of what in c a socket is for; empty: none.
func nameOf(name string, bound net.Addr, c *config.Config) string {
	if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(c.Listen) {
		return c.Listen[i].Address
	}
	admin, status := c.Admin.Address, c.Status.Address
	switch {
	case name == "admin" && admin != "":
		return sockets.Admin(admin)
	case name == "status" && status != "":
		return sockets.Status(status)
	}
	for _, l := range c.Listen {
		if same(l.Address, bound) {
			return l.Address
		}
	}
	switch {
	case admin != "" && same(admin, bound):
		return sockets.Admin(admin)
	case status != "" && same(status, bound):
		return sockets.Status(status)
	}
	return ""
}

// same reports whether an address of the configuration is where a socket is bound.
func same(address string, bound net.Addr) bool {
	if u, ok := bound.(*net.UnixAddr); ok {
		return address == "unix:"+u.Name
	}
	t, ok := bound.(*net.TCPAddr)
	want, err := net.ResolveTCPAddr("tcp", address)
	if !ok || err != nil || want.Port != t.Port {
		return false
	}
	return want.IP.Equal(t.IP) || everywhere(want.IP) && everywhere(t.IP)
}

// everywhere reports whether ip stands for all addresses of the machine.
func everywhere(ip net.IP) bool { return len(ip) == 0 || ip.IsUnspecified() }
