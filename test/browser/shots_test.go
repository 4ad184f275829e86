package browser

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/admin"
)

func contains(text string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

// filled is true when a tab has its content, and figures are there.
const filled = `(document.querySelector("#panel .card") && !document.querySelector("#panel .empty:not([hidden])") && document.querySelector("#live.live") || ["#/request", "#/overrides"].includes(location.hash))`

// measured is true when the endpoints of a service have latencies, too.
const measured = filled + ` && /\bms/.test(document.querySelector(".endpoints tbody tr:last-child td.num + td.num")?.innerText)`

// history is true when the first sparkline of a table has that many points, one each five seconds.
func history(table string, points int) string {
	return fmt.Sprintf(`(document.querySelector("%s .spark .line")?.getAttribute("d") || "").split("L").length >= %d`, table, points)
}

// shop is a proxy with a few services, one of which has an endpoint that is ejected.
func shop(t *testing.T) (*world, *backend) {
	t.Helper()
	b := newBackend(t, 9)
	hashed := service(b.URLs[4:7], 400*time.Millisecond)
	hashed.Policy = poise.Policy{Type: "consistent_hash", Key: "path_segment(2)"}
	hashed.Endpoints[0].Weight = 2
	w := newWorld(t, poise.Config{
		Services: map[string]poise.Service{
			"carts": service(b.URLs[:4], 400*time.Millisecond), "users": hashed, "search": service(b.URLs[7:], 400*time.Millisecond),
		},
		Routes: []poise.Route{
			{Name: "carts-v1", Match: poise.Match{Path: "/carts/**"}, Service: "carts"},
			{Name: "users-v1", Match: poise.Match{Path: "/users/**"}, Service: "users"},
			{Match: poise.Match{Path: "/search/**"}, Service: "search"},
		},
	}, admin.Options{Origin: "poise.yaml"})
	// So many users that each endpoint has some: where a key belongs depends on the ports.
	var paths []string
	for user := 0; user < 60; user += 6 {
		for n := range 6 {
			paths = append(paths, fmt.Sprintf("/users/%d", user+n))
		}
		paths = append(paths, "/carts/2", "/search/x", "/carts/5", "/nowhere")
	}
	w.load(100, paths...)
	return w, b
}

// Pictures for people: they are looked at, and used by the documents.
func TestShots(t *testing.T) {
	t.Parallel()
	w, b := shop(t)
	b.down[3].Store(true)
	page := open(t, "en-US", 1280, 800, w.URL(""))
	page.until("an ejected endpoint", `document.querySelector("#wrong .warn") && document.querySelectorAll(".services tbody tr").length === 3`)
	page.until("some history", history(".services", 5))
	page.shot("services-light")
	page.click("#theme")
	page.shot("services-dark")
	for _, place := range []string{"services/carts", "routes", "events", "request", "config"} {
		page.visit(place)
		page.until("content", filled)
		page.shot(strings.ReplaceAll(place, "/", "-") + "-dark")
	}
	page.click("#theme")
	page.visit("services/carts")
	page.until("content", measured+" && "+history(".summary", 3))
	page.do(chromedp.EmulateViewport(1280, 510)) // docs/dashboard.png
	page.shot("services-carts-light")
	page.do(chromedp.EmulateViewport(1280, 800))
	page.click("#language")
	page.visit("services/carts")
	page.until("content", measured)
	page.shot("services-carts-zh")
	page.click("[data-main]")
	page.shot("change-zh")
	page.press("\x1b")
	for _, place := range []string{"services", "services/users", "events", "request", "overrides", "config"} {
		page.visit(place)
		page.until("content", filled)
		page.shot(strings.ReplaceAll(place, "/", "-") + "-zh")
	}
	phone := open(t, "en-US", 390, 844, w.URL(""))
	phone.until("content", filled)
	phone.shot("phone")
	phone.visit("services/carts")
	phone.until("content", measured)
	phone.shot("phone-carts")
	phone.visit("services/users")
	phone.until("content", measured+` && document.querySelector(".ring")`)
	phone.shot("phone-users")
	phone.visit("request")
	phone.until("content", filled)
	phone.click(".request .primary")
	phone.until("the explanation", `document.querySelector(".tried")`)
	phone.shot("phone-request")
	phone.visit("events")
	phone.until("content", filled)
	phone.shot("phone-events")
}

func TestShotsMany(t *testing.T) {
	t.Parallel()
	b := newBackend(t, 1000)
	c := poise.Config{Services: map[string]poise.Service{}}
	for i := range 200 {
		name := fmt.Sprintf("service-%03d", i)
		c.Services[name] = service(b.URLs[i*3:i*3+2+i%2], 5*time.Second)
		c.Routes = append(c.Routes, poise.Route{Match: poise.Match{Path: "/" + name + "/**"}, Service: name})
	}
	c.Services["large"] = service(b.URLs, 5*time.Second)
	c.Routes = append(c.Routes, poise.Route{Match: poise.Match{Path: "/large/**"}, Service: "large"})
	w := newWorld(t, c, admin.Options{})
	for i := range 8 {
		b.down[i*97].Store(true)
	}
	w.load(200, "/service-001/", "/large/", "/service-120/", "/large/")
	page := open(t, "en-US", 1280, 800, w.URL(""))
	page.until("all services, and what is wrong", `document.querySelectorAll(".services tbody tr").length === 201 && document.querySelectorAll("#wrong li.warn").length === 4`)
	page.until("some history", history(".services", 3))
	page.shot("many-services")
	page.visit("services/large")
	page.until("the ejected ones first", filled+` && document.querySelectorAll(".endpoints tr.ejected").length === 8 && document.querySelectorAll(".endpoints tbody tr").length === 250`)
	page.shot("many-endpoints")
	page.do(chromedp.EmulateViewport(390, 844))
	page.shot("phone-many-endpoints")
	page.visit("services")
	page.until("all services again", `document.querySelectorAll(".services tbody tr").length === 201`)
	page.shot("phone-many-services")
	page.do(chromedp.EmulateViewport(1280, 800))
	page.visit("services/large")
	page.until("the first rows", `document.querySelectorAll(".endpoints tbody tr").length === 250`)
	page.click(".endpoints ~ .more")
	page.until("all of them", `document.querySelectorAll(".endpoints tbody tr").length === 1000`)
	// A second's work must leave the page responsive: it is measured as the browser sees it.
	page.do(chromedp.Sleep(100 * time.Millisecond))
	slow := run(page, chromedp.Evaluate[float64](`new Promise(done => {
		let most = 0, last = performance.now(), until = last + 4000;
		const look = at => { most = Math.max(most, at - last); last = at; at < until ? requestAnimationFrame(look) : done(most); };
		requestAnimationFrame(look);
	})`, chromedp.EvalAwaitPromise))
	t.Logf("the longest frame with 1,000 rows took %.0f ms", slow)
	if slow > 10_000 { // it hangs; how fast it is depends on the machine
		t.Errorf("a frame took %.0f ms", slow)
	}
}
