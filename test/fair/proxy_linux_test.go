package fair

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/test/internal/rig"
)

// beProxy is poise on one event loop, at the first address: /load leads to the second, the
// third is probed all the time, and what has no route is answered by the proxy itself.
// SIGUSR1 has it collect garbage every second, or not any more. The fourth argument, if it
// is "first", gives it precedence over the rest of the machine.
func beProxy(args []string) error {
	if len(args) > 3 && args[3] == "first" {
		rig.Prefer()
	}
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	p, err := poise.New(poise.Config{
		Engine: "loop",
		Services: map[string]poise.Service{
			"load":   {Endpoints: []poise.Endpoint{{URL: "http://" + args[1]}}},
			"probed": {Endpoints: []poise.Endpoint{{URL: "http://" + args[2]}}, Health: &poise.Health{Check: "GET /health", Interval: probeEvery}},
		},
		Routes: []poise.Route{
			{Match: poise.Match{Path: "/load"}, Service: "load"},
			{Match: poise.Match{Path: "/probed"}, Service: "probed"},
		},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	go collect()
	return p.Serve(l)
}

// collect collects garbage every second while that is asked for.
func collect() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1)
	for {
		<-told
		for more := true; more; {
			select {
			case <-told:
				more = false
			case <-time.After(time.Second):
				runtime.GC()
			}
		}
	}
}

var answer = []byte("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")

// beOrigin answers every request alike; with "first" before all other work.
func beOrigin(args []string) error {
	if len(args) > 1 && args[1] == "first" {
		rig.Prefer()
	}
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() { // ends with the connection
			defer c.Close()
			for readHead(c) == nil {
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}()
	}
}

var errLong = errors.New("a head that does not end")

// readHead reads a request without content, and nothing behind it.
func readHead(c net.Conn) error {
	var buf [4 << 10]byte
	for n := 0; n < len(buf); {
		m, err := c.Read(buf[n:])
		if err != nil {
			return err
		}
		if n += m; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			return nil
		}
	}
	return errLong
}

// beWitness is an endpoint that is probed. Of each probe it prints how long after the last
// one it came, and how long the proxy took for what was its turn: to send the request once
// it was connected, and to close the connection, which it does when it has its verdict;
// all in microseconds. It is there at once whatever else happens on the machine.
func beWitness(args []string) error {
	rig.Prefer()
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	last := time.Now()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		came := time.Now()
		if readHead(c) == nil {
			asked := time.Now()
			c.Write(answer)
			answered := time.Now()
			c.Read(make([]byte, 1)) // until it is closed
			fmt.Println("probe", came.Sub(last).Microseconds(), (asked.Sub(came) + time.Since(answered)).Microseconds())
			last = came
		}
		c.Close()
	}
}
