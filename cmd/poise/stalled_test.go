//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// endsWithin is how long the process may take to end in these tests: the drain time is
// set to it, and nothing is to wait that long.
const endsWithin = 15 * time.Second

// fullPipe is a pipe that is not read and has no room.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	w.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	w.Write(make([]byte, 16<<20)) // until the deadline
	if err := syscall.SetNonblock(int(w.Fd()), false); err != nil {
		t.Fatal(err)
	}
	return w
}

// launchInto starts the binary with these outputs.
func launchInto(t *testing.T, stdout, stderr *os.File, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...), out: &lines{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() { p.cmd.Process.Kill(); <-p.done })
	return p
}

// endsSoon demands that the process ends by itself, with that code.
func (p *process) endsSoon(code int) {
	p.t.Helper()
	select {
	case <-p.done:
		if got := p.cmd.ProcessState.ExitCode(); got != code {
			p.t.Errorf("exit code %d (%v), want %d", got, p.cmd.ProcessState, code)
		}
	case <-time.After(endsWithin):
		p.t.Fatal("poise does not end")
	}
}

// logging is the file with everything logged that can be.
func logging(url, listen, log string) string {
	return file(url, listen) + fmt.Sprintf("log: {level: debug}\naccess_log: {path: %q, buffer: 64}\ntimeouts: {drain: %v}\n", log, endsWithin)
}

// TestOutputThatIsNotRead: neither standard output nor standard error is; the process
// serves, reloads and ends as ever.
func TestOutputThatIsNotRead(t *testing.T) {
	a, b := endpoint(t, "a"), endpoint(t, "b")
	address := unusedAddress(t)
	path := write(t, filepath.Join(t.TempDir(), "poise.yaml"), logging(a.URL, address, "-"))
	p := launchInto(t, fullPipe(t), fullPipe(t), "run", "-c", path)
	leads(t, "http://"+address+"/", "a")
	for range 200 { // more than the buffer of the log takes
		fetch("http://" + address + "/")
	}
	write(t, path, logging(b.URL, address, "-"))
	leads(t, "http://"+address+"/", "b") // by itself
	write(t, path, logging(a.URL, address, "-"))
	p.signal(syscall.SIGHUP)
	leads(t, "http://"+address+"/", "a")
	p.signal(syscall.SIGTERM)
	p.endsSoon(0)
}

// TestOutputThatIsClosed: the reader of the access log is gone; that is no reason to end.
func TestOutputThatIsClosed(t *testing.T) {
	a := endpoint(t, "a")
	address := unusedAddress(t)
	path := write(t, filepath.Join(t.TempDir(), "poise.yaml"), logging(a.URL, address, "-"))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	p := launchInto(t, w, w, "run", "-c", path)
	for range 5 {
		leads(t, "http://"+address+"/", "a")
	}
	p.signal(syscall.SIGTERM)
	p.endsSoon(0)
}

// TestFullDisk: the access log cannot be written.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	a := endpoint(t, "a")
	path := write(t, filepath.Join(t.TempDir(), "poise.yaml"), logging(a.URL, "127.0.0.1:0", "/dev/full"))
	p := ready(t, "run", "-c", path)
	leads(t, p.urls[0], "a")
	p.say("access log cannot be written, lines are lost.*no space left")
	p.signal(syscall.SIGTERM)
	p.exit(0)
	if n := strings.Count(p.out.String(), "cannot be written"); n != 1 {
		t.Errorf("said %d times", n)
	}
	p.say("access log has lost lines")
}

// hang puts a file there whose reader waits for ever.
func hang(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path+".pipe", 0o600); err != nil {
		t.Skip(err)
	}
	if err := os.Rename(path+".pipe", path); err != nil {
		t.Fatal(err)
	}
}

// TestSignalWhileAReloadHangs: the file is on a disk that does not answer any more.
func TestSignalWhileAReloadHangs(t *testing.T) {
	a := endpoint(t, "a")
	path := write(t, filepath.Join(t.TempDir(), "poise.yaml"), file(a.URL, "127.0.0.1:0"))
	p := ready(t, "run", "-c", path)
	hang(t, path)
	p.signal(syscall.SIGHUP)
	p.signal(syscall.SIGHUP)
	leads(t, p.urls[0], "a")
	p.signal(syscall.SIGTERM)
	p.exit(0)
}

// TestSignalWhileTheStartHangs likewise.
func TestSignalWhileTheStartHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "poise.yaml")
	hang(t, path)
	p := launch(t, "run", "-c", path)
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		w, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil { // it reads
			defer w.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("poise does not read its file")
		}
	}
	p.signal(syscall.SIGTERM)
	p.exit(0)
}

// TestDrainDelay: at SIGTERM requests are served for a time, and their connections end.
func TestDrainDelay(t *testing.T) {
	a := endpoint(t, "a")
	for _, engine := range []string{"loop", "goroutine", "std"} {
		t.Run(engine, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "poise.yaml"), file(a.URL, "127.0.0.1:0")+"timeouts: {drain_delay: 1s}\n")
			p := ready(t, "run", "-c", path, "--engine", engine)
			address := strings.TrimPrefix(p.urls[0], "http://")
			p.signal(syscall.SIGTERM)
			p.say("stopping")
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
			conn.SetReadDeadline(time.Now().Add(patience))
			b := make([]byte, 4096)
			n, _ := conn.Read(b)
			if head := string(b[:n]); !strings.HasPrefix(head, "HTTP/1.1 200 ") || !strings.Contains(strings.ToLower(head), "\r\nconnection: close\r\n") {
				t.Errorf("in the delay: %q", head)
			}
			closes(t, address)
			p.exit(0)
		})
	}
}

// TestStoppingLosesNothing: clients that keep their connections and send requests that must
// not be repeated notice the drain by the responses, if it is longer than they think.
func TestStoppingLosesNothing(t *testing.T) {
	a := endpoint(t, "a")
	const clients, think = 60, 100 * time.Millisecond
	for _, engine := range []string{"loop", "goroutine", "std"} {
		t.Run(engine, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "poise.yaml"), file(a.URL, "127.0.0.1:0")+"timeouts: {drain_delay: 2s}\n")
			p := ready(t, "run", "-c", path, "--engine", engine)
			address := strings.TrimPrefix(p.urls[0], "http://")
			var lost, told atomic.Int64
			var busy, all sync.WaitGroup
			busy.Add(clients)
			for range clients {
				all.Go(func() {
					if keepPosting(t, address, think, busy.Done) {
						told.Add(1)
					} else {
						lost.Add(1)
					}
				})
			}
			busy.Wait()
			p.signal(syscall.SIGTERM)
			all.Wait()
			p.exit(0)
			if lost.Load() > 0 || told.Load() != clients {
				t.Errorf("%d of %d connections lost a request", lost.Load(), clients)
			}
		})
	}
}

// keepPosting sends requests on one connection until a response says that it is the last,
// which it reports, or one is lost. begun is called after the first.
func keepPosting(t *testing.T, address string, think time.Duration, begun func()) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		begun()
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	for n := 0; ; n++ {
		_, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
		var r *http.Response
		if err == nil {
			r, err = http.ReadResponse(in, nil)
		}
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		if n == 0 {
			begun()
		}
		if err != nil || r.StatusCode != http.StatusOK {
			t.Logf("request %d: %v", n, err)
			return false
		}
		if r.Close {
			return true
		}
		time.Sleep(rand.N(think))
	}
}
