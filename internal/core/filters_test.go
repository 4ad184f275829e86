package core

import (
	"strings"
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/filter"
	"github.com/poise-lb/poise/internal/message"
)

// TestAPanicOfAFilterIsLogged with its place and its name, and counted once.
func TestAPanicOfAFilterIsLogged(t *testing.T) {
	failing := filter.Filter{
		Name: "failing", Slot: filter.Auth,
		Request: func(x *filter.Exchange) *message.Reply {
			if string(x.Request.Path) == "/bad" {
				panic("no luck")
			}
			return nil
		},
		Response: func(x *filter.Exchange, r *message.Response) {
			if string(x.Request.Path) == "/late" {
				panic("no luck")
			}
		},
	}
	c := config.Config{
		Services: map[string]config.Service{"s": {Endpoints: []config.Endpoint{{URL: "http://10.0.0.1:80"}}}},
		Routes:   []config.Route{{Service: "s", Filters: []filter.Filter{failing}}},
	}
	inWorld(t, c, func(w *world) {
		w.serve("10.0.0.1:80")
		for _, path := range []string{"/bad", "/late"} {
			w.log.Reset()
			w.answers(path, "500 internal-error")
			log := w.log.String()
			if n := strings.Count(log, "panic in an exchange"); n != 1 || !strings.Contains(log, "filter=auth/failing") || !strings.Contains(log, "filters_test.go") {
				t.Errorf("%s: %d panics in the log: %s", path, n, log)
			}
		}
		w.answers("/good", "200 10.0.0.1:80 /good")
		if total := w.proxy.Totals(); total.Classes[5] != 2 || total.Classes[2] != 1 {
			t.Errorf("%+v", total)
		}
	})
}
