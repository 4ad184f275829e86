package goroutine

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/testcert"
)

// TestAwaitReadsAhead: what Await has read is not lost, not quiet, and comes before the rest, however
// small the reads are; and Await tells an end, a deadline and an interrupt as Read does.
func TestAwaitReadsAhead(t *testing.T) {
	cert := testcert.New(t, testcert.Template{})
	for _, secure := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		if secure {
			client = tls.Client(client, &tls.Config{RootCAs: cert.Pool(), ServerName: "localhost"})
			server = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert.TLS}})
		}
		rt := New()
		defer rt.Close()
		s := rt.Stream(server)

		text := strings.Repeat("0123456789", 3*earlyBytes/10) + "."
		go io.WriteString(client, text)
		for _, room := range []int{1, 100, earlyBytes, 2 * earlyBytes} {
			if err := s.Await(); err != nil {
				t.Fatal(err)
			}
			if s.Quiet() {
				t.Error("quiet with bytes that were not read")
			}
			p := make([]byte, room)
			n, err := s.Read(p)
			if err != nil || !strings.HasPrefix(text, string(p[:n])) {
				t.Fatalf("%q, %v", p[:n], err)
			}
			text = text[n:]
		}
		rest := make([]byte, len(text))
		if _, err := io.ReadFull(s, rest); err != nil || string(rest) != text {
			t.Fatalf("%q, %v", rest, err)
		}

		s.SetReadDeadline(rt.Now() + 10*time.Millisecond)
		if err := s.Await(); !errors.Is(err, engine.ErrTimeout) {
			t.Errorf("at the deadline: %v", err)
		}
		s.SetReadDeadline(0)
		go io.WriteString(client, "again")
		p := make([]byte, 10)
		if err := s.Await(); err != nil {
			t.Errorf("behind the deadline: %v", err)
		}
		if n, err := s.Read(p); err != nil || string(p[:n]) != "again" {
			t.Errorf("behind the deadline: %q, %v", p[:n], err)
		}
		client.Close()
		if err := s.Await(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
		if n, err := s.Read(p); n != 0 || err != io.EOF {
			t.Errorf("behind the end: %d bytes, %v", n, err)
		}
		s.Interrupt(engine.ErrStopping)
		if err := s.Await(); err != engine.ErrStopping {
			t.Errorf("interrupted: %v", err)
		}
	}
}
