//go:build linux || darwin || freebsd || netbsd || openbsd

package upgrade

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/cmd/poise/internal/sockets"
)

// TestMain plays the new process when a test has started this binary as such.
func TestMain(m *testing.M) {
	if os.Getenv(variable) == "" {
		os.Exit(m.Run())
	}
	os.Exit(func() int {
		p, err := Inherited()
		if err != nil {
			io.WriteString(os.Stderr, err.Error())
			return 2
		}
		switch os.Getenv("PLAY") {
		case "silent":
			time.Sleep(time.Minute)
		case "panic":
			panic("out of luck")
		case "half": // ready, and then it does not serve
			p.Ready()
			return 3
		}
		if err := p.Ready(); err != nil {
			return 4
		}
		p.Serving()
		conn, err := p.Listeners[0].Listener.Accept()
		if err != nil {
			return 5
		}
		io.WriteString(conn, p.Listeners[0].Name+" "+string(p.Handover))
		conn.Close()
		return 0
	}())
}

// play starts this binary as the new process, with a part to play.
func play(t *testing.T, ctx context.Context, part string) (address string, pid int, err error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("PLAY", part)
	var errs bytes.Buffer
	pid, err = Run(ctx, Self(), []sockets.Named{{Name: "one", Listener: l}}, []byte(`{"a":1}`), &errs)
	return l.Addr().String(), pid, err
}

func TestRun(t *testing.T) {
	address, pid, err := play(t, t.Context(), "")
	if err != nil || pid <= 0 {
		t.Fatal(pid, err)
	}
	conn, err := net.Dial("tcp", address) // this process has closed its listener
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); string(got) != `one {"a":1}` {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRunFails(t *testing.T) {
	late := errors.New("too late")
	for part, want := range map[string]string{
		"silent": "too late; it was killed",
		"panic":  "panic: out of luck",
		"half":   "it ended: exit status 3",
	} {
		t.Run(part, func(t *testing.T) {
			ctx := t.Context()
			if part == "silent" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, 200*time.Millisecond, late)
				defer cancel()
			}
			_, pid, err := play(t, ctx, part)
			if pid != 0 || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%d, %v, want %s", pid, err, want)
			}
		})
	}
	if _, err := Run(t.Context(), Program{Path: "/nonexistent/poise"}, nil, nil, io.Discard); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}

func TestEnvironment(t *testing.T) {
	p := Program{Env: []string{"A=1", "LISTEN_FDS=2", "WATCHDOG_PID=3", "NOTIFY_SOCKET=/n", variable + "=9"}}
	if got := strings.Join(p.environment(), " "); got != variable+"=3 A=1 NOTIFY_SOCKET=/n" {
		t.Error(got)
	}
}
