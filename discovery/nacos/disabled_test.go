package nacos

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poise-lb/poise/discovery/internal/fakes"
)

// disable changes whether an instance is enabled, as an operator does.
func (f *fake) disable(address string, off bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.services[webSubject][address]["enabled"] = !off
	f.changed(webSubject)
}

// Servers do not list instances that are disabled. They are out nevertheless, not missing,
// whether changes are pushed or polled; also when all are, and when they return.
func TestDisabledInstancesAreOut(t *testing.T) {
	for mode := range 3 {
		synctest.Test(t, func(t *testing.T) {
			n := fakes.NewNetwork()
			f := newFake(t, n)
			switch mode {
			case 1:
				f.version3 = true
			case 2: // polling
				f.stopGRPC()
			}
			for i := range 3 {
				f.put(webSubject, host(fmt.Sprint("10.0.0.", i+1), 80, ""))
			}
			l, stop := start(t, New(Config{Servers: []string{"one:8848"}, Every: time.Second, dial: n.Dial}, webConfig))
			defer stop()
			time.Sleep(5 * time.Second) // the time of grace is over
			expect := func(out string) {
				t.Helper()
				time.Sleep(fakePushDelay + 2*time.Second)
				updates := l.take()
				if len(updates) != 1 || updates[0].Err != nil || len(updates[0].Endpoints) != 3 || outs(updates[0]) != out {
					t.Fatalf("published %+v, want three endpoints with %q out", updates, out)
				}
			}
			l.take()
			f.disable("10.0.0.1:80", true)
			expect("10.0.0.1:80")
			time.Sleep(2 * time.Minute) // it is asked for again
			if more := l.take(); len(more) != 0 {
				t.Fatalf("published %+v without a change", more)
			}
			f.set(func() {
				f.services[webSubject]["10.0.0.2:80"]["enabled"] = false
				f.services[webSubject]["10.0.0.3:80"]["enabled"] = false
				f.changed(webSubject)
			})
			expect("10.0.0.1:80 10.0.0.2:80 10.0.0.3:80")
			f.disable("10.0.0.1:80", false)
			expect("10.0.0.2:80 10.0.0.3:80")
			f.drop(webSubject, "10.0.0.2:80") // one that is disabled may go
			f.disable("10.0.0.3:80", false)
			time.Sleep(fakePushDelay + 2*time.Second)
			updates := l.take()
			if last := updates[len(updates)-1]; len(last.Endpoints) != 2 || outs(last) != "" {
				t.Fatalf("published %+v", updates)
			}
		})
	}
}

// Where the HTTP interface cannot be asked, instances that are not listed are missing, and
// changes come no later for that.
func TestDisabledWithoutTheHTTPInterface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := fakes.NewNetwork()
		f := newFake(t, n)
		for i := range 3 {
			f.put(webSubject, host(fmt.Sprint("10.0.0.", i+1), 80, ""))
		}
		l, stop := start(t, New(Config{Servers: []string{"one:8848"}, dial: n.Dial}, webConfig))
		defer stop()
		time.Sleep(5 * time.Second)
		l.take()
		f.set(func() { f.webless = true })
		for i := range 2 {
			f.disable(fmt.Sprintf("10.0.0.%d:80", i+1), true)
			time.Sleep(fakePushDelay + 10*time.Millisecond)
			if got := l.take(); len(got) != 1 || len(got[0].Endpoints) != 2-i || outs(got[0]) != "" {
				t.Fatalf("published %+v", got)
			}
		}
		f.set(func() { f.webless = false })
		time.Sleep(inquireAgain)
		f.disable("10.0.0.3:80", true)
		time.Sleep(fakePushDelay + 10*time.Millisecond)
		if got := l.take(); len(got) != 1 || outs(got[0]) != "10.0.0.3:80" {
			t.Fatalf("published %+v", got)
		}
	})
}
