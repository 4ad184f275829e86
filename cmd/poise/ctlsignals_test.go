package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCtlEnds by SIGTERM and SIGINT: while it follows events, and while a server does not answer.
func TestCtlEnds(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		for _, args := range []string{"events -f", "status"} {
			asked, quit := make(chan struct{}, 8), make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/api/v1/events" {
					w.Write([]byte(`{"events":[]}`))
					return
				}
				asked <- struct{}{}
				select {
				case <-r.Context().Done():
				case <-quit:
				}
			}))
			p := launch(t, append([]string{"ctl", "--server", server.URL}, strings.Fields(args)...)...)
			select {
			case <-asked:
			case <-time.After(patience):
				t.Fatalf("ctl %s has not asked", args)
			}
			p.cmd.Process.Signal(sig)
			select {
			case <-p.done:
			case <-time.After(patience):
				t.Fatalf("ctl %s goes on after %v", args, sig)
			}
			if code := p.cmd.ProcessState.ExitCode(); args != "status" && code != 0 {
				t.Errorf("ctl %s: exit code %d after %v", args, code, sig)
			}
			close(quit)
			server.Close()
		}
	}
}
