package browser

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/admin"
)

const (
	enter  = "\r"
	escape = "\x1b"
	tabKey = "\t"
)

// shows is an expression: what a selector finds has that text in it.
func shows(selector, text string) string {
	return "[...document.querySelectorAll(`" + selector + "`)].some(e => e.innerText.replaceAll(`\u00a0`, ` `).includes(`" + text + "`))"
}

// row is the row of the endpoint of that number, in the table of endpoints.
func (b *backend) row(i int) string {
	return "tr:has([title^='" + b.URLs[i] + "'])"
}

// An endpoint fails its probes, is seen as ejected with the reason, and returns.
func TestEjectedAndReturned(t *testing.T) {
	t.Parallel()
	w, b := shop(t)
	page := open(t, "en-US", 1280, 800, w.URL(""))
	page.until("nothing wrong", shows("#wrong", "Nothing is wrong")+" && "+shows(".services tr", "4 of 4"))
	b.down[2].Store(true)
	page.until("what is wrong", shows("#wrong li.warn", "1 of 4 endpoints ejected")+" && "+shows("#wrong li", "status 503"))
	page.until("its place in the table", shows(".services tbody tr:first-child", "carts")+" && "+shows(".services tbody tr:first-child", "1 ejected"))
	page.until("words for screen readers", `document.querySelector("#wrong [aria-live]").textContent.includes("carts: 1 of 4")`)
	page.click("#wrong a")
	page.until("the endpoint with its reason", shows(b.row(2), "ejected")+" && "+shows(b.row(2), "by probes")+" && "+shows(b.row(2), "status 503"))
	page.until("the timeline", `document.querySelector("`+b.row(2)+` .timeline .ejected")`)
	page.until("no share expected", shows(b.row(2)+" .shares", "0.0 %"))
	page.shot("endpoint-ejected")
	b.down[2].Store(false)
	page.until("its return", shows(b.row(2), "healthy")+" && "+shows("#wrong", "Nothing is wrong"))
	page.visit("events")
	page.until("both events", shows(".events tr", "Endpoint ejected")+" && "+shows(".events tr", "Endpoint healthy"))
}

// Retries, hedges and a shadow of a service are a line of its own, and nothing while there are none;
// reported load is beside the endpoint.
func TestMoreOfAService(t *testing.T) {
	t.Parallel()
	b := newBackend(t, 3)
	var all []poise.Endpoint
	for _, u := range b.URLs {
		all = append(all, poise.Endpoint{URL: u})
	}
	carts := poise.Service{Endpoints: all, Policy: poise.Policy{Type: "round_robin"}, Breaker: poise.Breaker{Off: true}, Hedge: &poise.Hedge{After: "300ms", MaxExtra: 10}}
	users := carts
	users.Endpoints = slices.Clone(all)
	users.Endpoints[2].Priority = 1
	users.Hedge, users.Shadow, users.LoadReports = &poise.Hedge{After: "p95"}, "p2c", true
	w := newWorld(t, poise.Config{
		Services: map[string]poise.Service{"carts": carts, "users": users},
		Routes: []poise.Route{{Match: poise.Match{Path: "/**"}, Service: "carts"}, {Match: poise.Match{Path: "/users/**"}, Service: "users"}, {
			Match: poise.Match{Path: "/both/**"}, Split: &poise.Split{Services: []poise.Share{{Service: "carts", Weight: 3}, {Service: "users"}}},
		}},
	}, admin.Options{})
	w.load(50, "/", "/users/1")
	page := open(t, "en-US", 1280, 560, w.URL("#/services/carts"))
	page.until("no word of them", measured+` && !document.querySelector("p.more").innerText.includes("retries")`)
	b.down[0].Store(true)
	page.until("retries", shows("p.more", ", hedges 0, beside "))
	b.slow[1].Store(true)
	page.until("hedges", shows("p.more", "hedges won "))
	page.shot("services-carts-extra")
	page.visit("services/users")
	page.until("when a hedge is due", shows("p.more", "a hedge is due after ")+" && "+shows("p.more", "shadow p2c: the same choice in "))
	page.until("a place for each priority", shows("p.more", "priority 0: 100 %, 2 of 2 usable")+" && "+shows(".endpoints .tag", "priority 1"))
	page.until("reported load", shows(".endpoints .tag", "50 % busy"))
	page.shot("services-users-more")
	page.visit("routes")
	page.until("both services of a split", `document.querySelectorAll(".routes a[href$=carts], .routes a[href$=users]").length === 4`)
	page.visit("request")
	page.until("the form", `document.querySelector(".request input")`)
	ask[string](page, `document.querySelector(".request input").value = "/both/7"`)
	page.click(".request .primary")
	page.until("the split", shows(".tried .taken", "75.0 %"))
	page.shot("request-split")
	page.visit("services/carts")
	page.click("#language")
	page.until("the same in Chinese", shows("p.more", "次对冲")+" && "+shows("p.more", "对冲胜出"))
	page.shot("services-carts-extra-zh")
}

// The connection is lost, which the page says, and comes back; what happened meanwhile is shown.
func TestConnection(t *testing.T) {
	t.Parallel()
	w, b := shop(t)
	page := open(t, "en-US", 1280, 800, w.URL("#/events"), "ERR_", "Failed to load")
	page.until("live", shows("#live", "live"))
	w.hide()
	page.until("the word for it", shows("#live.lost", "connection lost"))
	b.down[0].Store(true)
	w.waitFor("carts", b.URLs[0], "ejected")
	w.show()
	page.until("live again", shows("#live.live", "live"))
	page.until("what happened meanwhile", shows(".events tr", "Endpoint ejected"))
	if n, all := ask[int](page, `document.querySelectorAll(".events tbody tr").length`), ask[int](page, `new Set([...document.querySelectorAll(".events tbody tr")].map(e => e.innerText)).size`); n != all {
		t.Errorf("%d events, %d different ones", n, all)
	}
}

// waitFor waits until an endpoint is in a state.
func (w *world) waitFor(service, url, state string) {
	w.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, s := range w.proxy.Status().Services {
			for _, e := range s.Endpoints {
				if s.Name == service && e.URL == url && e.State == state {
					return
				}
			}
		}
	}
	w.Fatalf("%s in %s is never %s", url, service, state)
}

// The page begins in the language that the browser accepts; both switches are remembered.
func TestLanguageAndTheme(t *testing.T) {
	t.Parallel()
	w, _ := shop(t)
	page := open(t, "zh-CN", 1280, 800, w.URL(""))
	page.until("Chinese", shows("#tabs", "服务")+" && "+shows("thead", "端点")+` && document.documentElement.lang === "zh-CN"`)
	page.click("#language")
	page.until("English", shows("#tabs", "Services")+" && "+shows("thead", "Endpoints"))
	ground := `getComputedStyle(document.documentElement).backgroundColor`
	light := ask[string](page, ground)
	page.click("#theme")
	page.until("the dark page", ground+" !== `"+light+"`")
	page.reload()
	page.until("both after a reload", shows("#tabs", "Services")+" && "+ground+" !== `"+light+"`")
	page.click("#theme")
	page.click("#language")
	page.until("Chinese and light", shows("#tabs", "服务")+" && "+ground+" === `"+light+"`")
}

// Everything can be reached by keyboard.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	w, _ := shop(t)
	page := open(t, "en-US", 1280, 800, w.URL(""))
	rows := `document.querySelectorAll(".services tbody tr").length`
	page.until("three services", rows+" === 3")
	page.command("/")
	page.until("the search", `document.activeElement.id === "search"`)
	page.press("user")
	page.until("one service", rows+" === 1")
	page.press(escape)
	page.until("all of them", rows+" === 3")
	page.press(escape)
	page.command("j")
	page.command("j")
	page.until("the second row", `document.activeElement === document.querySelectorAll(".services tbody tr")[1]`)
	page.command("k")
	page.press(enter)
	page.until("the service", shows("h2", "carts")+` && document.querySelectorAll(".endpoints tbody tr").length === 4`)
	page.command("j")
	page.command("d")
	page.until("the dialog", `document.querySelector("dialog[open] [value=drain]").checked`)
	page.press(escape)
	page.until("no dialog", `!document.querySelector("dialog") && document.activeElement.tagName === "TR"`)
	page.press(escape)
	page.until("back", `location.hash === "#/services" && `+rows+" === 3")
	ask[string](page, `document.activeElement.blur(), ''`)
	for range 40 {
		page.press(tabKey)
		if ask[bool](page, `document.activeElement.dataset.tab === "routes"`) {
			break
		}
	}
	if !ask[bool](page, `getComputedStyle(document.activeElement).outlineStyle !== "none"`) {
		t.Error("the focus is not visible")
	}
	page.press(enter)
	page.until("the routes", shows(".routes tr", "carts-v1"))
}

// An operator drains an endpoint from the page, takes that back, and changes a weight.
func TestChange(t *testing.T) {
	t.Parallel()
	w, b := shop(t)
	page := open(t, "en-US", 1280, 800, w.URL("#/services/carts"))
	change := func(kind, more string) {
		t.Helper()
		page.until("the button", `document.querySelector("`+b.row(1)+` .actions button")`)
		page.click(b.row(1) + " .actions button")
		page.until("the dialog", `document.querySelector("dialog[open]")`)
		page.click("dialog [value=" + kind + "]")
		if more != "" {
			ask[string](page, more)
		}
		page.click("dialog .primary")
		page.until("no dialog", `!document.querySelector("dialog")`)
	}
	change("drain", `document.querySelector("dialog [maxlength]").value = "new disk"`)
	page.until("drained, and why", shows(b.row(1), "draining")+" && "+shows(b.row(1), "drained by an operator")+" && "+shows(b.row(1), "new disk"))
	page.shot("endpoint-drained")
	change("undrain", "")
	page.until("back", shows(b.row(1), "healthy")+" && !"+shows(b.row(1), "operator"))
	change("weight", `document.querySelector("dialog [type=number]").value = "3"`)
	page.until("the weight", shows(b.row(1), "weight 3"))
	change("unweight", "")
	page.until("no weight", "!"+shows(b.row(1), "weight 3"))
	if all := w.proxy.Overrides(); len(all) > 0 {
		t.Errorf("left: %v", all)
	}
}

// A request is explained without being sent, and then sent: the answer and the attempt are shown.
func TestTryRequest(t *testing.T) {
	t.Parallel()
	w, _ := shop(t)
	page := open(t, "en-US", 1280, 800, w.URL("#/request"), "400 (Bad Request)")
	page.until("the form", `document.querySelector(".request input")`)
	ask[string](page, `document.querySelector(".request input").value = "/carts/7"`)
	page.click(".request .primary")
	page.until("the route that takes it", shows(".tried .taken", "carts-v1")+" && "+shows(".tried li", "users-v1"))
	page.until("the endpoints", shows(".explained table", "healthy"))
	page.shot("request-explained")
	page.click(".request [type=button]")
	page.until("the answer", shows(".status", "200")+" && "+shows(".explained pre", "hello")+" && "+shows(".explained", "carts-v1 → carts"))
	page.until("the attempt", shows(".attempts td", "http://127.0.0.1:")+" && "+shows(".attempts td", "200"))
	page.shot("request-sent")
	ask[string](page, `document.querySelector(".request input").value = "/nowhere"`)
	page.click(".request [type=button]")
	page.until("that there is no route", shows(".status", "404")+` && !document.querySelector(".attempts")`)
	ask[string](page, `document.querySelector(".request input").value = "ftp://a/"`)
	page.click(".request [type=button]")
	page.until("the mistake", shows(".explained [role=alert]", "http or https"))
	page.visit("config")
	page.until("the configuration", shows(".config tr", "services.carts"))
}

// A service with consistent hashing shows how its keys are spread, and where they go while an
// endpoint is out.
func TestKeys(t *testing.T) {
	t.Parallel()
	w, b := shop(t)
	page := open(t, "en-US", 1280, 470, w.URL("#/services/users")) // docs/dashboard-keys.png
	page.until("half of the keys for weight 2", shows(b.row(4)+" td.keys", "50 %")+" && "+shows(b.row(5)+" td.keys", "25 %"))
	page.until("the ring", `document.querySelectorAll(".ring circle").length === 3 && `+shows("div.keys", "0.0 % are served by another"))
	page.until("its history", measured+" && "+history(".summary", 5))
	page.shot("services-users-ring")
	b.down[5].Store(true)
	page.until("no key for the one that is out", `document.querySelector("`+b.row(5)+` td.keys").innerText.startsWith("0\u00a0%") && !`+shows("div.keys", " 0.0 % are served by another"))
	page.visit("services/carts")
	page.until("none where nothing is hashed", `document.querySelectorAll(".endpoints tbody tr").length === 4 && getComputedStyle(document.querySelector("th.keys")).display === "none"`)
}

// What operators have changed is listed, also of an endpoint that is absent, copied as
// configuration, and taken back.
func TestOverrides(t *testing.T) {
	t.Parallel()
	w, b := shop(t)
	for i, kind := range []string{"drain", "eject", "weight"} {
		r := poise.OverrideRequest{Service: "carts", Endpoint: b.URLs[i], Kind: kind, Who: "zhao", Why: "slow disk"}
		if kind == "weight" {
			r.Weight = 3
		}
		if _, err := w.proxy.Override(r); err != nil {
			t.Fatal(err)
		}
	}
	c := *w.proxy.Config()
	carts := c.Services["carts"]
	carts.Endpoints = carts.Endpoints[1:] // the one that is drained goes
	c.Services = map[string]poise.Service{"carts": carts, "users": c.Services["users"], "search": c.Services["search"]}
	if err := w.proxy.Apply(c); err != nil {
		t.Fatal(err)
	}
	page := open(t, "en-US", 1280, 800, w.URL("#/overrides"))
	page.until("their number", shows("[data-tab=overrides]", "(3)"))
	page.until("the list", `document.querySelectorAll(".overrides tbody tr").length === 3`)
	absent := shows(".overrides tr:has(.tag)", b.URLs[0])
	page.until("the absent one, who and why", absent+" && "+shows(".overrides tr:has(.tag)", "drained by an operator · zhao · slow disk"))
	page.until("the configuration", shows("pre", "weight: 3")+" && "+shows("pre", b.URLs[0]))
	page.shot("overrides")
	ask[string](page, `navigator.clipboard.writeText = async (text) => { window.copied = text; }, ''`)
	page.click(".yaml button")
	page.until("the copy", `window.copied.includes("weight: 3")`)
	for n := 3; n > 0; n-- {
		page.click(".overrides .actions button")
		page.until("the question", `document.querySelector("dialog[open]")`)
		page.click("dialog .primary")
		page.until("one less", `!document.querySelector("dialog") && document.querySelectorAll(".overrides tbody tr").length === `+string(rune('0'+n-1)))
	}
	page.until("none", shows(".empty", "No operator has changed anything")+" && !"+shows("#tabs", "("))
	if all := w.proxy.Overrides(); len(all) > 0 {
		t.Errorf("left: %v", all)
	}
}

// Where tokens are needed, the page asks for one, and shows no buttons to those that may only look.
func TestToken(t *testing.T) {
	t.Parallel()
	const right, looks = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	b := newBackend(t, 2)
	w := newWorld(t, poise.Config{Services: map[string]poise.Service{"carts": service(b.URLs, time.Second)}, Routes: []poise.Route{{Service: "carts"}}},
		admin.Options{Tokens: []admin.Token{{Name: "ops", Secret: right, Role: admin.Operate}, {Name: "wall", Secret: looks, Role: admin.View}}})
	page := open(t, "en-US", 1280, 800, w.URL("#/services/carts"), "401")
	give := func(token string) {
		t.Helper()
		page.until("the form", `document.querySelector("dialog.token[open] input")`)
		ask[string](page, `document.querySelector("dialog.token input").value = "`+token+`"`)
		page.click("dialog.token .primary")
	}
	give(strings.Repeat("0", 32))
	page.until("that it is wrong", shows("dialog.token", "does not accept"))
	give(looks)
	page.until("the endpoints, without buttons", shows("#live", "live")+` && document.querySelectorAll(".endpoints tbody tr").length === 2 && !document.querySelector(".actions button")`)
	ask[string](page, `sessionStorage.setItem("poise.token", "`+right+`"), ''`)
	page.reload()
	page.until("buttons", `document.querySelectorAll(".actions button").length === 2`)
}

// The same in Chinese, in one go: an endpoint is ejected and returns, is drained and weighed, a
// request is explained and sent, and the connection is lost and comes back.
func TestInChinese(t *testing.T) {
	t.Parallel()
	w, b := shop(t)
	page := open(t, "zh-CN", 1280, 800, w.URL("#/services/carts"), "ERR_", "Failed to load")
	page.until("nothing wrong", shows("#wrong", "一切正常")+" && "+shows(b.row(2), "健康"))
	b.down[2].Store(true)
	page.until("what is wrong", shows("#wrong li.warn", "4 个端点中有 1 个被摘除")+" && "+shows(b.row(2), "已摘除")+" && "+shows(b.row(2), "因探测失败"))
	b.down[2].Store(false)
	page.until("its return", shows(b.row(2), "健康")+" && "+shows("#wrong", "一切正常"))
	for _, c := range []struct{ kind, more, shows string }{
		{"drain", "''", "由运维人员排空"}, {"undrain", "''", "健康"},
		{"weight", `document.querySelector("dialog [type=number]").value = "3"`, "由运维人员设权重 3"},
	} {
		page.click(b.row(1) + " .actions button")
		page.until("the dialog", `document.querySelector("dialog[open]")`)
		page.click("dialog [value=" + c.kind + "]")
		ask[string](page, c.more)
		page.click("dialog .primary")
		page.until(c.kind, `!document.querySelector("dialog") && `+shows(b.row(1), c.shows))
	}
	page.visit("overrides")
	page.until("the override", shows(".overrides tr", "由运维人员设权重 3")+" && "+shows("#tabs", "人工更改 (1)"))
	page.visit("request")
	page.until("the form", `document.querySelector(".request input")`)
	ask[string](page, `document.querySelector(".request input").value = "/carts/7"`)
	page.click(".request .primary")
	page.until("the explanation", shows(".explained h3", "carts 的端点")+" && "+shows(".tried .taken", "carts-v1"))
	page.click(".request [type=button]")
	page.until("the answer", shows(".explained h3", "应答")+" && "+shows(".status", "200"))
	page.visit("events")
	page.until("events", shows(".events tr", "端点被摘除")+" && "+shows(".events tr", "端点恢复健康"))
	w.hide()
	page.until("the word for it", shows("#live.lost", "连接已断开"))
	w.show()
	page.until("live again", shows("#live.live", "实时"))
}
