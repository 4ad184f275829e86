package zookeeper

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
)

// announce runs a registrar, whose reports are in the channel.
func announce(t *testing.T, s *server, in discovery.Instance, c Config) (reports chan string, stop func()) {
	t.Helper()
	c.Servers = []string{s.address}
	reports = make(chan string, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- NewRegistrar(RegistrarConfig{Config: c, Session: 2 * time.Second}).Run(ctx, in, func(err error) { reports <- fmt.Sprint(err) })
	}()
	stopped := false
	stop = func() {
		if cancel(); !stopped {
			stopped = true
			began := time.Now()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
			if took := time.Since(began); took > removeTime+time.Second {
				t.Errorf("it took %v to end", took)
			}
		}
	}
	t.Cleanup(stop)
	return reports, stop
}

// reported waits for a report with these words; others before it are passed over.
func reported(t *testing.T, reports chan string, words string) {
	t.Helper()
	for deadline := time.After(limit); ; {
		select {
		case got := <-reports:
			if strings.Contains(got, words) {
				return
			}
		case <-deadline:
			t.Fatalf("no report with %q", words)
		}
	}
}

var web = discovery.Instance{Service: "e", ID: "w/1", Address: "10.0.0.1:80", Weight: 3}

const webNode = "/services/e/w%2F1"

func TestRegister(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.timeout = 600
	source := start(t, s.config())
	source.want("")
	reports, stop := announce(t, s, web, Config{})
	reported(t, reports, "<nil>")
	source.want("10.0.0.1:80*3")

	s.cut() // the session lives on, and so does the node
	time.Sleep(300 * time.Millisecond)
	if _, there := s.get(webNode); !there || len(reports) > 0 {
		t.Errorf("there: %v, reports: %d", there, len(reports))
	}
	s.mu.Lock()
	owner := s.nodes[webNode].owner
	s.end(owner)
	for p := range s.conns {
		if p.session == owner {
			p.Close()
		}
	}
	s.mu.Unlock()
	reported(t, reports, "<nil>")
	s.mu.Lock()
	if n := s.nodes[webNode]; n == nil || n.owner == owner {
		t.Errorf("after the session had expired: %+v", n)
	}
	s.mu.Unlock()

	s.delete(webNode) // by somebody's hand: it is made again, at the next look
	reported(t, reports, "<nil>")
	if _, there := s.get(webNode); !there {
		t.Error("the node was not made again")
	}
	stop()
	if _, there := s.get(webNode); there {
		t.Error("the node is still there")
	}
	for deadline := time.After(limit); ; { // whether it saw the moments without is chance
		select {
		case got := <-source.news:
			if got == "" {
				return
			}
		case <-deadline:
			t.Fatal("the source did not see that it is gone")
		}
	}
}

// TestRegisterAtServerThatForgot refuses the session, which has seen more than there is.
func TestRegisterAtServerThatForgot(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.timeout = 600
	for i := range 10 {
		s.set(fmt.Sprint("/x", i), "")
	}
	reports, _ := announce(t, s, web, Config{})
	reported(t, reports, "<nil>")
	address := s.address
	s.stop()
	s.forget()
	s.start(t, address)
	reported(t, reports, "<nil>")
	if _, there := s.get(webNode); !there {
		t.Error("the node is not there")
	}
}

// TestRegisterReplacesItsPredecessor, whose session still runs, in one step; but what
// somebody else makes later is not taken back and forth.
func TestRegisterReplacesItsPredecessor(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.timeout = 600
	s.set(webNode, instanceJSON("10.0.0.9:80", 1))
	source := start(t, s.config())
	source.want("10.0.0.9:80*1")
	reports, stop := announce(t, s, web, Config{})
	reported(t, reports, "<nil>")
	source.want("10.0.0.1:80*3") // and never nothing
	s.mu.Lock()
	s.remove(webNode)
	s.put(webNode, []byte(instanceJSON("10.0.0.8:80", 1)), 99)
	s.mu.Unlock()
	reported(t, reports, "another session")
	stop()
}

func TestRegisterImpossible(t *testing.T) {
	for name, in := range map[string]discovery.Instance{
		"no service":      {Address: "10.0.0.1:80"},
		"a path":          {Service: "a/b", Address: "10.0.0.1:80"},
		"no address":      {Service: "a"},
		"a name":          {Service: "a", Address: "host:80"},
		"a reserved name": {Service: "a", ID: "..", Address: "10.0.0.1:80"},
	} {
		if err := NewRegistrar(RegistrarConfig{}).Run(t.Context(), in, func(error) { t.Error("a report") }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRegisterWithoutServer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.stop()
	reports, stop := announce(t, s, web, Config{Username: "u", Password: "very-secret"})
	select {
	case got := <-reports:
		if !strings.Contains(got, "refused") || strings.Contains(got, "very-secret") {
			t.Errorf("reported %q", got)
		}
	case <-time.After(limit):
		t.Error("no report")
	}
	stop()
}
