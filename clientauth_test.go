package poise_test

// Mutual TLS on both sides, with real TLS clients and endpoints.

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/testcert"
)

// mirror is an endpoint that answers with the fields Client-Cert and Client-Cert-Chain that it got.
func mirror(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%q %q", r.Header.Values("Client-Cert"), r.Header.Values("Client-Cert-Chain"))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// secured is a listener of p with TLS as t says and a certificate for localhost.
func secured(t *testing.T, p *poise.Proxy, how poise.TLS) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	how.Certificates = selfSigned(t).Certificates
	secure, err := p.TLSListener(l, how)
	if err != nil {
		t.Fatal(err)
	}
	go p.Serve(secure)
	return l.Addr().String()
}

// certified is a client that shows c, or nothing if c is nil. Each request has a connection of its own.
func certified(c *testcert.Cert, h2 bool, cache tls.ClientSessionCache) *http.Client {
	conf := &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", ClientSessionCache: cache}
	if c != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.TLS, nil } // whatever authorities the server names
	}
	tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: h2, DisableKeepAlives: true}
	if !h2 {
		tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	return &http.Client{Transport: tr}
}

// forge asks with forged fields, and returns the content of the response or the error of getting it.
func forge(c *http.Client, url string) (content string, resumed bool, err error) {
	q, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return "", false, err
	}
	q.Header.Set("Client-Cert", ":Zm9yZ2Vk:")
	q.Header.Set("Client-Cert-Chain", ":Zm9yZ2Vk:")
	res, err := c.Do(q)
	if err != nil {
		return "", false, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), res.TLS != nil && res.TLS.DidResume, err
}

func sequence(c *testcert.Cert) string {
	return ":" + base64.StdEncoding.EncodeToString(c.TLS.Leaf.Raw) + ":"
}

func TestClientCertificates(t *testing.T) {
	root := testcert.New(t, testcert.Template{Names: []string{"root"}})
	between := testcert.New(t, testcert.Template{Names: []string{"between"}, By: root, Authority: true})
	ca, _ := root.Files(t)
	issue := func(by *testcert.Cert, names ...string) *testcert.Cert {
		return testcert.New(t, testcert.Template{Names: names, By: by})
	}
	shop := issue(between, "shop.internal")
	shop.TLS.Certificate = append(shop.TLS.Certificate, between.TLS.Leaf.Raw)
	svid := issue(root, "spiffe://example.org/shop")
	other := issue(root, "other.internal")
	stranger := issue(testcert.New(t, testcert.Template{Names: []string{"elsewhere"}}), "shop.internal")
	passed := func(leaf, chain string) string {
		list := func(text string) string { return fmt.Sprintf("%q", strings.Fields(text)) }
		return list(leaf) + " " + list(chain)
	}
	nothing := passed("", "")
	for _, engine := range poise.Engines() {
		c := toAll(mirror(t))
		c.Engine = engine
		p := start(t, c)
		names, ids := []string{"shop.internal"}, []string{"spiffe://example.org"}
		strict := secured(t, p, poise.TLS{ClientAuth: &poise.ClientAuth{CA: ca, SAN: names, SPIFFE: ids}})
		lax := secured(t, p, poise.TLS{Profile: "modern", ClientAuth: &poise.ClientAuth{Mode: "verify_if_given", CA: ca, SAN: names, SPIFFE: ids}})
		open := secured(t, p, poise.TLS{})
		for _, one := range []struct {
			name    string
			address string
			shows   *testcert.Cert
			want    string // empty: refused
		}{
			{"none", strict, nil, ""}, {"none", lax, nil, nothing}, {"none", open, nil, nothing},
			{"shop", strict, shop, passed(sequence(shop), sequence(between))},
			{"shop", lax, shop, passed(sequence(shop), sequence(between))},
			{"shop", open, shop, nothing},
			{"svid", strict, svid, passed(sequence(svid), "")},
			{"other", strict, other, ""}, {"other", lax, other, ""},
			{"stranger", strict, stranger, ""}, {"stranger", lax, stranger, ""},
		} {
			for _, h2 := range []bool{false, true} {
				cache := tls.NewLRUClientSessionCache(1)
				for round := range 2 { // the second one resumes
					got, _, err := forge(certified(one.shows, h2, cache), "https://"+one.address+"/")
					if got != one.want || (err != nil) != (one.want == "") {
						t.Errorf("%s, HTTP/2 %v, round %d: %s at %s: %s, %v", engine, h2, round, one.name, one.address, got, err)
					}
				}
			}
		}
		if got, _, err := forge(http.DefaultClient, "http://"+serve(t, p)+"/"); got != nothing || err != nil {
			t.Errorf("%s, without TLS: %s, %v", engine, got, err)
		}
		counted(t, p, fmt.Sprintf(`poise_tls_handshakes_total{listener=%q,result="refused"} 12`, strict))
		counted(t, p, fmt.Sprintf(`poise_tls_handshakes_total{listener=%q,result="refused"} 8`, lax))
	}
}

// A session is resumed where the client would be accepted with a whole handshake, and nowhere
// else: tickets are sealed by the same keys at all listeners, and authorities may be replaced.
func TestSessionsOfClientsAreBound(t *testing.T) {
	first, second := testcert.New(t, testcert.Template{}), testcert.New(t, testcert.Template{})
	path := filepath.Join(t.TempDir(), "ca.pem")
	testcert.Replace(t, path, first.Cert)
	ca2, _ := second.Files(t)
	shop := testcert.New(t, testcert.Template{Names: []string{"shop.internal"}, By: first})
	for _, engine := range poise.Engines() {
		testcert.Replace(t, path, first.Cert)
		c := toAll(mirror(t))
		c.Engine = engine
		p := start(t, c)
		one := secured(t, p, poise.TLS{ClientAuth: &poise.ClientAuth{CA: path}})
		again := secured(t, p, poise.TLS{ClientAuth: &poise.ClientAuth{CA: path}})
		two := secured(t, p, poise.TLS{ClientAuth: &poise.ClientAuth{CA: ca2}})
		narrow := secured(t, p, poise.TLS{ClientAuth: &poise.ClientAuth{CA: path, SAN: []string{"cart.internal"}}})
		open := secured(t, p, poise.TLS{})
		client := certified(shop, false, tls.NewLRUClientSessionCache(1)) // its sessions are found by the server's name alone
		visit := func(address string, accepted, resumes bool) {
			t.Helper()
			got, resumed, err := forge(client, "https://"+address+"/")
			if (err == nil) != accepted || resumed != resumes {
				t.Errorf("%s: %s, resumed %v, %v", engine, got, resumed, err)
			}
			if accepted && address != open && !strings.Contains(got, sequence(shop)) {
				t.Errorf("%s: resumed %v, but the certificate was not passed on: %s", engine, resumed, got)
			}
		}
		visit(one, true, false)
		visit(one, true, true)
		visit(again, true, true)
		visit(two, false, false)
		visit(one, true, true) // the client still has the session of before
		visit(narrow, false, false)
		visit(one, true, true)
		visit(open, true, false)
		visit(one, true, false)

		testcert.Replace(t, path, second.Cert)
		eventually(t, "the client's authority is gone", func() bool {
			_, _, err := forge(certified(shop, false, nil), "https://"+one+"/")
			return err != nil
		})
		visit(one, false, false)
	}
}

// The proxy shows endpoints its certificate, a new one once the files have changed, on new
// connections; those that are open stay. It takes endpoints by the names that are listed.
func TestEndpointsVerifyTheProxy(t *testing.T) {
	root := testcert.New(t, testcert.Template{Names: []string{"root"}})
	ca, _ := root.Files(t)
	own := func(serial int64) *testcert.Cert {
		return testcert.New(t, testcert.Template{Names: []string{"spiffe://example.org/poise"}, By: root, Serial: serial})
	}
	cert, key := own(1).Files(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/close" {
			w.Header().Set("Connection", "close")
		}
		fmt.Fprintf(w, "%v %s", r.TLS.PeerCertificates[0].SerialNumber, r.RemoteAddr)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	shown := testcert.New(t, testcert.Template{Names: []string{"search.internal", "spiffe://example.org/search"}, By: root})
	server.TLS = &tls.Config{Certificates: []tls.Certificate{shown.TLS}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: root.Pool()}
	server.StartTLS()
	defer server.Close()

	for _, engine := range poise.Engines() {
		own(1).Write(t, cert, key)
		c := toAll(server.URL)
		c.Engine = engine
		s := c.Services["all"]
		s.TLS = &poise.EndpointTLS{CA: ca, Cert: cert, Key: key, SPIFFE: []string{"spiffe://example.org"}}
		c.Services["all"] = s
		p := start(t, c)
		front := "http://" + serve(t, p)
		get := func(path string) string { _, content := get(t, http.DefaultClient, front+path); return content }
		first := get("/")
		if !strings.HasPrefix(first, "1 ") {
			t.Fatalf("%s: %s", engine, first)
		}
		own(2).Write(t, cert, key)
		if err := p.Apply(c); err != nil {
			t.Fatal(err)
		}
		if got := get("/close"); got != first {
			t.Errorf("%s: the open connection was dropped: %s, then %s", engine, first, got)
		}
		if got := get("/"); !strings.HasPrefix(got, "2 ") {
			t.Errorf("%s: a new connection shows the old certificate: %s", engine, got)
		}
		if engine == poise.Engines()[0] { // the watcher is the same for all, and may take seconds
			own(3).Write(t, cert, key)
			eventually(t, "the files are followed", func() bool { return strings.HasPrefix(get("/close"), "3 ") })
		}

		for _, names := range []struct {
			san, spiffe []string
			ok          bool
		}{
			{[]string{"search.internal"}, nil, true}, {[]string{"*.internal"}, nil, true}, {[]string{"cart.internal"}, nil, false},
			{nil, []string{"spiffe://example.org/search"}, true}, {nil, []string{"spiffe://example.org/cart"}, false},
			{[]string{"cart.internal"}, []string{"spiffe://example.org"}, true},
			{nil, nil, false}, // by the host name: its address is not in the certificate
		} {
			s.TLS = &poise.EndpointTLS{CA: ca, Cert: cert, Key: key, SAN: names.san, SPIFFE: names.spiffe}
			s.Breaker.Off = true
			c.Services = map[string]poise.Service{"all": s}
			if err := p.Apply(c); err != nil {
				t.Fatal(err)
			}
			res, err := http.Get(front)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if (res.StatusCode == 200) != names.ok {
				t.Errorf("%s: %+v: %d", engine, names, res.StatusCode)
			}
		}
		s.TLS = &poise.EndpointTLS{Cert: cert, Key: key, SPIFFE: []string{"spiffe://example.org"}} // the system's authorities
		c.Services = map[string]poise.Service{"all": s}
		if err := p.Apply(c); err != nil {
			t.Fatal(err)
		}
		if res, err := http.Get(front); err != nil || res.StatusCode != 502 {
			t.Errorf("%s: an unknown authority: %v, %v", engine, res, err)
		}
	}
}
