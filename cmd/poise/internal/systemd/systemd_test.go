//go:build unix

package systemd

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
)

func TestNotifierWithoutManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	n := New()
	for _, err := range []error{n.Ready(), n.Reloading(), n.Stopping(), n.MainPID(1), n.Alive()} {
		if err != nil {
			t.Error(err)
		}
	}
	if n.Every() != 0 {
		t.Error("signs of life are wanted")
	}
}

func TestNotifier(t *testing.T) {
	path := t.TempDir() + "/notify"
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "10000000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	n := New()
	if n.Every() != 5*time.Second {
		t.Errorf("a sign of life every %v", n.Every())
	}
	heard := func(want string) {
		t.Helper()
		conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		b := make([]byte, 1000)
		size, err := conn.Read(b)
		if err != nil || !strings.HasPrefix(string(b[:size]), want) {
			t.Errorf("%q, %v, want %q", b[:size], err, want)
		}
	}
	n.Ready()
	heard("READY=1")
	n.Reloading()
	heard("RELOADING=1\nMONOTONIC_USEC=")
	n.Alive()
	heard("WATCHDOG=1")
	n.Stopping()
	heard("STOPPING=1")
	n.MainPID(42)
	heard("MAINPID=42")
	if n.Every() != 0 {
		t.Error("signs of life after the handover")
	}
	n.Stopping() // says nothing any more
	conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if size, err := conn.Read(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes after the handover", size)
	}
	t.Setenv("WATCHDOG_PID", "1")
	if New().Every() != 0 {
		t.Error("signs of life that are wanted of another process")
	}
}

// A socket is found by index, by admin and status, and by its address.
func TestNameOf(t *testing.T) {
	c := &config.Config{Listen: []config.Listen{{Address: "127.0.0.1:8080"}, {Address: ":8443"}}}
	c.Admin.Address, c.Status.Address = "unix:/run/poise.sock", "127.0.0.1:9901"
	tcp := func(s string) net.Addr { a, _ := net.ResolveTCPAddr("tcp", s); return a }
	for _, one := range []struct {
		name  string
		bound net.Addr
		want  string
	}{
		{"0", tcp("127.0.0.1:1"), "127.0.0.1:8080"},
		{"1", tcp("127.0.0.1:1"), ":8443"},
		{"2", tcp("127.0.0.1:1"), ""},
		{"admin", tcp("127.0.0.1:1"), "admin at unix:/run/poise.sock"},
		{"status", tcp("127.0.0.1:1"), "status at 127.0.0.1:9901"},
		{"poise.socket", tcp("127.0.0.1:8080"), "127.0.0.1:8080"},
		{"", tcp("[::]:8443"), ":8443"},
		{"", tcp("0.0.0.0:8443"), ":8443"},
		{"", tcp("127.0.0.1:8443"), ""},
		{"", tcp("127.0.0.2:8080"), ""},
		{"", tcp("127.0.0.1:9901"), "status at 127.0.0.1:9901"},
		{"", &net.UnixAddr{Name: "/run/poise.sock", Net: "unix"}, "admin at unix:/run/poise.sock"},
		{"", &net.UnixAddr{Name: "/run/other.sock", Net: "unix"}, ""},
	} {
		if got := nameOf(one.name, one.bound, c); got != one.want {
			t.Errorf("%q at %v: %q, want %q", one.name, one.bound, got, one.want)
		}
	}
}

func TestSocketsOfAnotherProcess(t *testing.T) {
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("LISTEN_PID", "1")
	all, err := Sockets(&config.Config{})
	if all != nil || err != nil || os.Getenv("LISTEN_FDS") != "" {
		t.Errorf("%v, %v", all, err)
	}
	t.Setenv("LISTEN_FDS", "many")
	t.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
	if _, err := Sockets(&config.Config{}); err == nil {
		t.Error("accepted")
	}
}
