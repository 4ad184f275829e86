package faults

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// patience is how long a client waits for an answer: longer than a proxy does by default.
const patience = 75 * time.Second

// An outcome is how one request went.
type outcome struct {
	id     string
	post   bool
	at     time.Duration // when it was due, since the load began
	took   time.Duration
	status int    // 0: there was no answer
	from   string // the endpoint that answered
	reason string // why the proxy answered by itself; Poise says it
	why    string // of no answer
}

func (o *outcome) failed() bool { return o.status != 200 }

// A load is an open loop of requests: each is sent when it is due, whatever became of
// those before. Every fourth is a POST.
type load struct {
	address string
	began   time.Time
	stopped chan struct{}
	running sync.WaitGroup

	mu       sync.Mutex
	idle     []*conn
	outcomes []outcome
}

// conn is a connection to the proxy between two requests.
type conn struct {
	net.Conn
	in *bufio.Reader
}

// startLoad begins to send rate requests a second.
func startLoad(address string, rate int) *load {
	l := &load{address: address, began: time.Now(), stopped: make(chan struct{})}
	l.running.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-l.stopped:
				return
			case <-tick.C:
				l.running.Go(func() { l.one(n) })
			}
		}
	})
	return l
}

// now is the instant on the load's clock.
func (l *load) now() time.Duration { return time.Since(l.began) }

// end stops sending, waits for what is under way, and returns all outcomes.
func (l *load) end() []outcome {
	close(l.stopped)
	l.running.Wait()
	for _, c := range l.idle {
		c.Close()
	}
	return l.outcomes
}

// one sends one request.
func (l *load) one(n int) {
	o := outcome{id: fmt.Sprint(n), post: n%4 == 3, at: l.now()}
	if err := l.ask(&o); err != nil {
		o.status, o.why = 0, err.Error()
	}
	o.took = l.now() - o.at
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes = append(l.outcomes, o)
}

func (l *load) ask(o *outcome) error {
	c, err := l.take()
	if err != nil {
		return err
	}
	c.SetDeadline(time.Now().Add(patience))
	text, method := "GET / HTTP/1.1\r\nHost: a.example\r\n"+requestField+": "+o.id+"\r\n\r\n", "GET"
	if o.post {
		text, method = "POST / HTTP/1.1\r\nHost: a.example\r\n"+requestField+": "+o.id+"\r\nContent-Length: 5\r\n\r\nhello", "POST"
	}
	if _, err := io.WriteString(c, text); err != nil {
		c.Close()
		return err
	}
	r, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.Close()
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Close {
		c.Close()
	} else {
		l.mu.Lock()
		l.idle = append(l.idle, c)
		l.mu.Unlock()
	}
	o.status, o.from, o.reason = r.StatusCode, string(body), r.Header.Get("Poise-Reason")
	return err
}

// take returns a connection: one that has rested for shortest, or a new one.
func (l *load) take() (*conn, error) {
	l.mu.Lock()
	if n := len(l.idle); n > 0 {
		c := l.idle[n-1]
		l.idle = l.idle[:n-1]
		l.mu.Unlock()
		return c, nil
	}
	l.mu.Unlock()
	c, err := net.DialTimeout("tcp", l.address, patience)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, in: bufio.NewReader(c)}, nil
}
