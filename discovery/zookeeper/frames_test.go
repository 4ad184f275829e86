package zookeeper

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"time"
)

// TestTransactionIds: the library writes the id of every answer's header where its other
// goroutine reads, without a lock. So no id gets to it by a session of one connection; a
// session that is taken up again needs them.
func TestTransactionIds(t *testing.T) {
	frame := func(zxid uint64, rest string) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(frameMin+len(rest)))
		b = binary.BigEndian.AppendUint32(b, 7)
		b = binary.BigEndian.AppendUint64(b, zxid)
		return append(binary.BigEndian.AppendUint32(b, 9), rest...)
	}
	first := frame(0x0102030405060708, "session")
	sent := bytes.Join([][]byte{first, frame(0x1111111111111111, ""), frame(0x2222222222222222, "content")}, nil)
	blank := bytes.Join([][]byte{first, frame(0, ""), frame(0, "content")}, nil)
	for _, once := range []bool{true, false} {
		want := sent
		if once {
			want = blank
		}
		for name, read := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "by bytes": iotest.OneByteReader,
		} {
			client, server := net.Pipe()
			go func() {
				server.Write(sent)
				server.Close()
			}()
			got, err := io.ReadAll(read(&frames{Conn: client, once: once, most: time.Minute}))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("once %v, read %s: %x, %v; want %x", once, name, got, err, want)
			}
		}
	}
}
