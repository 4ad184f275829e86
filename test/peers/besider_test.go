//go:build linux

package peers

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/test/internal/rig"
	"github.com/poise-lb/poise/test/peers/stage"
)

// The client of beside_test.go: one connection with HTTP/2, on which small requests are due every
// 2 ms, whatever becomes of those before. One goroutine reads, one sends what is due, one uploads.

const (
	probeEvery  = 2 * time.Millisecond
	settle      = 300 * time.Millisecond // before what counts
	giveUp      = 2 * time.Second        // an answer that takes longer counts as that
	receive     = 64 << 10               // buffer of the client's socket
	wideWindow  = 16 << 20               // of a stream that is read: more than a download has
	downloadOf  = 8 << 20
	manyStreams = 8
	openMost    = 80 // small requests under way; all peers allow 100 streams
)

// A besider is that connection.
type besider struct {
	conn net.Conn

	mu       sync.Mutex // of all that follows, and of writes
	next     uint32     // stream
	encoder  http2.Encoder
	due      map[uint32]time.Time // of small requests
	late     []time.Time          // due, and not sent: as many are under way as the peer allows
	loads    map[uint32]bool      // downloads
	latency  []time.Duration
	content  int64
	counts   bool
	again    bool // a download that has ended is followed by another
	err      error
	upload   uint32
	windows  [2]int64 // what may be uploaded: of the connection, of the stream
	streamed int64    // window that streams begin with
	room     *sync.Cond
}

// beside is the role.
func beside() error {
	var b besides
	if err := json.Unmarshal([]byte(os.Getenv(besideVariable)), &b); err != nil {
		return err
	}
	if b.What == resets {
		stop, err := attack(b)
		if err != nil {
			return err
		}
		defer stop()
		time.Sleep(settle)
	}
	window := uint32(wideWindow)
	if b.What == unread {
		window = http2.WindowDefault
	}
	c, err := openBesider(b.Address, window)
	if err != nil {
		return err
	}
	go c.read()
	if err := c.begin(b.What); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(c.measure(b.Time))
}

func dialMulti(address string) (*tls.Conn, error) {
	plain, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	plain.(*net.TCPConn).SetReadBuffer(receive)
	conn := tls.Client(plain, &tls.Config{MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
		InsecureSkipVerify: true, ServerName: "bench.test", NextProtos: []string{"h2"}}) // its certificate is self-signed
	if err := conn.Handshake(); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func openBesider(address string, window uint32) (*besider, error) {
	conn, err := dialMulti(address)
	if err != nil {
		return nil, err
	}
	c := &besider{conn: conn, next: 1, due: make(map[uint32]time.Time), loads: make(map[uint32]bool),
		windows: [2]int64{http2.WindowDefault, http2.WindowDefault}, streamed: http2.WindowDefault}
	c.room = sync.NewCond(&c.mu)
	out := http2.AppendSettings([]byte(http2.Preface), http2.Setting{ID: http2.SettingPush}, http2.Setting{ID: http2.SettingWindow, Value: window})
	out = http2.AppendWindowUpdate(out, 0, http2.WindowMax-http2.WindowDefault)
	_, err = conn.Write(out)
	return c, err
}

// ask sends a request; the lock is held. length is that of its content, -1: it has none.
func (c *besider) ask(path string, length int64) uint32 {
	id := c.next
	c.next += 2
	block := headOf(&c.encoder, path, length)
	if _, err := c.conn.Write(http2.FinishHeaders(block, 0, id, length < 0, http2.FrameSizeMin)); err != nil && c.err == nil {
		c.err = err
	}
	return id
}

func headOf(e *http2.Encoder, path string, length int64) []byte {
	q := message.Request{Method: []byte("GET"), Path: []byte(path), Host: []byte("bench.test")}
	if length >= 0 {
		q.Method, q.Body, q.Length = []byte("PUT"), message.Length, length
	}
	return e.Request(http2.BeginHeaders(nil), &q, "https")
}

// begin starts what is beside.
func (c *besider) begin(what string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch what {
	case downloads, unread:
		c.again = true
		for range manyStreams {
			c.loads[c.ask(sized(downloadOf), -1)] = true
		}
	case stalled:
		c.upload = c.ask(stage.PathStall, 1<<30)
		go c.send() // ends with the process
	}
	return c.err
}

// send uploads as much as the windows allow.
func (c *besider) send() {
	zeros := make([]byte, http2.FrameSizeMin)
	for {
		c.mu.Lock()
		for min(c.windows[0], c.windows[1]) <= 0 {
			c.room.Wait()
		}
		n := min(c.windows[0], c.windows[1], int64(len(zeros)))
		c.windows[0] -= n
		c.windows[1] -= n
		_, err := c.conn.Write(http2.AppendData(nil, c.upload, zeros[:n], false))
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// measure sends what is due.
func (c *besider) measure(during time.Duration) (r stage.Result) {
	began := time.Now()
	from, due := began.Add(settle), began
	for ; due.Before(from.Add(during)); due = due.Add(probeEvery) {
		time.Sleep(time.Until(due))
		c.mu.Lock()
		if !c.counts && !due.Before(from) {
			c.counts, c.content = true, 0
			for id := range c.due {
				c.due[id] = time.Time{} // does not count
			}
			c.late = nil
		}
		c.probe(due)
		c.mu.Unlock()
	}
	c.mu.Lock()
	r.Content, r.Elapsed = c.content, time.Since(from)
	c.mu.Unlock()
	for end := time.Now().Add(giveUp); time.Now().Before(end); time.Sleep(probeEvery) {
		c.mu.Lock()
		left := len(c.due) + len(c.late)
		c.mu.Unlock()
		if left == 0 {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for range len(c.due) + len(c.late) {
		c.latency = append(c.latency, giveUp)
	}
	slices.Sort(c.latency)
	if r.Requests = len(c.latency); r.Requests == 0 || c.err != nil {
		r.Error = fmt.Sprintf("%d answers, %v", r.Requests, c.err)
		return r
	}
	at := func(q float64) time.Duration { return c.latency[int(q*float64(r.Requests-1))] }
	r.P50, r.P90, r.P99, r.P999, r.Max = at(.5), at(.9), at(.99), at(.999), at(1)
	return r
}

// read takes what comes, until the connection ends.
func (c *besider) read() {
	in, w, taken := make([]byte, receive), 0, 0
	for {
		n, err := c.conn.Read(in[w:])
		w += n
		at := 0
		c.mu.Lock()
		for err == nil {
			f, n, bad := http2.Next(in[at:w], http2.FrameSizeMin)
			if n == 0 || bad != nil {
				err = bad
				break
			}
			at += n
			err = c.frame(&f)
			if f.Type == http2.FrameData {
				if taken += f.Size; taken >= 1<<20 {
					c.conn.Write(http2.AppendWindowUpdate(nil, 0, uint32(taken)))
					taken = 0
				}
			}
		}
		if err != nil && c.err == nil {
			c.err = err
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
		w = copy(in, in[at:w])
	}
}

func (c *besider) frame(f *http2.Frame) error {
	switch f.Type {
	case http2.FrameSettings:
		if f.Ack() {
			break
		}
		peer := http2.DefaultSettings()
		if err := peer.Apply(f.Payload, true); err != nil {
			return err
		}
		c.windows[1] += int64(peer.Window) - c.streamed
		c.streamed = int64(peer.Window)
		c.conn.Write(http2.AppendSettingsAck(nil))
	case http2.FramePing:
		if !f.Ack() {
			c.conn.Write(http2.AppendPing(nil, f.Payload, true))
		}
	case http2.FrameWindowUpdate:
		switch f.Stream {
		case 0:
			c.windows[0] += int64(f.Increment())
		case c.upload:
			c.windows[1] += int64(f.Increment())
		}
		c.room.Broadcast()
	case http2.FrameGoAway:
		return errors.New("GOAWAY")
	case http2.FrameData:
		c.content += int64(len(f.Payload))
		c.ended(f)
	case http2.FrameHeaders:
		c.ended(f)
	}
	return nil
}

// probe sends a small request, or has it wait for the end of another one.
func (c *besider) probe(due time.Time) {
	if len(c.due) >= openMost {
		c.late = append(c.late, due)
		return
	}
	c.due[c.ask(somePath[0], -1)] = due
}

// ended notes that a response is complete, if it is.
func (c *besider) ended(f *http2.Frame) {
	if !f.EndStream() {
		return
	}
	if due, ok := c.due[f.Stream]; ok {
		delete(c.due, f.Stream)
		if c.counts && !due.IsZero() {
			c.latency = append(c.latency, min(time.Since(due), giveUp))
		}
		if len(c.late) > 0 {
			due, c.late = c.late[0], c.late[1:]
			c.probe(due)
		}
	}
	if c.loads[f.Stream] {
		delete(c.loads, f.Stream)
		c.loads[c.ask(sized(downloadOf), -1)] = true
	}
}

// attack starts a process that resets requests as fast as it can. It gives way to all others on
// its processor, so that the small requests are not late by it.
func attack(b besides) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, roleVariable) }), roleVariable+"=attacker")
	rig.EndWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	syscall.Setpriority(syscall.PRIO_PROCESS, cmd.Process.Pid, 19)
	return func() { cmd.Process.Kill(); cmd.Wait() }, nil
}

// attacker is the role: it begins requests and resets them.
func attacker() error {
	var b besides
	if err := json.Unmarshal([]byte(os.Getenv(besideVariable)), &b); err != nil {
		return err
	}
	for {
		conn, err := dialMulti(b.Address)
		if err != nil {
			continue // it is killed at the end
		}
		go func() { // ends with the connection
			room := make([]byte, 16<<10)
			for err := error(nil); err == nil; {
				_, err = conn.Read(room)
			}
			conn.Close()
		}()
		resetAll(conn)
		conn.Close()
	}
}

// resetAll writes HEADERS and RST_STREAM in turns, until the connection ends.
func resetAll(conn net.Conn) {
	head := headOf(new(http2.Encoder), somePath[0], -1)
	out := http2.AppendSettings([]byte(http2.Preface))
	for id := uint32(1); ; {
		for range 100 {
			at := len(out)
			out = http2.FinishHeaders(append(out, head...), at, id, true, http2.FrameSizeMin)
			out = http2.AppendReset(out, id, http2.Cancel)
			id += 2
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
		out = out[:0]
	}
}
