package zookeeper

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	firstFrame = 1 << 10  // bytes of the answer to a connection request, at most
	frameMin   = 16       // bytes of any other, at least
	frameMax   = 64 << 20 // and at most
	readMax    = 30 * time.Second
)

// frames is a connection that checks what the client library does not: it allocates what
// the first answer says is its length, fails hard on frames that are too short, and waits
// without a limit for the rest of the first answer. Reads belong to one goroutine.
type frames struct {
	net.Conn
	later bool // the first frame is over
	head  [4]byte
	held  int // bytes of head that are still to be handed out
	left  int // bytes of the frame after them
	most  time.Duration
}

// Read hands out the bytes of one frame at a time.
func (f *frames) Read(p []byte) (int, error) {
	if f.held == 0 && f.left == 0 {
		if _, err := io.ReadFull(f.Conn, f.head[:]); err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint32(f.head[:])
		switch {
		case !f.later && (n > firstFrame || n < frameMin), n > frameMax, n < frameMin:
			return 0, fmt.Errorf("a frame of %d bytes: it is not ZooKeeper that answers", n)
		}
		f.held, f.left, f.later = len(f.head), int(n), true
	}
	if f.held > 0 {
		n := copy(p, f.head[len(f.head)-f.held:])
		f.held -= n
		return n, nil
	}
	n, err := f.Conn.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, err
}

// SetReadDeadline takes no time as far off as the library wishes in places: no read waits
// longer than most.
func (f *frames) SetReadDeadline(t time.Time) error {
	if limit := time.Now().Add(f.most); t.IsZero() || t.After(limit) {
		t = limit
	}
	return f.Conn.SetReadDeadline(t)
}
