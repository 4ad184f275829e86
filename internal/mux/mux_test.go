package mux

// Both roles against each other: requests with and without content, many at once, on the virtual
// engine in many orders of tasks and sizes of segments, and on goroutines. What the other side
// of a real peer does is for the scripts; here nothing may be lost, mixed up, or left behind.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/goroutine"
	"github.com/poise-lb/poise/internal/engine/virtual"
	"github.com/poise-lb/poise/internal/message"
)

// read is the task that reads, on a stream that cannot rest. serve gets each stream that is opened.
func read(c *Conn, serve func(*Stream)) error {
	for {
		s, err := c.Next()
		if err != nil {
			return err
		}
		if s != nil {
			serve(s)
			continue
		}
		c.Rest()
		if err := c.Fill(); err != nil {
			return err
		}
	}
}

// echo answers with the request's content, and its length as a trailer.
func echo(rt engine.Runtime, s *Stream) error {
	defer s.Close()
	by := func() time.Duration { return rt.Now() + time.Minute }
	r := message.Response{Status: 200, Fields: []message.Field{message.NewField("Echoes", string(s.Request.Path))}}
	if err := s.SendResponse(&r, false, by()); err != nil {
		return err
	}
	n := 0
	for {
		p, err := s.Content(true, by())
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		n += len(p)
		if err := s.Write(p, by()); err != nil {
			return err
		}
		s.Flush()
	}
	return s.End([]message.Field{message.NewField("Length", strconv.Itoa(n))})
}

// call sends a request with that much content in pieces of any size, and checks the echo.
func call(rt engine.Runtime, c *Conn, name string, size int, r *rand.Rand) error {
	by := func() time.Duration { return rt.Now() + time.Minute }
	s, err := c.Open(by())
	if err != nil {
		return err
	}
	defer s.Close()
	q := message.Request{Method: []byte("POST"), Path: []byte("/" + name), Host: []byte("a.example"), Body: message.Chunked}
	s.SendRequest(&q, "http", false)
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	sending := rt.Fork(func() {
		for left := content; len(left) > 0; {
			n := min(len(left), 1+r.IntN(40<<10))
			if err = s.Write(left[:n], by()); err != nil {
				return
			}
			left = left[n:]
		}
		err = s.End(nil)
	})
	bad := receive(s, name, content, by)
	sending.Wait()
	return errors.Join(err, bad)
}

func receive(s *Stream, name string, content []byte, by func() time.Duration) error {
	var head message.Response
	if err := s.ReadHead(&head, by()); err != nil {
		return fmt.Errorf("head: %w", err)
	}
	if v, _ := message.Get(head.Fields, "Echoes"); head.Status != 200 || string(v) != "/"+name {
		return fmt.Errorf("status %d, echoes %s", head.Status, v)
	}
	var got []byte
	for {
		p, err := s.Content(true, by())
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("content after %d: %w", len(got), err)
		}
		got = append(got, p...)
	}
	if !bytes.Equal(got, content) {
		return fmt.Errorf("%d bytes came back of %d", len(got), len(content))
	}
	if v, _ := message.Get(s.Trailers(), "Length"); string(v) != strconv.Itoa(len(content)) {
		return fmt.Errorf("trailer %q of %d", v, len(content))
	}
	return nil
}

// both runs calls over a connection whose two ends are near and far, and returns when all is over.
func both(t *testing.T, rt engine.Runtime, near, far engine.Stream, seed uint64, calls, largest int) {
	waits := Timeouts{Head: time.Minute, Idle: time.Hour, Stall: time.Minute}
	server := New(&Options{Runtime: rt, Stream: far, Spares: NewSpares(1), Server: true, Timeouts: waits})
	client := New(&Options{Runtime: rt, Stream: near, Spares: NewSpares(1), Timeouts: waits})
	server.Flush()
	client.Flush()
	var mu sync.Mutex
	var tasks []engine.Join
	serving := rt.Fork(func() {
		read(server, func(s *Stream) {
			j := rt.Fork(func() {
				if err := echo(rt, s); err != nil {
					t.Error("server:", err)
				}
			})
			mu.Lock()
			tasks = append(tasks, j)
			mu.Unlock()
		})
		server.Close()
	})
	reading := rt.Fork(func() { read(client, nil); client.Close() })
	var all []engine.Join
	for i := range calls {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		all = append(all, rt.Fork(func() {
			size := min([]int{0, 5, 300, 16 << 10, 200 << 10}[r.IntN(5)], largest)
			if err := call(rt, client, strconv.Itoa(i), size, r); err != nil {
				t.Errorf("seed %d, call %d of %d bytes: %v", seed, i, size, err)
			}
		}))
	}
	for _, j := range all {
		j.Wait()
	}
	client.Leave()
	reading.Wait()
	serving.Wait()
	for _, j := range tasks {
		j.Wait()
	}
	for _, c := range []*Conn{client, server} {
		if c.opened != 0 || len(c.streams) != 0 || c.budget != budgetBytes || c.spares.held.Load() != 0 {
			t.Errorf("left behind: %d opened, %d streams, budget %d, held %d", c.opened, len(c.streams), c.budget, c.spares.held.Load())
		}
	}
}

func TestBothRoles(t *testing.T) {
	for seed := range uint64(40) {
		w := virtual.New(seed)
		w.SegmentMax = []int{0, 1000, 17}[seed%3]
		largest := []int{1 << 20, 40 << 10, 1 << 10}[seed%3]
		w.Go("test", func() {
			near, far := w.Pipe()
			both(t, w.Runtime(), near, far, seed, 30, largest)
		})
		if err := w.Run(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if t.Failed() {
			return
		}
	}
}

func TestBothRolesOnGoroutines(t *testing.T) {
	for seed := range uint64(4) {
		rt := goroutine.New()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		both(t, rt, rt.Stream(near), rt.Stream(far), seed, 90, 1<<20)
	}
}
