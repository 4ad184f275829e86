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
	frameMin   = 16       // bytes of any other, at least: those of its header
	frameMax   = 64 << 20 // and at most
	readMax    = 30 * time.Second
)

// frames is a connection that checks what the client library does not: it allocates what
// the first answer says is its length, fails hard on frames that are too short, and waits
// without a limit for the rest of the first answer. Reads belong to one goroutine.
//
// For a session of one connection it also takes the transaction id out of every header. Only a
// session that is taken up again needs it, and the library remembers it without a lock while its
// other goroutine may still read it.
type frames struct {
	net.Conn
	once  bool // the session ends with the connection
	later bool // the first frame is over
	head  [4 + frameMin]byte
	held  []byte // of head, still to be handed out
	left  int    // bytes of the frame after them
	most  time.Duration
}

// Read hands out the bytes of one frame at a time.
func (f *frames) Read(p []byte) (int, error) {
	if len(f.held) == 0 && f.left == 0 {
		if err := f.begin(); err != nil {
			return 0, err
		}
	}
	if len(f.held) > 0 {
		n := copy(p, f.held)
		f.held = f.held[n:]
		return n, nil
	}
	n, err := f.Conn.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, err
}

// begin reads the length of a frame and, of any but the first, the header: a number of the request,
// the transaction id in eight bytes, an error.
func (f *frames) begin() error {
	if _, err := io.ReadFull(f.Conn, f.head[:4]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(f.head[:4])
	if n < frameMin || n > frameMax || !f.later && n > firstFrame {
		return fmt.Errorf("a frame of %d bytes: it is not ZooKeeper that answers", n)
	}
	f.held, f.left = f.head[:4], int(n)
	if f.later && f.once {
		if _, err := io.ReadFull(f.Conn, f.head[4:]); err != nil {
			return err
		}
		clear(f.head[8:16])
		f.held, f.left = f.head[:], int(n)-frameMin
	}
	f.later = true
	return nil
}

// SetReadDeadline takes no time as far off as the library wishes in places: no read waits
// longer than most.
func (f *frames) SetReadDeadline(t time.Time) error {
	if limit := time.Now().Add(f.most); t.IsZero() || t.After(limit) {
		t = limit
	}
	return f.Conn.SetReadDeadline(t)
}
