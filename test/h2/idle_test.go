package h2

// What a connection of HTTP/2 over TLS holds while it has nothing to do, on goroutines. Half of it is
// crypto/tls: what counts is how much more the proxy holds than a server that only echoes.
//
//	crypto/tls, a goroutine that reads one byte     the floor, measured beside
//	the stream, what it reads ahead                 1 KiB and fields
//	mux.Conn, the HPACK tables, the session         some KiB
//	a buffer for frames of 32 KiB                   must not be there

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"runtime"
	"testing"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/invariants"
	"github.com/poise-lb/poise/internal/testcert"
)

const (
	idleConns = 200
	idleMost  = 12 << 10 // bytes above the floor
)

func TestIdleConnectionIsSmall(t *testing.T) {
	if testing.Short() || invariants.Enabled {
		t.Skip("the race detector and invariants take memory")
	}
	cert := testcert.New(t, testcert.Template{})
	server := &tls.Config{Certificates: []tls.Certificate{cert.TLS}, NextProtos: []string{"h2"}, SessionTicketsDisabled: true}
	client := &tls.Config{RootCAs: cert.Pool(), ServerName: "localhost", NextProtos: []string{"h2"}}

	echo := tls.NewListener(listen(t), server)
	go func() { // ends when the test closes echo
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var b [1]byte
				for {
					n, err := c.Read(b[:])
					if err != nil {
						return
					}
					c.Write(b[:n])
				}
			}()
		}
	}()
	floor := idle(t, echo.Addr().String(), client, func(t *testing.T, c net.Conn) {
		io.WriteString(c, "x")
		io.ReadFull(c, make([]byte, 1))
	})

	behind := listen(t)
	go acceptAll(behind, func(c *net.TCPConn) { answerAll(c) })
	cfg := configuration("http://" + behind.Addr().String())
	cfg.Engine, cfg.Logger = "goroutine", slog.New(slog.DiscardHandler)
	proxy, err := poise.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	front := tls.NewListener(listen(t), server)
	served := make(chan struct{})
	go func() { proxy.Serve(front); close(served) }()
	defer func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		proxy.Close(over)
		<-served
	}()
	ours := idle(t, front.Addr().String(), client, func(t *testing.T, c net.Conn) { frugalOn(c).requests(t, 2) })
	t.Logf("%d bytes, %d above those of a server that echoes", ours, ours-floor)
	if ours-floor > idleMost {
		t.Errorf("an idle connection holds %d bytes above those of a server that echoes, want at most %d", ours-floor, idleMost)
	}
}

// idle opens connections, has use use each, and returns how many bytes of this process, of the client
// and of the server, one of them takes.
func idle(t *testing.T, address string, config *tls.Config, use func(*testing.T, net.Conn)) int64 {
	t.Helper()
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	open := func() {
		c, err := tls.Dial("tcp", address, config)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		use(t, c)
	}
	open() // what is made once
	before := held()
	for range idleConns {
		open()
	}
	after := held()
	runtime.KeepAlive(conns)
	return (after - before) / idleConns
}

// held is what the heap and stacks take.
func held() int64 {
	for range 4 { // a stack shrinks by half at each collection
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
