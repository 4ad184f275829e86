package scrape

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The process by /proc, as proc(5) describes it.

// tick is the unit of times in /proc: USER_HZ, which is 100 on everything that Go runs on.
const tick = time.Second / 100

// readHost reads it; false: /proc is not there, or not readable.
func readHost() (host, bool) {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return host{}, false
	}
	h, begun, err := parseStat(text)
	if err != nil {
		return host{}, false
	}
	boot := booted()
	if h.files, err = openFiles(); err != nil || boot.IsZero() {
		return host{}, false
	}
	h.started = boot.Add(begun)
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return host{}, false
	}
	h.filesMax = limit.Cur
	return h, true
}

// Fields of /proc/self/stat, counted from the one after the name of the program.
const (
	statUser    = 11
	statSystem  = 12
	statBegun   = 19
	statVirtual = 20
	statPages   = 21
)

// parseStat reads /proc/self/stat. begun is when the process began, counted from the boot. The name
// of the program is in parentheses, and may have some itself.
func parseStat(text []byte) (h host, begun time.Duration, err error) {
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) <= statPages {
		return h, 0, errors.New("/proc/self/stat has too few fields")
	}
	var n [statPages + 1]uint64
	for _, i := range []int{statUser, statSystem, statBegun, statVirtual, statPages} {
		if n[i], err = strconv.ParseUint(fields[i], 10, 63); err != nil {
			return h, 0, err
		}
	}
	h.cpu = time.Duration(n[statUser]+n[statSystem]) * tick
	h.virtual, h.resident = n[statVirtual], n[statPages]*uint64(os.Getpagesize())
	return h, time.Duration(n[statBegun]) * tick, nil
}

// booted is when the machine was started, to the second; zero: /proc does not say. It is read once,
// so that the start of the process is the same in every scrape.
var booted = sync.OnceValue(func() time.Time {
	text, _ := os.ReadFile("/proc/stat")
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "btime "); ok {
			if s, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64); err == nil {
				return time.Unix(s, 0)
			}
		}
	}
	return time.Time{}
})

const fdFolder = "/proc/self/fd"

// openFiles counts the open descriptors. Since Linux 6.2 the kernel says how many there are; before,
// they are counted, without a string for each of what may be 100,000.
func openFiles() (uint64, error) {
	info, err := os.Stat(fdFolder)
	if err != nil {
		return 0, err
	}
	if n := info.Size(); n > 0 {
		return uint64(n), nil
	}
	return countFiles()
}

// Of linux_dirent64, see getdents64(2): where the length of an entry stands, and its name.
const (
	direntLength = 16
	direntName   = 19
)

// countFiles counts the entries of the folder, without "." and "..", and without its own descriptor.
func countFiles() (uint64, error) {
	f, err := os.Open(fdFolder)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var count uint64
	buf := make([]byte, 8<<10)
	for {
		n, err := syscall.ReadDirent(int(f.Fd()), buf)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return max(count, 1) - 1, nil
		}
		for at := 0; at+direntName < n; {
			if buf[at+direntName] != '.' {
				count++
			}
			at += max(int(binary.NativeEndian.Uint16(buf[at+direntLength:])), direntName+1)
		}
	}
}
