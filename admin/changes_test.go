package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poise-lb/poise"
)

// change sends JSON as the page does. generation "": without If-Match.
func (s *side) change(method, path, content, generation string) (int, string) {
	s.Helper()
	return s.ask(method, path, func(r *http.Request) {
		r.Body = readCloser{strings.NewReader(content)}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(field, "1")
		r.Header.Set("Authorization", "Bearer "+secret)
		if generation != "" {
			r.Header.Set("If-Match", `"`+generation+`"`)
		}
	})
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// The whole life of an override: made by a name, shown everywhere, copied as configuration, gone
// with a word.
func TestOverride(t *testing.T) {
	s := newSide(t, Options{Tokens: []Token{{"zhao", secret, Operate}}})
	one := s.proxy.Status().Services[0].Endpoints[0]
	path := "/api/v1/services/users/endpoints/" + url.PathEscape(one.Label) + "/override"
	now := fmt.Sprint(s.proxy.Status().Generation)
	for _, test := range []struct {
		method, path, content, generation string
		status                            int
		text                              string
	}{
		{"POST", path, `{"kind":"drain"}`, "", 428, "If-Match"},
		{"POST", path, `{"kind":"drain"}`, "7", 412, "its generation is " + now},
		{"POST", path, `{"kind":"drain"}`, "x", 412, "its generation is " + now},
		{"POST", path, `{"kind":"drian"}`, now, 400, `did you mean \"drain\"`},
		{"POST", path, `{"kind":"drain","fro":"1h"}`, now, 400, "fro"},
		{"POST", path, `{"kind":"drain","for":"1 hour"}`, now, 400, "is no duration"},
		{"POST", path, `drain`, now, 400, "not what is expected"},
		{"POST", path, `{"kind":"weight","weight":-1}`, now, 400, "out of bounds"},
		{"POST", strings.Replace(path, "users", "user", 1), `{"kind":"drain"}`, now, 404, "no such service"},
		{"POST", "/api/v1/services/users/endpoints/10.9.9.9:1/override", `{"kind":"drain"}`, now, 404, "no such endpoint"},
		{"DELETE", path, "", now, 404, "no such override"},
		{"POST", path, `{"kind":"drain","for":"1h","why":"slow disk"}`, now, 200, `"who":"zhao"`},
		{"POST", path, `{"kind":"weight","weight":2.5}`, now, 200, `"weight":2.5`},
	} {
		status, text := s.change(test.method, test.path, test.content, test.generation)
		if status != test.status || !strings.Contains(text, test.text) {
			t.Errorf("%s %s: %d %s, want %d %s", test.method, test.content, status, text, test.status, test.text)
		}
	}
	if e := s.proxy.Status().Services[0].Endpoints[0]; e.Condition != "draining (operator)" || len(e.Overrides) != 2 {
		t.Errorf("%+v", e)
	}
	_, text := s.change("GET", "/api/v1/overrides", "", "")
	var all struct {
		Overrides []poise.Override
		YAML      string
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all.Overrides) != 2 || !strings.Contains(all.YAML, "weight 2.5") || !strings.Contains(all.YAML, "slow disk") {
		t.Errorf("%v %s", err, text)
	}
	if status, text := s.change("DELETE", path+"?kind=weight", "", now); status != 204 {
		t.Errorf("%d %s", status, text)
	}
	if status, text := s.change("POST", path, `{"kind":"undrain"}`, now); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	if n := len(s.proxy.Overrides()); n != 0 {
		t.Errorf("%d overrides are left", n)
	}
}

// Explain is for everybody who may read, and finds its place.
func TestExplain(t *testing.T) {
	s := newSide(t, Options{Tokens: []Token{{"wall", secret, View}}, Place: func(path string) string { return "file: " + path }})
	status, text := s.change("POST", "/api/v1/explain", `{"url":"http://a.example/x"}`, "")
	if status != 200 || !strings.Contains(text, `"leads":"users"`) || !strings.Contains(text, "file: ") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := s.change("POST", "/api/v1/explain", `{"url":""}`, ""); status != 400 {
		t.Errorf("%d %s", status, text)
	}
}

// The configuration says where each value is from.
func TestConfigValues(t *testing.T) {
	s := newSide(t, Options{Place: func(path string) string {
		if path == "routes[0].name" {
			return "poise.yaml:3:4"
		}
		return ""
	}})
	_, text := s.ask("GET", "/api/v1/config", nil)
	for _, want := range []string{
		`{"path":"routes[0].name","value":"all","origin":"poise.yaml:3:4"}`, `{"path":"timeouts.idle","value":"1m15s","origin":"default"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s in %s", want, text)
		}
	}
}

// A configuration is planned, then applied as planned; one with mistakes changes nothing, and
// neither does one that was planned on another state.
func TestPlanAndApply(t *testing.T) {
	s := newSide(t, Options{})
	text := `version: 1
services: {users: {endpoints: ["http://127.0.0.1:1"]}, carts: {endpoints: ["http://127.0.0.1:2"]}}
routes: [{name: all, service: users}, {match: {path: /carts/**}, service: carts}]
`
	proposal := func(text, hash string) string {
		data, err := json.Marshal(Proposal{text, hash})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	now := fmt.Sprint(s.proxy.Status().Generation)
	status, answer := s.change("POST", "/api/v1/plan", proposal(text, ""), "")
	var plan poise.Plan
	if err := json.Unmarshal([]byte(answer), &plan); status != 200 || err != nil || !plan.Changes || len(plan.Routes) == 0 {
		t.Fatalf("%d %v %s", status, err, answer)
	}
	for _, test := range []struct {
		text, hash, generation string
		status                 int
		want                   string
	}{
		{"version: 1\nroutes: [{service: user}]\n", plan.Hash, now, 422, "config:2:20"},
		{strings.Replace(text, ":2\"", ":3\"", 1), plan.Hash, now, 409, "is not that of this change"},
		{text, plan.Hash, "", 428, "If-Match"},
		{text, plan.Hash, "9", 412, "generation"},
		{text, plan.Hash, now, 200, `"services":2`},
		{text, plan.Hash, now, 412, "generation"},
	} {
		if status, answer := s.change("POST", "/api/v1/apply", proposal(test.text, test.hash), test.generation); status != test.status || !strings.Contains(answer, test.want) {
			t.Errorf("%d %s, want %d %s", status, answer, test.status, test.want)
		}
	}
	t.Setenv("SECRET", "very-secret")
	if _, answer := s.change("POST", "/api/v1/plan", proposal(strings.Replace(text, "name: all", `name: "${SECRET}"`, 1), ""), ""); strings.Contains(answer, "very-secret") {
		t.Errorf("a variable of the process is shown: %s", answer)
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("very-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, answer = s.change("POST", "/api/v1/plan", proposal(strings.Replace(text, "name: all", `name: "${file:`+file+`}"`, 1), ""), "")
	if status != 422 || strings.Contains(answer, "very-secret") || !strings.Contains(answer, "is not read here") {
		t.Errorf("a file of the process is shown: %d %s", status, answer)
	}
}

// The program's own Apply is told what the change was decided on and by whom, refuses one that is out
// of date by then, and leaves out what Adapt does. What has come over the API says so.
func TestApplyOfTheProgram(t *testing.T) {
	var s *side
	var got Decision
	var fails error
	s = newSide(t, Options{
		Origin: "poise.yaml", Place: func(string) string { return "poise.yaml:1:1" },
		Tokens: []Token{{"zhao", secret, Operate}},
		Adapt: func(c poise.Config) (poise.Config, []string) {
			c.Listen = nil
			return c, []string{"listen stays"}
		},
		Apply: func(c poise.Config, d Decision) error {
			if got = d; fails != nil {
				return fails
			}
			return s.proxy.Apply(c)
		},
	})
	text := "version: 1\nlisten: [\":80\"]\nservices: {users: {endpoints: [\"http://127.0.0.1:1\"]}}\nroutes: [{name: sent, service: users}]\n"
	send := func(path, hash string) (int, string) {
		data, _ := json.Marshal(Proposal{text, hash})
		return s.change("POST", "/api/v1/"+path, string(data), "1")
	}
	_, answer := send("plan", "")
	var plan poise.Plan
	if err := json.Unmarshal([]byte(answer), &plan); err != nil || len(plan.Listeners) > 0 || !strings.Contains(answer, "listen stays") {
		t.Errorf("%v %s", err, answer)
	}
	fails = fmt.Errorf("meanwhile: %w", ErrStale)
	if status, answer := send("apply", plan.Hash); status != 412 || !strings.Contains(answer, "changed meanwhile") {
		t.Errorf("%d %s", status, answer)
	}
	if fails = nil; got != (Decision{1, "zhao"}) {
		t.Errorf("%+v", got)
	}
	if status, answer := send("apply", plan.Hash); status != 200 || !strings.Contains(answer, `"origin":"the admin API"`) {
		t.Errorf("%d %s", status, answer)
	}
	_, values := s.change("GET", "/api/v1/config", "", "")
	for _, want := range []string{
		`{"path":"routes[0].name","value":"sent","origin":"the admin API"}`, `{"path":"timeouts.idle","value":"1m15s","origin":"default"}`,
	} {
		if !strings.Contains(values, want) {
			t.Errorf("there is no %s in %s", want, values)
		}
	}
	if err := s.proxy.Apply(*s.proxy.Config()); err != nil { // as by a reload of the file
		t.Fatal(err)
	}
	if _, answer := s.change("GET", "/api/v1/status", "", ""); !strings.Contains(answer, `"origin":"poise.yaml"`) {
		t.Error(answer)
	}
}
