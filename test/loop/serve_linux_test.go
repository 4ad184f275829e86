package loop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// patience is how long is waited for what takes a moment.
const patience = 30 * time.Second

// start starts a proxy before endpoints with the given handler, and ends it in good order.
func start(t *testing.T, loops int, h http.HandlerFunc) (p *proxy, url string) {
	t.Helper()
	var addresses []string
	for range 2 {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		addresses = append(addresses, s.Listener.Addr().String())
	}
	p = newProxy(t, loops, addresses...)
	return p, "http://" + p.listener.Addr().String()
}

// TestContentArrivesWhole: requests and responses of all sizes and framings, many at a
// time, over loops that are fewer than clients.
func TestContentArrivesWhole(t *testing.T) {
	p, url := start(t, 3, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("X-Sum", fmt.Sprintf("%x", sha256.Sum256(body)))
		if r.URL.Query().Has("flush") {
			w.(http.Flusher).Flush() // chunked
		}
		w.Write(body)
	})
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(worker), 11))
			for i := range 25 {
				body := make([]byte, []int{0, 1, 100, 5000, 70_000, 1 << 20}[chance.IntN(6)])
				for i := range body {
					body[i] = byte(chance.Uint32())
				}
				var content io.Reader = bytes.NewReader(body)
				if chance.IntN(2) == 0 {
					content = io.MultiReader(content) // of unknown length: chunked
				}
				path := url + "/echo"
				if chance.IntN(2) == 0 {
					path += "?flush=1"
				}
				r, err := client.Post(path, "application/octet-stream", content)
				if err != nil {
					t.Errorf("worker %d, request %d: %v", worker, i, err)
					return
				}
				got, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil || !bytes.Equal(got, body) || r.Header.Get("X-Sum") != fmt.Sprintf("%x", sha256.Sum256(body)) {
					t.Errorf("worker %d, request %d: %d of %d bytes, %v", worker, i, len(got), len(body), err)
				}
			}
		})
	}
	group.Wait()
	client.CloseIdleConnections()
	if !p.close(false) {
		t.Error("idle connections were not drained")
	}
}

// TestAClientThatLeavesIsNoticed: while it waits, by the endpoint.
func TestAClientThatLeavesIsNoticed(t *testing.T) {
	came, left := make(chan bool, 1), make(chan error, 1)
	_, url := start(t, 2, func(w http.ResponseWriter, r *http.Request) {
		came <- true
		<-r.Context().Done()
		left <- r.Context().Err()
	})
	for range 4 {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		<-came
		c.Close()
		select {
		case <-left:
		case <-time.After(patience):
			t.Fatal("the endpoint was not told")
		}
	}
}

// TestTunnel: after 101 bytes go both ways, until both sides have ended.
func TestTunnel(t *testing.T) {
	_, url := start(t, 2, func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly ")
		rw.Flush()
		io.Copy(c, rw)
		c.(*net.TCPConn).CloseWrite()
	})
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	in := bufio.NewReader(c)
	r, err := http.ReadResponse(in, nil)
	if err != nil || r.StatusCode != 101 {
		t.Fatal(r, err)
	}
	text := strings.Repeat("round and round ", 40_000)
	go func() { io.WriteString(c, text); c.(*net.TCPConn).CloseWrite() }() // ends with the connection
	if all, err := io.ReadAll(in); err != nil || string(all) != "early "+text {
		t.Errorf("%d of %d bytes, %v", len(all), len("early ")+len(text), err)
	}
}

// TestDrainWaits: an exchange under way ends, and then the proxy does.
func TestDrainWaits(t *testing.T) {
	came, goOn := make(chan bool), make(chan bool)
	p, url := start(t, 2, func(w http.ResponseWriter, r *http.Request) {
		came <- true
		<-goOn
		io.WriteString(w, "in the end")
	})
	answer := make(chan string, 1)
	go func() { // ends with the answer
		r, err := http.Get(url)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer r.Body.Close()
		text, _ := io.ReadAll(r.Body)
		answer <- string(text)
	}()
	<-came
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	drained := make(chan bool, 1)
	go func() { drained <- p.close(false) }() // ends when drained
	goOn <- true
	select {
	case ok := <-drained:
		if text := <-answer; !ok || text != "in the end" {
			t.Errorf("drained: %v, %q", ok, text)
		}
	case <-ctx.Done():
		buf := make([]byte, 1<<20)
		t.Fatalf("does not end\n%s", buf[:runtime.Stack(buf, true)])
	}
}

// TestForwardAllocates: a proxied request on connections that are kept allocates nothing;
// client, endpoint and loop are all in this process.
func TestForwardAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends when l is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answer(c)
		}
	}()
	p := newProxy(t, 1, l.Addr().String())
	c, err := rig.Dial(p.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request := []byte("GET /some/path?and=query HTTP/1.1\r\nHost: x\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n")
	do := func() {
		if a, err := c.Do(request); err != nil || a.Status != 200 {
			t.Fatal(a.Status, err)
		}
	}
	for range 100 {
		do()
	}
	if n := testing.AllocsPerRun(2000, do); n > 0 {
		t.Errorf("%v allocations per request", n)
	}
}

var response = []byte("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")

// answer answers every request alike and allocates nothing for it.
func answer(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 16<<10)
	for n := 0; ; {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		if n += m; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			n = 0
			if _, err := c.Write(response); err != nil {
				return
			}
		}
	}
}

// TestNothingIsLeftBehind: after many connections that ended in every way.
func TestNothingIsLeftBehind(t *testing.T) {
	before, open := runtime.NumGoroutine(), descriptors(t)
	p, url := start(t, 2, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) })
	var group sync.WaitGroup
	for worker := range 6 {
		group.Go(func() {
			for i := range 40 {
				c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
				if err != nil {
					t.Error(err)
					return
				}
				c.SetDeadline(time.Now().Add(patience))
				path := fmt.Sprintf("/%d/%d", worker, i)
				fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
				if i%4 == 0 { // leaves at once, without manners
					c.(*net.TCPConn).SetLinger(0)
				} else if r, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
					t.Error(err)
				} else if text, err := io.ReadAll(r.Body); err != nil || string(text) != path {
					t.Errorf("%q, %v, want %q", text, err, path)
				}
				c.Close()
			}
		})
	}
	group.Wait()
	if !p.close(false) {
		t.Error("not drained")
	}
	// What the endpoints keep, two listeners and their connections, ends with the test.
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before+20 || descriptors(t) > open+20; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines of %d, %d descriptors of %d", runtime.NumGoroutine(), before, descriptors(t), open)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
