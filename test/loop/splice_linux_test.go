package loop

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise"
)

// Large bodies with a length are spliced on a loop; the goroutine engine copies them. To
// both everything here happens alike.

// patient is how long one connection may take: much moves here, and others may be at work.
const patient = 4 * patience

// content is n bytes that differ from all others.
func content(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// A pace is how a peer reads or writes: in pieces, with pauses between some of them.
type pace struct {
	piece, every int
	pause        time.Duration
}

var paces = []pace{{1 << 20, 1, 0}, {1000, 100, 0}, {30_000, 8, 2 * time.Millisecond}}

func (p pace) copy(dst io.Writer, src io.Reader, n int) error {
	for i := 1; n > 0; i++ {
		m := min(n, p.piece)
		if _, err := io.CopyN(dst, src, int64(m)); err != nil {
			return err
		}
		if n -= m; p.pause > 0 && i%p.every == 0 {
			time.Sleep(p.pause)
		}
	}
	return nil
}

// endpoint answers on raw connections until the test ends. answer does one request and
// reports whether another one may follow.
func endpoint(t *testing.T, answer func(c *net.TCPConn, in *bufio.Reader, r *http.Request) bool) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() { l.Close(); open.Wait() })
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patient))
				in := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(in)
					if err != nil || !answer(c.(*net.TCPConn), in, r) {
						return
					}
				}
			})
		}
	})
	return l.Addr().String()
}

// A subject is a proxy of one of the engines.
type subject struct {
	*testing.T
	address string
	log     string // the access log's file
	lines   int    // of it that were read
}

// eachEngine runs a test on both engines, in front of one endpoint.
func eachEngine(t *testing.T, change func(c *poise.Config), answer func(c *net.TCPConn, in *bufio.Reader, r *http.Request) bool, test func(s *subject)) {
	for _, engine := range []string{"loop", "goroutine"} {
		t.Run(engine, func(t *testing.T) {
			s := &subject{T: t, log: filepath.Join(t.TempDir(), "access.log")}
			c := poise.Config{
				HalfClose: "leave", // a FIN is how clients of these tests leave
				Services: map[string]poise.Service{"all": {
					Endpoints: []poise.Endpoint{{URL: "http://" + endpoint(t, answer)}},
				}},
				Routes:    []poise.Route{{Service: "all"}},
				Logger:    slog.New(slog.NewTextHandler(io.Discard, nil)),
				AccessLog: poise.AccessLog{Path: s.log},
				Engine:    engine,
			}
			if change != nil {
				change(&c)
			}
			s.address = serveOn(t, c).listener.Addr().String()
			test(s)
		})
	}
}

func (s *subject) dial() (*net.TCPConn, *bufio.Reader) {
	s.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patient))
	return c.(*net.TCPConn), bufio.NewReader(c)
}

// A line is what the access log says of an exchange.
type line struct {
	Status   int
	Reason   string
	BytesIn  int64 `json:"bytes_in"`
	BytesOut int64 `json:"bytes_out"`
	Attempts []struct{ Reason string }
}

// logged waits for the next line of the access log.
func (s *subject) logged() (l line) {
	s.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		text, _ := os.ReadFile(s.log)
		if lines := bytes.SplitAfter(text, []byte("\n")); len(lines) > s.lines+1 {
			if err := json.Unmarshal(lines[s.lines], &l); err != nil {
				s.Fatalf("%q: %v", lines[s.lines], err)
			}
			s.lines++
			return l
		}
		if time.Now().After(end) {
			s.Fatal("nothing is logged")
		}
	}
}

func number(r *http.Request, name string) int {
	n, _ := strconv.Atoi(r.Header.Get(name))
	return n
}

// repeatBack reads the content, and then sends X-Size bytes of its own and the content back,
// at the pace that the request says; echo does so while it reads.
func repeatBack(c *net.TCPConn, in *bufio.Reader, r *http.Request) bool {
	var up bytes.Buffer
	if paces[number(r, "X-Pace")].copy(&up, r.Body, int(r.ContentLength)) != nil {
		return false
	}
	r.Body = io.NopCloser(&up)
	return echo(c, in, r)
}

func echo(c *net.TCPConn, _ *bufio.Reader, r *http.Request) bool {
	size, seed, p := number(r, "X-Size"), uint64(number(r, "X-Seed")), paces[number(r, "X-Pace")]
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Seed: %d\r\n\r\n", int64(size)+r.ContentLength, seed)
	return p.copy(c, bytes.NewReader(content(seed+1, size)), size) == nil && p.copy(c, r.Body, int(r.ContentLength)) == nil
}

var sizes = []int{0, 1, 20_000, 64<<10 - 1, 64 << 10, 64<<10 + 1, 80_000, 256 << 10, 256<<10 + 1, 1 << 20, 3<<20 + 17}

// TestBodiesArriveWhole: random bodies both ways at any pace, requests pipelined behind
// uploads, on connections that are kept; each answer has its own request's bytes.
func TestBodiesArriveWhole(t *testing.T) { bodiesArrive(t, repeatBack, 3, 4) }

// TestBodiesCrossWhole: an answer comes while the content is still under way, and is the
// last of its connection.
func TestBodiesCrossWhole(t *testing.T) { bodiesArrive(t, echo, 1, 1) }

func bodiesArrive(t *testing.T, answer func(c *net.TCPConn, in *bufio.Reader, r *http.Request) bool, requests, visits int) {
	const workers = 6
	perWorker := 12
	if raceEnabled || testing.Short() {
		perWorker = 6 // every byte is looked at twice
	}
	eachEngine(t, nil, answer, func(s *subject) {
		var group sync.WaitGroup
		for worker := range workers {
			group.Go(func() {
				chance := rand.New(rand.NewPCG(uint64(worker), 17))
				for round := range max(perWorker/requests/visits, 1) {
					c, in := s.dial()
					for visit := range visits {
						if err := converse(c, in, chance, requests, uint64(1000*worker+100*round+10*visit)); err != nil {
							s.Errorf("worker %d, round %d, visit %d: %v", worker, round, visit, err)
							return
						}
					}
					c.Close()
				}
			})
		}
		group.Wait()
		for range workers * max(perWorker/requests/visits, 1) * requests * visits {
			if s.Failed() {
				return
			}
			if l := s.logged(); l.Status != 200 || l.Reason != "" {
				s.Errorf("%+v", l)
			}
		}
	})
}

// converse sends requests, one behind the other without waiting, and reads the answers.
func converse(c net.Conn, in *bufio.Reader, chance *rand.Rand, requests int, seed uint64) error {
	type turn struct {
		up, down []byte
		head     string
	}
	turns := make([]turn, requests)
	for i := range turns {
		seed := seed + uint64(i)
		up, down := sizes[chance.IntN(len(sizes))], sizes[chance.IntN(len(sizes))]
		turns[i] = turn{content(seed, up), content(seed+1, down), fmt.Sprintf(
			"PUT /%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nX-Size: %d\r\nX-Seed: %d\r\nX-Pace: %d\r\n\r\n", seed, up, down, seed, chance.IntN(len(paces)))}
	}
	writer, reader := paces[chance.IntN(len(paces))], paces[chance.IntN(len(paces))]
	sent := make(chan error, 1)
	go func() { // ends when all is sent, or with the connection
		var all []byte
		for _, t := range turns {
			all = append(append(all, t.head...), t.up...)
		}
		sent <- writer.copy(c, bytes.NewReader(all), len(all))
	}()
	for i, t := range turns {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			return fmt.Errorf("%q: %w", t.head, err)
		}
		var got bytes.Buffer
		err = reader.copy(&got, r.Body, int(r.ContentLength))
		if want := append(t.down, t.up...); err != nil || r.StatusCode != 200 || r.Header.Get("X-Seed") != fmt.Sprint(seed+uint64(i)) || !bytes.Equal(got.Bytes(), want) {
			return fmt.Errorf("%q: status %d, seed %s, %d bytes of %d, %v", t.head, r.StatusCode, r.Header.Get("X-Seed"), got.Len(), len(want), err)
		}
	}
	return <-sent
}

// TestWhatIsSpliced: a body that is not read stays in a pipe; if it is not large, or has
// no length, or is an event stream, or the engine copies, there is none.
func TestWhatIsSpliced(t *testing.T) {
	const size = 32 << 20
	kinds := map[string]string{
		"/plain":   fmt.Sprintf("Content-Length: %d\r\n\r\n", size),
		"/events":  fmt.Sprintf("Content-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n", size),
		"/chunked": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", size),
		"/close":   "Connection: close\r\n\r\n",
	}
	eachEngine(t, nil, func(c *net.TCPConn, in *bufio.Reader, r *http.Request) bool {
		io.WriteString(c, "HTTP/1.1 200 OK\r\n"+kinds[r.URL.Path])
		c.Write(make([]byte, size))
		return false
	}, func(s *subject) {
		for path := range kinds {
			before := pipes(s)
			c, in := s.dial()
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
			if _, err := in.Peek(1); err != nil {
				s.Fatal(err)
			}
			if path == "/plain" && strings.HasSuffix(s.Name(), "/loop") {
				for end := time.Now().Add(patience); pipes(s) == before; time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						s.Fatal("nothing is spliced")
					}
				}
			} else {
				time.Sleep(50 * time.Millisecond)
				if n := pipes(s); n != before {
					s.Errorf("%s: %d ends of pipes more", path, n-before)
				}
			}
			c.SetLinger(0)
			c.Close()
			s.logged() // so the exchange is over
		}
	})
}

// pipes is the number of ends of pipes that this process has open.
func pipes(s *subject) (n int) {
	s.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range all {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

// TestAResponseBreaksOff: after what has come, which arrives; the log says how much, and
// whose fault it was.
func TestAResponseBreaksOff(t *testing.T) {
	const size = 2 << 20
	for name, test := range map[string]struct {
		end    func(c *net.TCPConn, in *bufio.Reader)
		reason string
		stall  time.Duration
	}{
		"FIN":     {func(c *net.TCPConn, _ *bufio.Reader) {}, "endpoint-closed", 0},
		"RST":     {func(c *net.TCPConn, _ *bufio.Reader) { time.Sleep(20 * time.Millisecond); c.SetLinger(0) }, "endpoint-reset", 0},
		"silence": {func(_ *net.TCPConn, in *bufio.Reader) { in.ReadByte() }, "endpoint-timeout", 200 * time.Millisecond},
	} {
		for _, at := range []int{100_000, 1<<20 + 1} {
			t.Run(fmt.Sprint(name, " at ", at), func(t *testing.T) {
				eachEngine(t, func(c *poise.Config) { c.Timeouts.Stall = test.stall }, func(c *net.TCPConn, in *bufio.Reader, r *http.Request) bool {
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
					c.Write(content(7, at))
					test.end(c, in)
					return false
				}, func(s *subject) {
					c, in := s.dial()
					began := time.Now()
					io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
					r, err := http.ReadResponse(in, nil)
					if err != nil {
						s.Fatal(err)
					}
					got, err := io.ReadAll(r.Body)
					if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix(content(7, at), got) {
						s.Errorf("%d bytes, %v", len(got), err)
					}
					if name == "FIN" && len(got) != at { // otherwise the endpoint's own system may drop some, or be late
						s.Errorf("%d bytes", len(got))
					}
					if took := time.Since(began); took < test.stall {
						s.Errorf("after %v", took)
					}
					if l := s.logged(); l.Status != 200 || l.Reason != test.reason || l.BytesOut != int64(len(got)) {
						s.Errorf("%d bytes, %+v", len(got), l)
					}
				})
			})
		}
	}
}

// TestARouteBoundsTheWhole: however well content moves. On a busy machine the shortest
// bounds may already be over before the head has come, and say nothing.
func TestARouteBoundsTheWhole(t *testing.T) {
	bounds := map[string]time.Duration{"/a": 300 * time.Millisecond, "/b": time.Second, "/c": 5 * time.Second}
	eachEngine(t, func(c *poise.Config) {
		c.Routes = nil
		for path, bound := range bounds {
			c.Routes = append(c.Routes, poise.Route{Match: poise.Match{Path: path}, Service: "all", Timeout: bound})
		}
	}, func(c *net.TCPConn, in *bufio.Reader, r *http.Request) bool {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 1<<30)
		for {
			if _, err := c.Write(make([]byte, 50_000)); err != nil {
				return false
			}
			time.Sleep(10 * time.Millisecond)
		}
	}, func(s *subject) {
		for _, path := range []string{"/a", "/b", "/c"} {
			c, in := s.dial()
			began := time.Now()
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				s.Fatal(err)
			}
			n, err := io.Copy(io.Discard, r.Body)
			l := s.logged()
			if r.StatusCode == 504 || n < 200_000 {
				continue
			}
			if took := time.Since(began); took < bounds[path] || took > patience/2 || !errors.Is(err, io.ErrUnexpectedEOF) {
				s.Errorf("%d bytes after %v, %v", n, took, err)
			}
			if l.Reason != "endpoint-timeout" {
				s.Errorf("%+v", l)
			}
			return
		}
		s.Skip("the machine is too busy")
	})
}

// TestAClientOfALargeBodyLeaves: in good order, without, or by not reading any more; its
// endpoint is let go of.
func TestAClientOfALargeBodyLeaves(t *testing.T) {
	const stall = time.Second
	for name, leave := range map[string]func(c *net.TCPConn){
		"FIN":     func(c *net.TCPConn) { c.CloseWrite() },
		"close":   func(c *net.TCPConn) { c.Close() },
		"RST":     func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
		"silence": func(c *net.TCPConn) {},
	} {
		for _, idle := range []bool{false, true} {
			if idle && name == "silence" {
				continue
			}
			t.Run(fmt.Sprint(name, ", nothing comes: ", idle), func(t *testing.T) {
				left := make(chan bool, 1)
				bounds := func(c *poise.Config) {
					if !idle { // a copying task notices a FIN only after that
						c.Timeouts.Stall = stall
					}
				}
				eachEngine(t, bounds, func(c *net.TCPConn, in *bufio.Reader, r *http.Request) bool {
					fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 1<<30)
					c.Write(make([]byte, 300_000))
					for err := error(nil); err == nil && !idle; {
						_, err = c.Write(make([]byte, 1<<20))
					}
					in.ReadByte()
					left <- true
					return false
				}, func(s *subject) {
					c, in := s.dial()
					io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
					if _, err := io.ReadFull(in, make([]byte, 200_000)); err != nil {
						s.Fatal(err)
					}
					leave(c)
					select {
					case <-left:
					case <-time.After(patience):
						s.Fatal("the endpoint was not told")
					}
					if l := s.logged(); l.Status != 200 || l.Reason != "client-gone" && l.Reason != "client-timeout" {
						s.Errorf("%+v", l)
					}
				})
			})
		}
	}
}

// readUpload reads a request's content and says what it was.
func readUpload(c *net.TCPConn, _ *bufio.Reader, r *http.Request) bool {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		return false
	}
	answer := fmt.Sprintf("%d %x", n, sum.Sum(nil))
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
	return true
}

func put(c net.Conn, method string, length int, fields string) {
	fmt.Fprintf(c, "%s /up HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n", method, length, fields)
}

// TestAnUploadArrives: and is counted, whole requests behind it are answered, and a client
// that waits for 100 (Continue) gets it.
func TestAnUploadArrives(t *testing.T) {
	const size = 2 << 20
	eachEngine(t, nil, readUpload, func(s *subject) {
		c, in := s.dial()
		for _, fields := range []string{"", "Expect: 100-continue\r\n"} {
			put(c, "POST", size, fields)
			if fields != "" {
				if r, err := http.ReadResponse(in, nil); err != nil || r.StatusCode != 100 {
					s.Fatal(r, err)
				}
			}
			body := content(3, size)
			go func() { c.Write(body); put(c, "POST", 0, "") }() // ends with the connection
			for _, want := range [][]byte{body, nil} {
				r, err := http.ReadResponse(in, nil)
				if err != nil {
					s.Fatal(err)
				}
				got, _ := io.ReadAll(r.Body)
				if string(got) != fmt.Sprintf("%d %x", len(want), sha256.Sum256(want)) {
					s.Errorf("%s", got)
				}
				if l := s.logged(); l.BytesIn != int64(len(want)) || l.Reason != "" {
					s.Errorf("%+v", l)
				}
			}
		}
	})
}

// TestAnUploadBreaksOff: by its client. Nothing of what it says is taken for a request.
func TestAnUploadBreaksOff(t *testing.T) {
	const stall = 400 * time.Millisecond
	for name, test := range map[string]struct {
		leave  func(c *net.TCPConn)
		status int
		reason string
	}{
		"FIN":     {func(c *net.TCPConn) { c.CloseWrite() }, 0, "client-gone"},
		"RST":     {func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, 0, "client-gone"},
		"silence": {func(c *net.TCPConn) {}, 408, "client-timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			cut := make(chan int64, 1)
			eachEngine(t, func(c *poise.Config) { c.Timeouts.Stall = stall }, func(c *net.TCPConn, _ *bufio.Reader, r *http.Request) bool {
				n, err := io.Copy(io.Discard, r.Body)
				if err == nil {
					n = -1
				}
				cut <- n
				return false
			}, func(s *subject) {
				c, in := s.dial()
				put(c, "POST", 1<<20, "")
				c.Write(make([]byte, 500_000))
				time.Sleep(50 * time.Millisecond) // some of it has passed
				test.leave(c)
				if n := <-cut; n < 0 || n > 500_000 {
					s.Errorf("the endpoint has read %d bytes", n)
				}
				if test.status > 0 {
					if r, err := http.ReadResponse(in, nil); err != nil || r.StatusCode != test.status {
						s.Error(r, err)
					}
				}
				if l := s.logged(); l.Status != test.status || l.Reason != test.reason || l.BytesIn > 500_000 {
					s.Errorf("%+v", l)
				}
			})
		})
	}
}

// TestAnEndpointOfAnUploadDies: a request is not sent again, whatever its method, when its
// content is gone; neither in part nor when all of it was sent.
func TestAnEndpointOfAnUploadDies(t *testing.T) {
	const read = 300_000
	for _, test := range []struct {
		method string
		size   int
	}{{"POST", 8 << 20}, {"PUT", 8 << 20}, {"PUT", read}} {
		t.Run(fmt.Sprint(test.method, " ", test.size), func(t *testing.T) {
			die := func(c *net.TCPConn, _ *bufio.Reader, r *http.Request) bool {
				io.CopyN(io.Discard, r.Body, read)
				c.SetLinger(0)
				return false
			}
			another := poise.Endpoint{URL: "http://" + endpoint(t, die)}
			eachEngine(t, func(c *poise.Config) {
				all := c.Services["all"]
				all.Endpoints = append(all.Endpoints, another)
				c.Services["all"] = all
			}, die, func(s *subject) {
				c, in := s.dial()
				put(c, test.method, test.size, "")
				go c.Write(make([]byte, test.size)) // ends with the connection
				r, err := http.ReadResponse(in, nil)
				if err != nil || r.StatusCode != 502 {
					s.Fatal(r, err)
				}
				if test.size > read && !r.Close {
					s.Error("the connection is kept, with content to come")
				}
				if l := s.logged(); l.Status != 502 || len(l.Attempts) != 1 || !strings.HasPrefix(l.Reason, "endpoint-") || l.BytesIn < read {
					s.Errorf("%+v", l)
				}
			})
		})
	}
}

// TestAnEarlyAnswer: to a part of the content. The client gets it, with the field that
// says that the connection ends; the rest of the content is not taken for a request.
func TestAnEarlyAnswer(t *testing.T) {
	const size = 24 << 20
	for _, answer := range []int{10, 500_000} {
		t.Run(fmt.Sprint(answer, " bytes"), func(t *testing.T) {
			eachEngine(t, nil, func(c *net.TCPConn, in *bufio.Reader, r *http.Request) bool {
				io.CopyN(io.Discard, r.Body, 200_000)
				fmt.Fprintf(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: %d\r\n\r\n", answer)
				c.Write(content(5, answer))
				io.Copy(io.Discard, in) // until the proxy gives up
				return false
			}, func(s *subject) {
				c, in := s.dial()
				put(c, "POST", size, "")
				go func() { // ends with the connection
					c.Write(bytes.Repeat([]byte("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"), 10_000))
				}()
				r, err := http.ReadResponse(in, nil)
				if err != nil {
					s.Fatal(err)
				}
				got, err := io.ReadAll(r.Body)
				if err != nil || r.StatusCode != 413 || !r.Close || !bytes.Equal(got, content(5, answer)) {
					s.Errorf("status %d, close: %v, %d bytes, %v", r.StatusCode, r.Close, len(got), err)
				}
				if rest, err := io.ReadAll(in); len(rest) > 0 {
					s.Errorf("more: %.100q, %v", rest, err)
				}
				if l := s.logged(); l.Status != 413 || l.BytesOut != int64(answer) || l.BytesIn < 200_000 {
					s.Errorf("%+v", l)
				}
			})
		})
	}
}

// TestAHeadOfALargeBody: has a length and no content.
func TestAHeadOfALargeBody(t *testing.T) {
	eachEngine(t, nil, func(c *net.TCPConn, _ *bufio.Reader, r *http.Request) bool {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 1<<20)
		return true
	}, func(s *subject) {
		c, in := s.dial()
		for range 3 {
			io.WriteString(c, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
			r, err := http.ReadResponse(in, &http.Request{Method: "HEAD"})
			if err != nil || r.StatusCode != 200 || r.ContentLength != 1<<20 {
				s.Fatal(r, err)
			}
		}
	})
}
