package live

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/test/internal/rig"
)

// nameField is the field of an answer that says which endpoint gave it, by its address.
const nameField = "X-Endpoint"

// A cast is what one process of endpoints serves and announces.
type cast struct {
	Kind      string // which registrar; empty: nothing is announced
	Server    string // of the registry
	Token     string // for it, if it always wants one
	Lease     time.Duration
	Instances []discovery.Instance
	Mute      bool // only announces: another process serves
}

// linger is how long an endpoint that has left the registry still serves, as services do
// that wait for their last callers.
const linger = 5 * time.Second

// apart is between the first announcements of a process: instances do not start all at once.
const apart = 5 * time.Millisecond

// An announcer is the Run of a registrar.
type announcer func(ctx context.Context, in discovery.Instance, report func(error)) error

// announcers makes registrars by kind.
var announcers = map[string]func(cast) announcer{
	"etcd": announceEtcd, "consul": announceConsul, "nacos": announceNacos,
	"eureka": announceEureka, "zookeeper": announceZookeeper, "kubernetes": announceKubernetes,
}

// serveEndpoints is a process of its own: HTTP endpoints that register themselves, and
// leave at SIGTERM.
func serveEndpoints() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var c cast
	if err := json.NewDecoder(os.Stdin).Decode(&c); err != nil {
		fmt.Println(err)
		return 2
	}
	s := &http.Server{Handler: http.HandlerFunc(answer)}
	for _, in := range c.Instances {
		if c.Mute {
			break
		}
		l, err := net.Listen("tcp", in.Address)
		if err != nil {
			fmt.Println(err)
			return 2
		}
		go s.Serve(l) // until Shutdown
	}
	fmt.Println("serving")
	var announced sync.WaitGroup
	if c.Kind != "" {
		announce := announcers[c.Kind](c)
		for i, in := range c.Instances {
			if i > 0 {
				time.Sleep(apart)
			}
			announced.Go(func() {
				err := announce(ctx, in, func(err error) {
					if err != nil {
						fmt.Printf("away %s: %v\n", in.Address, err)
						return
					}
					fmt.Printf("announced %s\n", in.Address)
				})
				if err != nil {
					fmt.Printf("never %s: %v\n", in.Address, err)
				}
			})
		}
	}
	<-ctx.Done()
	announced.Wait()
	fmt.Println("removed")
	time.Sleep(linger)
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.Shutdown(end)
	return 0
}

func answer(w http.ResponseWriter, r *http.Request) {
	address := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	w.Header().Set(nameField, address.String())
	fmt.Fprintf(w, "this is %s\n", address)
}

// launch starts a process of endpoints and waits until they are announced.
func launch(t *testing.T, c cast) *rig.Process {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := rig.Start(t, rig.Command{Path: self, Env: []string{roleVar + "=endpoints"}, Stdin: newReader(text)})
	await(t, p, "(?m)^serving$")
	return p
}

// await is what Await of a process is, for the step t of a story, which the process may
// outlive.
func await(t *testing.T, p *rig.Process, pattern string) {
	t.Helper()
	for limit := time.Now().Add(startTime); ; time.Sleep(5 * time.Millisecond) {
		ended := p.Ended() // asked first: what it printed before counts
		if p.Said(pattern) > 0 {
			return
		}
		if ended || time.Now().After(limit) {
			t.Fatalf("it did not say %s, but:\n%.4000s", pattern, p.Text())
		}
	}
}

// announcedAll waits until a process has announced n instances.
func announcedAll(t *testing.T, p *rig.Process, n int, within time.Duration) {
	t.Helper()
	for limit := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		if p.Said("(?m)^announced ") >= n {
			return
		}
		if time.Now().After(limit) || p.Ended() {
			t.Fatalf("%d of %d instances are announced:\n%.2000s", p.Said("(?m)^announced "), n, p.Text())
		}
	}
}
