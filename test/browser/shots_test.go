package browser

import (
	"fmt"
	"strings"
	"testing"
	"time"

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

// shop is a proxy with a few services, one of which has an endpoint that is ejected.
func shop(t *testing.T) (*world, *backend) {
	t.Helper()
	b := newBackend(t, 9)
	w := newWorld(t, poise.Config{
		Services: map[string]poise.Service{
			"carts": service(b.URLs[:4], 200*time.Millisecond), "users": service(b.URLs[4:7], 200*time.Millisecond), "search": service(b.URLs[7:], 200*time.Millisecond),
		},
		Routes: []poise.Route{
			{Name: "carts-v1", Match: poise.Match{Path: "/carts/**"}, Service: "carts"},
			{Name: "users-v1", Match: poise.Match{Path: "/users/**"}, Service: "users"},
			{Match: poise.Match{Path: "/search/**"}, Service: "search"},
		},
	}, admin.Options{Origin: "poise.yaml"})
	w.load(100, "/users/1", "/carts/2", "/users/3", "/search/x", "/nowhere")
	return w, b
}

// Pictures for people: they are looked at, and used by the documents.
func TestShots(t *testing.T) {
	w, b := shop(t)
	b.down[3].Store(true)
	page := open(t, "en-US", 1280, 800, w.URL(""))
	page.until("an ejected endpoint", `document.querySelector("#wrong .warn") && document.querySelectorAll(".services tbody tr").length === 3`)
	time.Sleep(14 * time.Second)
	page.shot("services-light")
	page.click("#theme")
	page.shot("services-dark")
	for _, place := range []string{"services/carts", "routes", "events", "request", "config"} {
		page.visit(place)
		time.Sleep(2500 * time.Millisecond)
		page.shot(strings.ReplaceAll(place, "/", "-") + "-dark")
	}
	page.click("#theme")
	page.click("#language")
	page.visit("services/carts")
	time.Sleep(2500 * time.Millisecond)
	page.shot("services-carts-zh")
	page.click("[data-main]")
	page.shot("change-zh")
	page.press("\x1b")
	phone := open(t, "en-US", 390, 844, w.URL(""))
	time.Sleep(4 * time.Second)
	phone.shot("phone")
	phone.visit("services/carts")
	time.Sleep(2 * time.Second)
	phone.shot("phone-carts")
}

func TestShotsMany(t *testing.T) {
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
	time.Sleep(18 * time.Second)
	page.shot("many-services")
	page.visit("services/large")
	time.Sleep(8 * time.Second)
	page.shot("many-endpoints")
}
