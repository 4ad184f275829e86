package real

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// curl runs curl -i and returns the final response.
func (w *world) curl(t *testing.T, args ...string) (status string, head http.Header, body string) {
	t.Helper()
	args = append([]string{"-s", "-S", "-i", "--max-time", "20", "--cacert", w.path("cert.pem")}, args...)
	out := rig.Run(t, rig.Program(t, "curl"), args...)
	top, body, _ := strings.Cut(out, "\r\n\r\n")
	lines := strings.Split(top, "\r\n")
	head = http.Header{}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		head.Add(name, strings.TrimSpace(value))
	}
	return strings.TrimSpace(lines[0]), head, body
}

// routing: what the file says of hosts, paths, prefixes and fields is what sites see.
func (w *world) routing(t *testing.T) {
	plain := "http://" + w.http
	at := "Host: " + apiHost
	status, head, body := w.curl(t, "-H", at, "-H", "X-Gateway: forged", "-H", "X-Forwarded-For: 10.9.8.7", plain+"/api/v1/users/42?x=%20y")
	if status != "HTTP/1.1 200 OK" || body != "this is site "+head.Get("X-Site")+"\n" {
		t.Errorf("%s %q", status, body)
	}
	for name, want := range map[string]string{"X-Seen-Uri": "/users/42?x=%20y", "X-Seen-Gateway": "poise", "X-Seen-For": "127.0.0.1", "X-Seen-Proto": "http"} {
		if got := head.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if status, head, _ := w.curl(t, plain+"/carts/7/items"); status != "HTTP/1.1 200 OK" || head.Get("X-Seen-Uri") != "/carts/7/items" || head.Get("X-Seen-Gateway") != "" {
		t.Errorf("carts: %s %v", status, head)
	}
	for _, args := range [][]string{
		{plain + usersURI}, // another host
		{"-H", "Host: www.example.com", plain + usersURI},
		{"-H", at, plain + "/api/v2/users/42"},
		{"-H", at, plain + "/api/v1/users/../accounts"},
		{"-H", at, "--path-as-is", plain + "/api/v1/users/../accounts"},
	} {
		if status, head, _ := w.curl(t, args...); status != "HTTP/1.1 404 Not Found" || head.Get("Poise-Reason") != "no-route" {
			t.Errorf("%q: %s %v", args, status, head)
		}
	}
	if status, head, body := w.curl(t, "-H", at, "-I", plain+usersURI); status != "HTTP/1.1 200 OK" || head.Get("Content-Length") != "15" || body != "" {
		t.Errorf("HEAD: %s %v %q", status, head, body)
	}
	if status, _, _ := w.curl(t, "-H", at, "-d", strings.Repeat("x", 100_000), plain+usersURI); status != "HTTP/1.1 200 OK" {
		t.Errorf("POST: %s", status)
	}
}

// secure: the TLS listener serves HTTP/2 and HTTP/1.1 by ALPN.
func (w *world) secure(t *testing.T) {
	url := "https://" + w.https + usersURI
	for version, want := range map[string]string{"--http2": "HTTP/2 200", "--http1.1": "HTTP/1.1 200 OK"} {
		status, head, body := w.curl(t, version, "-H", "Host: "+apiHost, url)
		if status != want || head.Get("X-Seen-Uri") != "/users/42" || head.Get("X-Seen-Proto") != "https" || !strings.HasPrefix(body, "this is site ") {
			t.Errorf("%s: %s %v %q", version, status, head, body)
		}
	}
}

// shares follow weights: 1 to 3.
func (w *world) shares(t *testing.T) {
	l := w.users(t)
	time.Sleep(2 * time.Second)
	answers := l.stop()
	flawless(t, answers)
	n := bySite(answers)
	if share := float64(n["b"]) / float64(len(answers)); math.Abs(share-0.75) > 0.01 || n["a"]+n["b"] != len(answers) || len(answers) < 500 {
		t.Errorf("shares: %v", n)
	}
	t.Logf("shares of 1:3: %v", n)
}

// timeout: a route's time is up when it says.
func (w *world) timeout(t *testing.T) {
	began := time.Now()
	status, head, _ := w.curl(t, "-H", "Host: "+apiHost, "http://"+w.http+"/api/v1/users/slow/never")
	took := time.Since(began)
	if status != "HTTP/1.1 504 Gateway Timeout" || head.Get("Poise-Reason") != "endpoint-timeout" {
		t.Errorf("%s %v", status, head)
	}
	if took < routeTimeout || took > routeTimeout+time.Second {
		t.Errorf("after %v, want %v", took, routeTimeout)
	}
}
