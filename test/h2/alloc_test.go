package h2

// What a request costs in memory when everything is warm: nothing on event loops. The client and the
// endpoint here allocate nothing themselves, so the heap of the whole process is counted.

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"runtime"
	"testing"

	"golang.org/x/net/http2"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/invariants"
)

// allocationsMost is per request, above what timers, pools and the runtime itself take now and then.
// A goroutine per request, which the other engine has, takes more.
var allocationsMost = map[string]float64{"loop": 0.1, "goroutine": 4}

func TestAllocations(t *testing.T) {
	if testing.Short() || invariants.Enabled {
		t.Skip("the race detector and invariants allocate")
	}
	for _, engine := range poise.Engines() {
		t.Run(engine, func(t *testing.T) {
			c := frugal(t, engine)
			const warm, counted = 2000, 5000
			c.requests(t, warm)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c.requests(t, counted)
			runtime.ReadMemStats(&after)
			each := float64(after.Mallocs-before.Mallocs) / counted
			t.Logf("%.3f allocations per request", each)
			if each > allocationsMost[engine] {
				t.Errorf("%.3f allocations per request, want at most %v", each, allocationsMost[engine])
			}
		})
	}
}

// A frugalClient sends one request after the other on one connection, with no allocation.
type frugalClient struct {
	conn  net.Conn
	frame []byte // HEADERS, but for its stream
	next  uint32
	in    []byte
	n     int // of in
}

// frugal starts a proxy of that engine with an endpoint, and connects.
func frugal(t *testing.T, engine string) *frugalClient {
	behind := listen(t)
	go func() { // ends when the test closes behind; its connections when the proxy does
		for {
			c, err := behind.Accept()
			if err != nil {
				return
			}
			go answerAll(c)
		}
	}()
	cfg := configuration("http://" + behind.Addr().String())
	cfg.Engine, cfg.Workers, cfg.Logger = engine, 1, slog.New(slog.DiscardHandler)
	proxy, err := poise.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	front := listen(t)
	served := make(chan struct{})
	go func() { proxy.Serve(front); close(served) }()
	conn, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		over, cancel := context.WithCancel(context.Background())
		cancel()
		proxy.Close(over)
		<-served
	})
	return frugalOn(conn)
}

// frugalOn is the client on a connection that is open.
func frugalOn(conn net.Conn) *frugalClient {
	// GET / of http, with :authority as a literal that enters no table.
	block := append([]byte{0x82, 0x86, 0x84, 0x01, 9}, "a.example"...)
	c := &frugalClient{conn: conn, next: 1, in: make([]byte, 64<<10)}
	c.frame = append([]byte{0, 0, byte(len(block)), 1, 5, 0, 0, 0, 0}, block...)
	io.WriteString(conn, http2.ClientPreface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"+"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x3f\xff\x00\x00")
	return c
}

// answerAll answers every head of a request.
func answerAll(c net.Conn) {
	defer c.Close()
	response := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	room := make([]byte, 4096)
	for {
		if _, err := c.Read(room); err != nil { // one small request at a time: it comes whole
			return
		}
		if _, err := c.Write(response); err != nil {
			return
		}
	}
}

func (c *frugalClient) requests(t *testing.T, n int) {
	for range n {
		binary.BigEndian.PutUint32(c.frame[5:], c.next)
		if _, err := c.conn.Write(c.frame); err != nil {
			t.Fatal(err)
		}
		for !c.ended() {
			k, err := c.conn.Read(c.in[c.n:])
			if err != nil {
				t.Fatal(err)
			}
			c.n += k
		}
		c.next += 2
	}
}

// ended takes frames off what has come until one ends the stream.
func (c *frugalClient) ended() bool {
	at, ended := 0, false
	for b := c.in[:c.n]; len(b)-at >= 9 && !ended; {
		size := 9 + int(b[at])<<16 + int(b[at+1])<<8 + int(b[at+2])
		if len(b)-at < size {
			break
		}
		ended = b[at+3] <= 1 && b[at+4]&1 != 0 && binary.BigEndian.Uint32(b[at+5:]) == c.next
		at += size
	}
	c.n = copy(c.in, c.in[at:c.n])
	return ended
}
