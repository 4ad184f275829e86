package browser

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/poise-lb/poise"
)

// axe finds what people with disabilities would stumble over. Nothing of it may be serious, in
// either theme, in any tab, on a phone.
func TestAccessible(t *testing.T) {
	t.Parallel()
	file := os.Getenv("POISE_AXE")
	if file == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		file = filepath.Join(cache, "poise-browser", "package", "axe.min.js")
	}
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: make browser fetches axe-core", err)
	}
	w, b := shop(t)
	b.down[1].Store(true)
	w.waitFor("carts", b.URLs[1], "ejected")
	// It finds what is wrong with a page that has been spoiled, so that finding nothing says something.
	spoiled := open(t, "en-US", 1280, 900, w.URL(""))
	spoiled.until("content", `document.querySelector("#wrong .warn")`)
	ask[string](spoiled, `document.querySelector("#about").style.color = "#ccc", document.querySelector("#panel").append(document.createElement("button")), ""`)
	if found := spoiled.violations(string(source), ""); len(found) < 2 {
		t.Fatalf("of a page with pale text and a button without a name axe says: %v", found)
	}
	w.proxy.Override(poise.OverrideRequest{Service: "carts", Endpoint: b.URLs[2], Kind: "weight", Weight: 2})
	for _, wide := range []int{1280, 390} {
		page := open(t, "en-US", wide, 900, w.URL(""))
		for _, rules := range []string{"", "color-contrast"} { // of the dark theme only the colours are others
			for _, place := range []string{"services", "services/carts", "services/users", "routes", "events", "request", "overrides", "config"} {
				page.visit(place)
				page.until("content", `document.querySelector("#panel .card") && document.querySelector("#wrong .warn") && !document.querySelector("#panel .empty:not([hidden])") || location.hash === "#/request"`)
				page.axe(string(source), rules, place)
			}
			page.visit("services/carts")
			page.until("a button", `document.querySelector(".actions button")`)
			page.click(".actions button")
			page.until("the dialog", `document.querySelector("dialog[open]")`)
			page.axe(string(source), rules, "dialog")
			page.press(escape)
			if wide < 760 {
				break // the colours are those of a desktop
			}
			page.click("#theme")
		}
	}
}

// A violation is a rule that the page breaks.
type violation struct {
	ID, Impact, Help string
	Nodes            []string
}

// violations checks the page as it is, by one rule, or by all: "".
func (b *tab) violations(source, rule string) (found []violation) {
	b.Helper()
	only := ""
	if rule != "" {
		only = `, runOnly: ["` + rule + `"]`
	}
	check := `;axe.run(document, {resultTypes: ["violations"]` + only + `}).then(r => JSON.stringify(r.violations.map(v =>
		({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + " " + n.failureSummary)}))))`
	text := run(b, chromedp.Evaluate[string](source+check, chromedp.EvalAwaitPromise))
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		b.Fatal(err)
	}
	return found
}

// axe fails the test for what is serious, and logs the rest.
func (b *tab) axe(source, rule, place string) {
	b.Helper()
	for _, f := range b.violations(source, rule) {
		if f.Impact == "serious" || f.Impact == "critical" {
			b.Errorf("%s: %s: %s (%s): %q", place, f.Impact, f.Help, f.ID, f.Nodes)
		} else {
			b.Logf("%s: %s: %s (%s): %q", place, f.Impact, f.Help, f.ID, f.Nodes)
		}
	}
}
