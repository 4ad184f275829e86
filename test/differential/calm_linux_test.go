package differential

import (
	"bytes"
	"encoding/binary"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// calm tells whether anything moves in this process, by the states of its threads: one that
// has been woken by a socket is runnable before the call that woke it returns. That holds
// as long as Go has more processors than there is work for: see newRig.
type calm struct {
	folder int
	stats  map[int]int // descriptor of a thread's stat, by its number
	names  []byte
	text   []byte
}

func newCalm() (*calm, error) {
	folder, err := unix.Open("/proc/self/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	return &calm{folder: folder, stats: make(map[int]int), names: make([]byte, 8<<10), text: make([]byte, 512)}, nil
}

func (c *calm) close() {
	unix.Close(c.folder)
	for _, fd := range c.stats {
		unix.Close(fd)
	}
}

// now reports whether the calling thread is the only one that runs.
func (c *calm) now() bool {
	if !c.learn() {
		return false
	}
	running := 0
	for id, fd := range c.stats {
		n, err := unix.Pread(fd, c.text, 0)
		if err != nil || n == 0 { // it is gone
			unix.Close(fd)
			delete(c.stats, id)
			return false
		}
		// The name in parentheses may hold anything, parentheses too.
		after := bytes.LastIndexByte(c.text[:n], ')')
		if after+2 >= n || c.text[after+2] == 'R' || c.text[after+2] == 'D' {
			if running++; running > 1 {
				return false
			}
		}
	}
	return true
}

// learn finds threads that are new.
func (c *calm) learn() bool {
	if _, err := unix.Seek(c.folder, 0, 0); err != nil {
		return false
	}
	for {
		n, err := unix.Getdents(c.folder, c.names)
		if err != nil {
			return false
		}
		if n == 0 {
			return true
		}
		// struct linux_dirent64: 8 bytes each of inode and offset, 2 of length, 1 of type.
		for rest := c.names[:n]; len(rest) > 19; rest = rest[binary.NativeEndian.Uint16(rest[16:]):] {
			name, _, _ := bytes.Cut(rest[19:], []byte{0})
			id := 0
			for _, d := range name {
				if d < '0' || d > '9' {
					id = 0
					break
				}
				id = 10*id + int(d-'0')
			}
			if id == 0 || c.stats[id] != 0 {
				continue
			}
			fd, err := unix.Open("/proc/self/task/"+strconv.Itoa(id)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return false
			}
			c.stats[id] = fd
		}
	}
}

// yield lets whatever is runnable run.
func yield() { unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
