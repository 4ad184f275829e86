package real

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/testcert"
	"github.com/poise-lb/poise/test/internal/rig"
)

// What the file says of the service users.
const (
	interval       = time.Second
	unhealthyAfter = 3
	healthyAfter   = 2
	leaveTime      = interval*unhealthyAfter + time.Second
	returnTime     = interval*healthyAfter + time.Second
	routeTimeout   = 3 * time.Second
	openFor        = 10 * time.Second // of the breaker, by default and in the file
)

const (
	apiHost  = "api.example.com"
	usersURI = "/api/v1/users/42"
)

// A site is one nginx.
type site struct {
	name, address, dir string
	slow               string     // address of what answers /users/slow/
	world              *testing.T // of the whole story: sites outlive the step that starts them
	process            *rig.Process
}

// start starts nginx and returns when it listens.
func (s *site) start() {
	s.world.Helper()
	s.process = rig.Nginx(s.world, 0, fmt.Sprintf(`
server {
    listen %[2]s backlog=4096;
    add_header X-Site %[1]s always;
    add_header X-Seen-URI $request_uri always;
    add_header X-Seen-Gateway $http_x_gateway always;
    add_header X-Seen-For $http_x_forwarded_for always;
    add_header X-Seen-Proto $http_x_forwarded_proto always;
    location / { return 200 "this is site %[1]s\n"; }
    location = /health {
        if (-f %[3]s/sick) { return 503; }
        return 200 "ok\n";
    }
    location /users/slow/ { proxy_pass http://%[4]s; }
}`, s.name, s.address, s.dir, s.slow), s.address)
}

// sick makes the health check fail, and only that.
func (s *site) sick(t *testing.T, yes bool) {
	t.Helper()
	path := filepath.Join(s.dir, "sick")
	var err error
	if yes {
		err = os.WriteFile(path, nil, 0o600)
	} else {
		err = os.Remove(path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A world is everything that runs.
type world struct {
	dir         string // of the configuration
	config      string // the file, with our addresses
	http, https string // addresses of poise
	a, b, c     *site
	binary      string
	poise       *rig.Process
	pool        *x509.CertPool // trusts every certificate that was ever in use
}

// newWorld starts three sites and poise run with the file of the documentation.
func newWorld(t *testing.T, engine string) *world {
	t.Helper()
	for _, p := range []string{"nginx", "wrk", "curl"} {
		rig.Program(t, p)
	}
	w := &world{dir: t.TempDir(), binary: rig.Poise(t), http: rig.Address(t), https: rig.Address(t), pool: x509.NewCertPool()}
	slow := strings.TrimPrefix(slowServer(t), "http://")
	for name, s := range map[string]**site{"a": &w.a, "b": &w.b, "c": &w.c} {
		*s = &site{name: name, address: rig.Address(t), dir: t.TempDir(), slow: slow, world: t}
		(*s).start()
	}
	text, err := os.ReadFile("testdata/poise.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w.config = strings.NewReplacer("127.0.0.1:8080", w.http, "127.0.0.1:8443", w.https,
		"127.0.0.1:9001", w.a.address, "127.0.0.1:9002", w.b.address).Replace(string(text))
	w.apply(t, w.config)
	w.carts(t, w.a, w.b, w.c)
	w.certify(t, 1)
	if out := rig.Run(t, w.binary, "check", "-c", w.path("poise.yaml")); !strings.HasPrefix(out, "ok: 2 services, 2 routes, 2 address") {
		t.Errorf("poise check: %s", out)
	}
	w.poise = rig.Start(t, rig.Command{Path: w.binary, Args: []string{"run", "-c", w.path("poise.yaml"), "--engine", engine}})
	w.poise.Await("poise: ready on http://" + w.http + " and https://" + w.https)
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// apply writes the configuration file.
func (w *world) apply(t *testing.T, text string) {
	t.Helper()
	rig.Write(t, w.path("poise.yaml"), text)
}

// carts writes the endpoint list of the service carts.
func (w *world) carts(t *testing.T, sites ...*site) {
	t.Helper()
	var b strings.Builder
	for _, s := range sites {
		fmt.Fprintf(&b, "- http://%s\n", s.address)
	}
	rig.Write(t, w.path("carts.yaml"), b.String())
}

// certify makes a certificate with the given serial number and writes it and its key, one
// after the other, as tools do that renew certificates.
func (w *world) certify(t *testing.T, serial int64) {
	t.Helper()
	c := testcert.New(t, testcert.Template{Names: []string{apiHost, "127.0.0.1"}, Serial: serial})
	w.pool.AddCert(c.TLS.Leaf)
	c.Write(t, w.path("cert.pem"), w.path("key.pem"))
}

// slowServer answers /users/slow/later after a second and /users/slow/never not at all.
func slowServer(t *testing.T) (url string) {
	s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/never") {
			<-r.Context().Done()
			return
		}
		body := bytes.Repeat([]byte("late "), 1000)
		out.Header().Set("Content-Length", strconv.Itoa(len(body)))
		time.Sleep(time.Second)
		out.Write(body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// get is the text of a GET request.
func get(host, target string, fields ...string) []byte {
	return []byte("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n")
}

// users is a load on the service users.
func (w *world) users(t *testing.T) *load {
	return (&load{dial: tcp(w.http), request: get(apiHost, usersURI), pause: 2 * time.Millisecond}).start(t, 4)
}
