package live

// The example of docs/mesh.md, with real Consul and Nacos: three services in two languages, two
// instances of each that are called, a sidecar beside each. While requests go through all of it,
// certificates and the authority are replaced, instances come and go, strangers and an impostor try
// to get in. Not one request may fail, but those that were under way at an instance that is killed.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/testcert"
	"github.com/poise-lb/poise/test/internal/rig"
	"github.com/poise-lb/poise/test/live/recipe"
)

// python is Debian's, for which there are packages of gRPC (see live-deps in the Makefile).
const python = "/usr/bin/python3"

func TestMesh(t *testing.T) {
	if testing.Short() {
		t.Skip("real servers take minutes")
	}
	outcome.begun = true
	if out, err := exec.Command(python, "-c", "import grpc, cryptography").CombinedOutput(); err != nil {
		reason := fmt.Sprintf("not installed: run make live-deps (%v %.200s)", err, out)
		outcome.skip("mesh", reason)
		t.Skip(reason)
	}
	binary := rig.Poise(t)
	for _, r := range []*registry{consul(), nacos3()} {
		t.Run(r.name, func(t *testing.T) {
			if !selected("mesh", r.name) {
				t.Skip("not selected")
			}
			dir, err := find(r.name)
			var away recipe.Unavailable
			if errors.As(err, &away) {
				outcome.skip("mesh with "+r.name, away.Reason)
				t.Skip(away.Reason)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { outcome.end("mesh with "+r.name, !t.Failed()) }()
			newMesh(t, r, dir, binary).play()
		})
	}
}

// play runs the steps of the story, each of which stands on those before it.
func (m *mesh) play() {
	for _, s := range []step{
		{"identities", m.identities}, {"strangers", m.strangers}, {"deputy", m.deputy}, {"impostor", m.impostor},
		{"rotation", m.rotation}, {"authority", m.authority}, {"come and go", m.comeAndGo}, {"death", m.death},
	} {
		if !m.t.Run(s.name, func(t *testing.T) { s.play(t); m.load.flawless(t) }) {
			return
		}
	}
	say("mesh: %d requests, %d failed", m.load.total, m.load.lost)
}

// identities: requests reach both instances of both services, and each service knows its caller.
func (m *mesh) identities(t *testing.T) {
	m.load.until(t, "every instance answers", func(seen map[string]time.Time) bool {
		return len(seen) >= 4+2 // four instances, the certificates of two callers
	})
	for _, want := range []string{"orders is called by spiffe://shop.example/shop", "stock is called by spiffe://shop.example/orders"} {
		if !m.load.called(want) {
			t.Errorf("no answer says that %s", want)
		}
	}
}

// strangers: a client without a certificate, with that of another service, and with one of an
// authority of its own is refused in the handshake, and log and metrics say so.
func (m *mesh) strangers(t *testing.T) {
	other := testcert.New(t, testcert.Template{Names: []string{"spiffe://shop.example/shop"}})
	for _, c := range []struct {
		shows tls.Certificate
		said  string
	}{
		{tls.Certificate{}, `client refused by its certificate.*didn't provide a certificate`},
		{m.certificate(t, "stock"), `client refused by its certificate.*is for spiffe://shop.example/stock, which is none of spiffe://shop.example/shop`},
		{other.TLS, `client refused by its certificate.*unknown authority`},
	} {
		if status, text, err := m.ask(m.orders[0], "/order/tea", c.shows); err == nil {
			t.Errorf("served with %d %s, although %s", status, text, c.said)
		}
		await(t, m.orders[0].sidecar, c.said)
	}
	text, err := request{method: "GET", url: "http://" + m.orders[0].status + "/metrics"}.do()
	if want := fmt.Sprintf(`poise_tls_handshakes_total{listener=%q,result="refused"} 3`, m.orders[0].inbound); err != nil || !strings.Contains(string(text), want) {
		t.Errorf("no %s, %v", want, err)
	}
}

// deputy: a peer that is let in reaches the program, and not what the program may call.
func (m *mesh) deputy(t *testing.T) {
	status, text, err := m.ask(m.orders[0], "/stock.Stock/Take", m.certificate(t, "shop"))
	if err != nil || status != 404 || !strings.Contains(text, "404 page not found") { // words of the program's
		t.Errorf("%d %q, %v", status, text, err)
	}
}

// impostor: an instance of orders is announced as one of stock. It has a certificate of the
// authority, but not that of stock: it gets no request.
func (m *mesh) impostor(t *testing.T) {
	r := m.announce("stock", m.orders[0].inbound)
	await(t, m.orders[1].sidecar, `endpoints changed" service=stock added=1 .* members=3`)
	await(t, m.orders[1].sidecar, `(?i)probe.*the certificate is for spiffe://shop.example/orders, which is none of spiffe://shop.example/stock`)
	m.load.another(t, 200)
	r.Signal(syscall.SIGTERM)
	if code := r.Exit(); code != 0 {
		t.Errorf("poise register ended with %d", code)
	}
	await(t, m.orders[1].sidecar, `endpoints changed" service=stock added=0 removed=1 members=2`)
}

// rotation: every service gets a new certificate of the same authority.
func (m *mesh) rotation(t *testing.T) {
	m.renew(t)
}

// renew makes new certificates and waits until both hops show them.
func (m *mesh) renew(t *testing.T) {
	m.ca(t, "shop", "orders", "stock")
	shop, orders := serial(m.certificate(t, "shop")), serial(m.certificate(t, "orders"))
	m.load.until(t, "both callers show their new certificates", func(seen map[string]time.Time) bool {
		return !seen[shop].IsZero() && !seen[orders].IsZero()
	})
}

// authority: another authority takes over. Both are trusted for a while; then the old one is not,
// and what it has signed does not get in.
func (m *mesh) authority(t *testing.T) {
	old := m.certificate(t, "shop")
	m.follow(t, func() { m.ca(t, "-authority") })
	m.renew(t)
	if _, _, err := m.ask(m.orders[0], "/order/tea", old); err != nil {
		t.Errorf("the old authority is trusted, and yet: %v", err)
	}
	m.follow(t, func() { m.ca(t, "-forget") })
	if status, text, err := m.ask(m.orders[0], "/order/tea", old); err == nil {
		t.Errorf("the authority is forgotten, and yet served with %d %s", status, text)
	}
	m.load.another(t, 200)
}

// comeAndGo: a new instance is used once it is announced, and one that leaves in order loses
// nothing.
func (m *mesh) comeAndGo(t *testing.T) {
	for _, service := range []string{"stock", "orders"} {
		i := m.start(t, service)
		m.load.until(t, "the new instance answers", func(seen map[string]time.Time) bool { return !seen[i.app].IsZero() })
		m.leave(t, i)
		m.load.another(t, 100)
	}
}

// death: an instance of stock dies, program and sidecar, as if its machine had. What it had under
// way is lost, four requests at most. Everything later is answered by the other instance.
func (m *mesh) death(t *testing.T) {
	died := m.stock[0]
	for _, p := range died.processes() {
		p.Kill()
	}
	m.load.forgive(t, loadConns)
	m.load.another(t, 300)
}

// ask sends a request to the inbound listener of an instance, on a connection of its own.
func (m *mesh) ask(i *meshed, path string, shows tls.Certificate) (status int, text string, err error) {
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
	// Whatever authorities the listener names: a Certificates would not be shown to all.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shows, nil }
	client := &http.Client{Timeout: rig.Patience, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	res, err := client.Post("https://"+i.inbound+path, "text/plain", nil)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// certificate is the one that instances of a service show now.
func (m *mesh) certificate(t *testing.T, service string) tls.Certificate {
	t.Helper()
	c, err := tls.LoadX509KeyPair(filepath.Join(m.certs, service+".pem"), filepath.Join(m.certs, service+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serial(c tls.Certificate) string { return c.Leaf.SerialNumber.Text(16) }
