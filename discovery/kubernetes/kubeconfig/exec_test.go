package kubeconfig

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/kubernetes"
	"github.com/poise-lb/poise/internal/testcert"
)

// The test's own binary is the program: with PLUGIN set it does what that says.
func TestMain(m *testing.M) {
	if what := os.Getenv("PLUGIN"); what != "" {
		os.Exit(plugin(what))
	}
	os.Exit(m.Run())
}

// plugin counts its runs in the file RUNS, if that is set, and writes a credential, or what
// goes wrong.
func plugin(what string) int {
	runs := os.Getenv("RUNS")
	if runs != "" {
		f, err := os.OpenFile(runs, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return 9
		}
		f.WriteString("x")
		f.Close()
	}
	data, _ := os.ReadFile(runs)
	var info struct{ APIVersion string }
	json.Unmarshal([]byte(os.Getenv("KUBERNETES_EXEC_INFO")), &info)
	status := func(text string) {
		fmt.Printf(`{"apiVersion":%q,"kind":"ExecCredential","status":{%s}}`, info.APIVersion, text)
	}
	switch what {
	case "token":
		status(fmt.Sprintf(`"token":"secret-%d"`, len(data)))
	case "hour":
		status(fmt.Sprintf(`"token":"secret-%d","expirationTimestamp":%q`, len(data), time.Now().Add(time.Hour).Format(time.RFC3339)))
	case "info":
		status(fmt.Sprintf(`"token":%q`, base64.StdEncoding.EncodeToString([]byte(os.Getenv("KUBERNETES_EXEC_INFO")+" "+strings.Join(os.Args[1:], " ")))))
	case "old":
		status(`"token":"secret","expirationTimestamp":"2001-01-01T00:00:00Z"`)
	case "pair":
		cert, _ := os.ReadFile(os.Getenv("CERT"))
		key, _ := os.ReadFile(os.Getenv("KEY"))
		status(fmt.Sprintf(`"clientCertificateData":%q,"clientKeyData":%q`, cert, key))
	case "half":
		status(`"clientCertificateData":"secret"`)
	case "empty":
		status("")
	case "newline":
		status(`"token":"secret\nX-Header: y"`)
	case "other":
		fmt.Print(`{"apiVersion":"client.authentication.k8s.io/v1alpha1","kind":"ExecCredential","status":{"token":"secret"}}`)
	case "words":
		fmt.Print("you are logged in")
	case "fails":
		fmt.Fprintf(os.Stderr, "%s\n  log in\nfirst\n", strings.Repeat("x", 1000))
		return 3
	case "much":
		for range 100 {
			os.Stdout.WriteString(strings.Repeat("secret", 10_000))
		}
	case "hangs":
		fmt.Fprintln(os.Stderr, "waiting for a browser")
		time.Sleep(time.Minute)
	}
	return 0
}

// execUser is a user whose credentials are what the program does; more are further keys.
func execUser(t *testing.T, what, more string, env ...string) string {
	t.Helper()
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	list := fmt.Sprintf("{name: PLUGIN, value: %q}", what)
	for i := 0; i+1 < len(env); i += 2 {
		list += fmt.Sprintf(", {name: %s, value: %q}", env[i], env[i+1])
	}
	return fmt.Sprintf("exec: {apiVersion: client.authentication.k8s.io/v1, command: %q, args: [get-token, --name, x], interactiveMode: Never, env: [%s]%s}", me, list, more)
}

func programOf(t *testing.T, user string) *program {
	t.Helper()
	c, err := Load(write(t, config(server+", certificate-authority-data: ''", user)), "")
	if err != nil {
		t.Fatal(err)
	}
	return c.Credentials.(*program)
}

// TestProgramErrors name the program and say what it says, and never a secret.
func TestProgramErrors(t *testing.T) {
	for what, want := range map[string]string{
		"old":     "expired at 2001-01-01T00:00:00Z",
		"half":    "do not make a pair",
		"empty":   "neither a token nor a certificate",
		"newline": "a token that is none",
		"other":   `writes the apiVersion "client.authentication.k8s.io/v1alpha1"`,
		"words":   "does not write an ExecCredential",
		"fails":   "fails: exit status 3: xxxx",
		"much":    "writes more than 1 MiB",
		"hangs":   "has not ended within 8s: waiting for a browser",
	} {
		p := programOf(t, execUser(t, what, ""))
		if what == "hangs" {
			p.most = 8 * time.Second // a busy machine may take half of it to start
		}
		_, err := p.Get(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "the program kubeconfig.test ") ||
			strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 {
			t.Errorf("%s: %v", what, err)
		}
		if what == "fails" && !strings.HasSuffix(err.Error(), "x log in first") {
			t.Errorf("it does not end with what the program said: %v", err)
		}
	}
	const missing = "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: %s, installHint: \"get it\\nfrom example.com\"}"
	for _, command := range []string{"poise-no-such-program", "./poise-no-such-program"} {
		_, err := programOf(t, fmt.Sprintf(missing, command)).Get(t.Context())
		if err == nil || !strings.HasSuffix(err.Error(), "the program poise-no-such-program is not installed: get it from example.com") {
			t.Error(err)
		}
	}
}

// TestProgramRefused: what can never work is said before anything is run.
func TestProgramRefused(t *testing.T) {
	for name, test := range map[string]struct{ user, want string }{
		"no command":   {"exec: {apiVersion: client.authentication.k8s.io/v1}", "has no command"},
		"an old one":   {"exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: a}", "v1alpha1"},
		"a terminal":   {"exec: {apiVersion: client.authentication.k8s.io/v1, command: a, interactiveMode: Always}", "no terminal"},
		"another mode": {"exec: {apiVersion: client.authentication.k8s.io/v1, command: a, interactiveMode: Maybe}", "Never or IfAvailable"},
		"a bad env":    {"exec: {apiVersion: client.authentication.k8s.io/v1, command: a, env: [{name: 'A=B', value: secret}]}", "without a proper name"},
	} {
		if _, err := Load(write(t, config(server, test.user)), ""); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A file that was found by itself may not have programs run.
	t.Setenv("KUBECONFIG", write(t, config(server, execUser(t, "token", ""))))
	if _, err := Load("", ""); err == nil || !strings.Contains(err.Error(), "give the path") {
		t.Error(err)
	}
	// A token of its own goes before the program.
	if c, err := Load(write(t, config(server, "token: a, "+execUser(t, "token", ""))), ""); err != nil || c.Credentials != nil {
		t.Errorf("%v, %v", c.Credentials, err)
	}
}

// TestProgramInfo: the program has its arguments, and the cluster if it is to have it.
func TestProgramInfo(t *testing.T) {
	cl := server + `, tls-server-name: api, certificate-authority-data: "", extensions: [{name: client.authentication.k8s.io/exec, extension: {audience: a, n: 3}}, {name: x, extension: y}]`
	for more, want := range map[string]string{
		"": `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false}} get-token --name x`,
		", provideClusterInfo: true": `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"cluster":{"server":"https://192.0.2.1:6443",` +
			`"tls-server-name":"api","config":{"audience":"a","n":3}},"interactive":false}} get-token --name x`,
	} {
		c, err := Load(write(t, config(cl, execUser(t, "info", more))), "")
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Credentials.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := base64.StdEncoding.DecodeString(got.Token); string(text) != want {
			t.Errorf("the program was given\n\t%s, want\n\t%s", text, want)
		}
	}
}

// TestProgramIsRunSeldom: when a credential expires or is refused, and not after each failure.
func TestProgramIsRunSeldom(t *testing.T) {
	runs := filepath.Join(t.TempDir(), "runs")
	p := programOf(t, execUser(t, "hour", "", "RUNS", runs))
	now := time.Now()
	p.now = func() time.Time { return now }
	want := func(token string) *kubernetes.Credential {
		t.Helper()
		c, err := p.Get(t.Context())
		if err != nil || c.Token != token {
			t.Fatalf("%+v, %v, want %s", c, err, token)
		}
		return c
	}
	first := want("secret-1")
	now = now.Add(59 * time.Minute)
	want("secret-1")
	now = now.Add(45 * time.Second)
	if p.Refused(t.Context(), first); p.last != nil {
		t.Error("a refused credential is kept")
	}
	now = time.Now()
	second := want("secret-2")
	if !p.Refused(t.Context(), first) || p.Refused(t.Context(), second) {
		t.Error("an old refusal counts against a new credential, or a new one is not given its time")
	}
	want("secret-2")
	now = now.Add(refuseTime)
	if !p.Refused(t.Context(), second) {
		t.Error("a refused credential is kept")
	}
	now = time.Now()
	want("secret-3")
	now = now.Add(time.Hour + time.Minute)
	if _, err := p.Get(t.Context()); err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("a credential that has expired is given: %v", err)
	}
	before, _ := os.ReadFile(runs)
	for range 10 {
		p.Get(t.Context())
	}
	if after, _ := os.ReadFile(runs); len(after) != len(before) || len(before) != 4 {
		t.Errorf("%d runs, and %d after ten more failures", len(before), len(after))
	}
	now = time.Now()
	p.again = now // the time of the back-off is over
	want("secret-5")
}

// TestProgramEnds with its context, and that is no failure of it.
func TestProgramEnds(t *testing.T) {
	p := programOf(t, execUser(t, "hangs", ""))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := p.Get(ctx); err == nil || time.Since(began) > 20*time.Second || p.failure != nil {
		t.Errorf("after %v: %v, %v", time.Since(began), err, p.failure)
	}
}

const emptyList = `{"kind":"EndpointSliceList","metadata":{"resourceVersion":"72"},"items":[]}`

// TestProgramAfter401: a token that the server refuses is made again, and then nothing fails.
func TestProgramAfter401(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch {
		case r.Header.Get("Authorization") != "Bearer secret-2":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Query().Get("watch") != "":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			io.WriteString(w, emptyList)
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	got := sourceOf(t, s, execUser(t, "token", "", "RUNS", filepath.Join(t.TempDir(), "runs")), func(p *program) { p.young = 0 })
	if got.Err != nil || asked.Load() < 2 {
		t.Errorf("%+v after %d requests", got, asked.Load())
	}
}

// TestProgramCertificate: a server that wants a client's certificate gets the program's.
func TestProgramCertificate(t *testing.T) {
	client := testcert.New(t, testcert.Template{Names: []string{"client"}})
	dir := t.TempDir()
	for name, data := range map[string][]byte{"cert": client.Cert, "key": client.Key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS.PeerCertificates[0].Subject.CommonName == "client" && r.URL.Query().Get("watch") == "" {
			io.WriteString(w, emptyList)
		}
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: client.Pool()}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	got := sourceOf(t, s, execUser(t, "pair", "", "CERT", filepath.Join(dir, "cert"), "KEY", filepath.Join(dir, "key")), func(*program) {})
	if got.Err != nil {
		t.Errorf("%+v", got)
	}
}

// sourceOf is the first update of a source of that server, and how that user asks it.
func sourceOf(t *testing.T, s *httptest.Server, user string, adjust func(*program)) (got discovery.Update) {
	t.Helper()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	c, err := Load(write(t, config("server: "+s.URL+", certificate-authority-data: "+base64.StdEncoding.EncodeToString(ca), user)), "")
	if err != nil {
		t.Fatal(err)
	}
	adjust(c.Credentials.(*program))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got.Err = context.DeadlineExceeded
	err = kubernetes.New(c, kubernetes.ServiceConfig{Service: "web"}).Run(ctx, func(u discovery.Update) { got = u; cancel() })
	if err != nil {
		t.Error(err)
	}
	return got
}
