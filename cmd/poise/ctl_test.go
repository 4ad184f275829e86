package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An operator's session, as docs/operating.md has it: each command with what it says.
func TestCtl(t *testing.T) {
	a, b := httptest.NewServer(nil), httptest.NewServer(nil)
	defer a.Close()
	defer b.Close()
	p := ready(t, "proxy", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--to", a.URL+","+b.URL)
	server := p.say(`admin on (http://\S+)`)[1]
	one := strings.TrimPrefix(a.URL, "http://")
	for _, test := range []struct {
		args string
		code int
		want []string
	}{
		{"status", exitOK, []string{"generation 1 of flags", "1 service, 1 route", "all is well"}},
		{"services", exitOK, []string{"SERVICE", "default", "least_time", "2 of 2"}},
		{"endpoints default", exitOK, []string{"CONDITION", one, "healthy", "50.0 %"}},
		{"endpoints defalt", exitFailed, []string{"there is no service defalt", "did you mean default?"}},
		{"routes", exitOK, []string{"default"}},
		{"drain default " + one + " --for 30m --why disk", exitOK, []string{"draining (operator)", "drain by admin for", "disk", "100.0 %"}},
		{"overrides", exitOK, []string{"drain", "29m", "disk"}},
		{"overrides -o yaml", exitOK, []string{"drain: true"}},
		{"overrides -o json", exitOK, []string{`"kind": "drain"`}},
		{"undrain default " + one, exitOK, []string{"healthy"}},
		{"weight default " + one + " 3", exitOK, []string{"75.0 %", "weight 3 by admin"}},
		{"weight default " + one + " much", exitUsage, []string{"much is no weight"}},
		{"eject default " + one, exitOK, []string{"ejected (operator)"}},
		{"admit default " + one, exitOK, []string{"healthy"}},
		{"send GET /cart", exitOK, []string{"404 in ", "route /**, service default", "http://127.0.0.1:", "Content-Type: text/plain", "404 page not found"}},
		{"send /cart -o json", exitOK, []string{`"status": 404`, `"attempts"`}},
		{"send POST /cart --content x --listener inner", exitFailed, []string{"inner", "leave it out", "status 400"}},
		{"send", exitUsage, []string{"ctl send needs a request, as in"}},
		{"events", exitOK, []string{"override: drain", "override"}},
		{"events --service nothing", exitOK, nil},
		{"ready", exitOK, []string{"ready"}},
		{"status -o yml", exitUsage, []string{"it is text or json"}},
		{"drain default", exitUsage, []string{"poise ctl drain needs SERVICE ENDPOINT, 1 given"}},
		{"services users", exitUsage, []string{"unknown argument users"}},
		{"overrides remove default " + one + " wieght", exitUsage, []string{"did you mean weight?"}},
		{"overrides remove default " + one + " weight", exitOK, []string{"OVERRIDE"}},
		{"overrides remove default " + one + " weight", exitFailed, []string{"no such override", "status 404"}},
		{"statsu", exitUsage, []string{"did you mean status?"}},
	} {
		code, stdout, stderr := call(append([]string{"ctl", "--server", server}, strings.Fields(test.args)...)...)
		if code != test.code {
			t.Errorf("%s: exit code %d, want %d: %s%s", test.args, code, test.code, stdout, stderr)
		}
		for _, want := range test.want {
			if !strings.Contains(strings.ReplaceAll(stdout+stderr, `"much"`, "much"), want) {
				t.Errorf("%s does not say %q:\n%s%s", test.args, want, stdout, stderr)
			}
		}
	}
	if code, stdout, _ := call("explain", "GET http://shop.example/cart", "--live", "--server", server); code != exitOK || !strings.Contains(stdout, a.URL) {
		t.Errorf("explain --live: %d %s", code, stdout)
	}
	for _, test := range []struct{ args, want string }{
		{"drain ", "default\n"}, {"drain default ", one + "\n"}, {"overrides remove default " + one + " ", "eject\n"}, {"endpoints ", "default\n"}, {"status -o ", "json\n"},
	} {
		args := append([]string{"__complete", "ctl", "--server", server}, strings.Split(test.args, " ")...)
		if _, stdout, _ := call(args...); !strings.Contains(stdout, test.want) {
			t.Errorf("%s is completed by %q", test.args, stdout)
		}
	}
	if _, stdout, _ := call("__complete", "ctl", "--server", "http://127.0.0.1:1", "drain", ""); !strings.HasPrefix(stdout, ":") {
		t.Errorf("without a server: %q", stdout)
	}
	if code, _, stderr := call("ctl", "--server", "http://127.0.0.1:1", "status"); code != exitFailed || !strings.Contains(stderr, "no admin API at http://127.0.0.1:1") {
		t.Errorf("%d %s", code, stderr)
	}
}

// A token opens the admin API, its role bounds it, and the file says where values are from.
func TestCtlWithToken(t *testing.T) {
	back := httptest.NewServer(nil)
	defer back.Close()
	dir := t.TempDir()
	secret, config, socket := filepath.Join(dir, "secret"), filepath.Join(dir, "poise.yaml"), filepath.Join(dir, "admin.sock")
	_, token, _ := call("admin", "token")
	text := `version: 1
listen: ["127.0.0.1:0"]
admin:
  address: "unix:` + socket + `"
  tokens: [{name: zhao, token: "${file:` + secret + `}"}]
services: {users: {endpoints: ["` + back.URL + `"]}}
routes: [{service: users}]
`
	for path, content := range map[string]string{secret: strings.TrimSpace(token), config: text} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ready(t, "run", "-c", config)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	ctl := func(args ...string) (int, string) {
		code, stdout, stderr := call(append([]string{"ctl", "--server", "unix:" + socket}, args...)...)
		return code, stdout + stderr
	}
	if code, said := ctl("status"); code != exitFailed || !strings.Contains(said, "a token is needed") {
		t.Errorf("without a token: %d %s", code, said)
	}
	if code, said := ctl("status", "--token-file", secret); code != exitOK || !strings.Contains(said, "generation 1 of poise.yaml") {
		t.Errorf("with a token: %d %s", code, said)
	}
	if code, said := ctl("drain", "users", strings.TrimPrefix(back.URL, "http://"), "--token-file", secret); code != exitFailed || !strings.Contains(said, "the role of this token is view") {
		t.Errorf("a change by a viewer: %d %s", code, said)
	}
}
