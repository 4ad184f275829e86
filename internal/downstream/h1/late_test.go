package h1

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/downstream"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/engine/virtual"
	"github.com/poise-lb/poise/internal/http1"
	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// inVirtualTime opens a connection whose head and idle limits are ten seconds.
func inVirtualTime(t *testing.T, f func(rt engine.Runtime, c *Conn, client engine.Stream)) {
	w := virtual.New(1)
	w.Go("test", func() {
		near, far := w.Pipe()
		c := open(downstream.Opening{
			Runtime: w.Runtime(), Stream: near,
			Settings: &downstream.Settings{Idle: 10 * time.Second, Head: 10 * time.Second, Limits: limits.Default()},
		}, nil).(*Conn)
		f(w.Runtime(), c, far)
	})
	if err := w.Run(); err != nil {
		t.Error(err)
	}
}

// TestARequestThatIsReadLate: it came in time, but this process, which is short of CPU, reads it when
// the connection counts as idle. A connection on which nothing has come ends then.
func TestARequestThatIsReadLate(t *testing.T) {
	inVirtualTime(t, func(rt engine.Runtime, c *Conn, client engine.Stream) {
		c.Rest()
		io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		rt.Sleep(rt.Now() + 20*time.Second)
		if ready, err := c.Await(true); !ready || err != nil {
			t.Fatalf("%v, %v", ready, err)
		}
		if err := c.Next(new(message.Request), new(downstream.Client)); err != nil {
			t.Fatal(err)
		}
		c.Rest()
		rt.Sleep(rt.Now() + 20*time.Second)
		if ready, err := c.Await(true); ready || err != io.EOF {
			t.Errorf("without a request: %v, %v", ready, err)
		}
	})
}

// TestAHeadThatIsReadLate: its rest comes at the last instant, which is not too late. One that goes on
// in drops is refused all the same.
func TestAHeadThatIsReadLate(t *testing.T) {
	for _, drops := range []bool{false, true} {
		inVirtualTime(t, func(rt engine.Runtime, c *Conn, client engine.Stream) {
			began := rt.Now()
			sending := rt.Fork(func() {
				io.WriteString(client, "GET / HTTP/1.1\r\n")
				if !drops {
					rt.Sleep(began + 10*time.Second)
					io.WriteString(client, "Host: a\r\n\r\n")
					return
				}
				for i := time.Duration(1); rt.Now() < began+time.Minute; i++ {
					rt.Sleep(began + i*time.Second)
					if _, err := io.WriteString(client, "X"); err != nil {
						return
					}
				}
			})
			if ready, err := c.Await(false); !ready || err != nil {
				t.Fatalf("%v, %v", ready, err)
			}
			err := c.Next(new(message.Request), new(downstream.Client))
			var bad *http1.Error
			switch took := rt.Now() - began; {
			case !drops && err != nil:
				t.Errorf("a head that was here at the last instant: %v", err)
			case drops && (!errors.As(err, &bad) || bad.Status != 408 || took > 12*time.Second):
				t.Errorf("a head in drops: %v after %v", err, took)
			}
			c.stream.Close()
			sending.Wait()
		})
	}
}
