package browser

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/admin"
)

// What only some services have, as an operator sees it: queues, lanes, clients that stay, outliers.

// pictures takes one of each look of the page: light, dark, and on a phone.
func (b *tab) pictures(name string, high int64) {
	b.Helper()
	b.do(chromedp.EmulateViewport(1280, high))
	b.shot(name)
	b.click("#theme")
	b.shot(name + "-dark")
	b.click("#theme")
	b.do(chromedp.EmulateViewport(390, 844))
	b.shot(name + "-phone")
	b.do(chromedp.EmulateViewport(1280, high))
}

// asked has a request explained in the tab for it.
func (b *tab) asked(url, fields string) {
	b.Helper()
	b.visit("request")
	b.until("the form", `document.querySelector(".request input")`)
	ask[string](b, "document.querySelector('.request input').value = `"+url+"`")
	ask[string](b, "document.querySelector('.request textarea').value = `"+fields+"`")
	b.click(".request .primary")
}

// A valve answers when it is open; closed, it has requests wait for an answer.
type valve struct {
	mu     sync.Mutex
	opened chan struct{}
}

func (v *valve) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	opened := v.opened
	v.mu.Unlock()
	select {
	case <-opened:
	case <-r.Context().Done():
	}
}

func (v *valve) open() { v.mu.Lock(); close(v.opened); v.mu.Unlock() }

// A service that is full: how many attempts are under way and how many requests wait, at the service and
// at its endpoint, and that nothing waits any more when it answers.
func TestQueueOnThePage(t *testing.T) {
	t.Parallel()
	v := &valve{opened: make(chan struct{})}
	endpoint := httptest.NewServer(v)
	t.Cleanup(endpoint.Close)
	w := newWorld(t, poise.Config{
		Services: map[string]poise.Service{"orders": {
			Endpoints: []poise.Endpoint{{URL: endpoint.URL}},
			Overload:  poise.Overload{MaxInFlight: 3, EndpointMaxInFlight: poise.EndpointLimit{Limit: "4"}, Queue: &poise.Queue{Length: 5, Timeout: time.Hour}},
			Retry:     poise.Retry{Attempts: 1},
		}},
		Routes: []poise.Route{{Service: "orders"}},
	}, admin.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	var refused atomic.Int64
	for range 9 { // three attempts, five that wait, one that is refused
		all.Go(func() {
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, w.front.URL, nil)
			if res, err := http.DefaultClient.Do(r); err == nil {
				if res.Body.Close(); res.StatusCode == http.StatusServiceUnavailable {
					refused.Add(1)
				}
			}
		})
	}
	page := open(t, "en-US", 1280, 560, w.URL("#/services/orders"))
	page.until("what is under way and what waits", shows("p.more", "3 of 3 attempts at once")+" && "+shows("p.more", "5 of 5 waiting")+" && "+shows("p.more", "1 refused by the queue"))
	page.until("the endpoint's limit", shows(".endpoints td.num", "3 of 4"))
	page.pictures("queue", 560)
	page.click("#language")
	page.until("the same in Chinese", shows("p.more", "排队 5 / 5"))
	page.shot("queue-zh")
	page.click("#language")
	v.open()
	page.until("that nothing waits", shows("p.more", "0 of 5 waiting")+" && "+shows("p.more", "on average")+" && "+shows("p.more", "0 of 3 attempts"))
	if n := refused.Load(); n != 1 {
		t.Errorf("%d requests were refused", n)
	}
}

// Lanes: their endpoints are marked, and a request by a field of its own is explained and sent to one.
func TestLanesOnThePage(t *testing.T) {
	t.Parallel()
	b := newBackend(t, 3)
	s := service(b.URLs, 400*time.Millisecond)
	s.Endpoints[2].Metadata = map[string]string{"version": "v2"}
	s.Lanes = &poise.Lanes{By: "header(X-Version)", Label: "version", Otherwise: "unlabelled"}
	w := newWorld(t, poise.Config{Services: map[string]poise.Service{"carts": s}, Routes: []poise.Route{{Service: "carts"}}}, admin.Options{})
	w.load(20, "/")
	page := open(t, "en-US", 1280, 640, w.URL("#/services/carts"))
	page.until("the lanes", shows("p.more", "lane v2: 1 of 1 usable")+" && "+shows("p.more", "lane –: 2 of 2 usable"))
	page.until("the endpoint's lane", shows(b.row(2)+" .tag", "v2")+" && !"+shows(b.row(1)+" .tag", "v2"))
	page.until("figures", filled)
	page.pictures("lanes", 640)
	page.asked("/carts/7", "X-Version: v2")
	page.until("that it gets its lane", shows(".explained p", "endpoints with ")+" && "+"[...document.querySelectorAll(`.explained .endpoints tr`)].some(r => r.innerText.includes(`"+b.URLs[2]+"`) && r.innerText.includes(`100\u00a0%`))")
	page.pictures("lanes-request", 1100)
	b.down[2].Store(true)
	w.waitFor("carts", b.URLs[2], "ejected")
	page.visit("services/carts")
	page.until("a lane without endpoints", shows("p.more", "lane v2: 0 of 1 usable"))
	page.asked("/carts/7", "X-Version: v2")
	page.until("where it goes then", shows(".explained p", "no usable endpoint has "))
	page.shot("lanes-request-missed")
}

// A client that stays: the cookie is explained for a first request, and for the next one.
func TestStickyOnThePage(t *testing.T) {
	t.Parallel()
	b := newBackend(t, 3)
	s := service(b.URLs, 400*time.Millisecond)
	s.Sticky = &poise.Sticky{Cookie: "lb"}
	w := newWorld(t, poise.Config{Services: map[string]poise.Service{"carts": s}, Routes: []poise.Route{{Service: "carts"}}}, admin.Options{})
	res, err := http.Get(w.front.URL)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	cookie, _, _ := strings.Cut(res.Header.Get("Set-Cookie"), ";")
	if !strings.HasPrefix(cookie, "lb=") {
		t.Fatalf("the cookie is %q", cookie)
	}
	page := open(t, "en-US", 1280, 640, w.URL("#/services/carts"))
	page.until("the client that was bound", shows("p.more", "cookies: new 1, moved 0, unknown 0"))
	page.asked("/", "")
	page.until("a client without a cookie", shows(".explained p", "lb: the request has none"))
	page.asked("/", "Cookie: "+cookie)
	page.until("the client that has one", shows(".explained p", " gets the request, whatever"))
	page.pictures("sticky-request", 1100)
	page.asked("/", "Cookie: lb=AAAAAAAAAAE")
	page.until("a cookie that names none", shows(".explained p", "lb: it names no endpoint"))
}

// An endpoint that fails more often than the others is ejected as an outlier, which is said beside it,
// and returns when it is well.
func TestOutlierOnThePage(t *testing.T) {
	t.Parallel()
	var ill atomic.Bool
	ill.Store(true)
	var urls []string
	for i := range 4 {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if i == 0 && ill.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		t.Cleanup(server.Close)
		urls = append(urls, server.URL)
	}
	s := poise.Service{
		Policy:  poise.Policy{Type: "round_robin"}, // the default sends such an endpoint next to nothing
		Breaker: poise.Breaker{ConsecutiveFailures: 1_000_000, MinRequests: 5, OpenFor: time.Second, Outliers: &poise.Outliers{}},
		Retry:   poise.Retry{Attempts: 1},
	}
	for _, u := range urls {
		s.Endpoints = append(s.Endpoints, poise.Endpoint{URL: u})
	}
	w := newWorld(t, poise.Config{Services: map[string]poise.Service{"users": s}, Routes: []poise.Route{{Service: "users"}}}, admin.Options{})
	w.load(100, "/")
	page := open(t, "en-US", 1280, 640, w.URL("#/services/users"))
	row := "tr:has([title^='" + urls[0] + "'])"
	page.until("the outlier, and why", shows(row, "ejected")+" && "+shows(row, "an outlier among its peers")+" && "+shows("#wrong li.warn", "1 of 4 endpoints ejected"))
	page.pictures("outlier", 640)
	ill.Store(false)
	page.until("its return", shows(row, "healthy")+" && "+shows("#wrong", "Nothing is wrong"))
	page.visit("events")
	page.until("both events", shows(".events tr", "Endpoint ejected")+" && "+shows(".events tr", "Endpoint healthy"))
}
