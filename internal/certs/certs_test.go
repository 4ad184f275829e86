package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/testcert"
)

// certify makes a self-signed certificate, with the serial number n+1: none has 0.
func certify(t testing.TB, n int64, names ...string) *testcert.Cert {
	t.Helper()
	return testcert.New(t, testcert.Template{Serial: n + 1, Names: names})
}

func store(t testing.TB, dir, name string, c *testcert.Cert) config.Certificate {
	t.Helper()
	p := config.Certificate{Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key")}
	c.Write(t, p.Cert, p.Key)
	return p
}

// shake does a real handshake and returns the leaf the client was shown.
func shake(t testing.TB, s *Store, client *tls.Config) *x509.Certificate {
	t.Helper()
	leaf, err := handshake(s, client)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// load opens the Store of a listener that has these certificates and nothing else.
func load(pairs []config.Certificate) (*Store, error) { return Open(config.TLS{Certificates: pairs}) }

func handshake(s *Store, client *tls.Config) (*x509.Certificate, error) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	served := make(chan error, 1)
	go func() { served <- tls.Server(b, &tls.Config{GetCertificate: s.GetCertificate}).Handshake() }()
	client.InsecureSkipVerify = true
	c := tls.Client(a, client)
	if err := c.Handshake(); err != nil {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0], <-served
}

func TestChosenByName(t *testing.T) {
	dir := t.TempDir()
	s, err := load([]config.Certificate{
		store(t, dir, "default", certify(t, 0, "default.example")),
		store(t, dir, "wild", certify(t, 1, "*.example.com", "example.com")),
		store(t, dir, "exact", certify(t, 2, "API.example.com")),
		store(t, dir, "ip", certify(t, 3, "127.0.0.1", "::1")),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, serial := range map[string]int64{
		"default.example": 0, "api.example.com": 2, "API.EXAMPLE.COM": 2, "www.example.com": 1, "example.com": 1,
		"a.b.example.com": 0, // a wildcard stands for one label
		"unknown.test":    0, "": 0, "com": 0,
	} {
		if got := shake(t, s, &tls.Config{ServerName: name}).SerialNumber.Int64() - 1; got != serial {
			t.Errorf("%q: certificate %d, want %d", name, got, serial)
		}
	}
}

func TestChosenByAddress(t *testing.T) {
	dir := t.TempDir()
	s, err := load([]config.Certificate{
		store(t, dir, "default", certify(t, 0, "default.example")),
		store(t, dir, "ip", certify(t, 1, "127.0.0.1")),
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: s.GetCertificate})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.ConnectionState().PeerCertificates[0].SerialNumber.Int64() - 1; got != 1 {
		t.Errorf("certificate %d, want that of the address", got)
	}
}

func TestChosenByKeyType(t *testing.T) {
	dir := t.TempDir()
	s, err := load([]config.Certificate{
		store(t, dir, "ecdsa", certify(t, 0, "both.example")),
		store(t, dir, "rsa", testcert.New(t, testcert.Template{Serial: 2, Names: []string{"both.example"}, Kind: testcert.RSA2048})),
	})
	if err != nil {
		t.Fatal(err)
	}
	onlyRSA := func() *tls.Config {
		return &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
	}
	for _, name := range []string{"both.example", "other.example", ""} {
		c := onlyRSA()
		c.ServerName = name
		if got := shake(t, s, c).SerialNumber.Int64() - 1; got != 1 {
			t.Errorf("%q, a client of RSA only: certificate %d", name, got)
		}
		if got := shake(t, s, &tls.Config{ServerName: name}).SerialNumber.Int64() - 1; got != 0 {
			t.Errorf("%q, any client: certificate %d, want the first", name, got)
		}
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	good, other := certify(t, 0, "a.example"), certify(t, 0, "b.example")
	join := func(parts ...[]byte) (b []byte) {
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	block := func(kind string, body string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(body)})
	}
	for name, c := range map[string]struct {
		cert, key []byte
		file      string // which is blamed
		want      string
	}{
		"mismatch":       {good.Cert, other.Key, "x.key", "the key does not belong to the certificate in " + filepath.Join(dir, "x.pem")},
		"no cert":        {[]byte("hello"), good.Key, "x.pem", "no CERTIFICATE"},
		"empty cert":     {nil, good.Key, "x.pem", "no CERTIFICATE"},
		"key as cert":    {good.Key, good.Key, "x.pem", "no CERTIFICATE"},
		"bad DER":        {block("CERTIFICATE", "junk"), good.Key, "x.pem", "certificate 1"},
		"bad second DER": {join(good.Cert, block("CERTIFICATE", "junk")), good.Key, "x.pem", "certificate 2"},
		"no key":         {good.Cert, good.Cert, "x.key", "no PRIVATE KEY"},
		"bad key":        {good.Cert, block("PRIVATE KEY", "junk"), "x.key", "private key"},
		"encrypted":      {good.Cert, block("ENCRYPTED PRIVATE KEY", "junk"), "x.key", "passphrase"},
		"too large":      {make([]byte, fileBytesMax+1), good.Key, "x.pem", "longer than"},
	} {
		_, err := load([]config.Certificate{store(t, dir, "x", &testcert.Cert{Cert: c.cert, Key: c.key})})
		if err == nil || !strings.HasPrefix(err.Error(), filepath.Join(dir, c.file)+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := load([]config.Certificate{{Cert: filepath.Join(dir, "none.pem"), Key: dir}, {Cert: dir, Key: dir}})
	if err == nil || !strings.Contains(err.Error(), "none.pem: no such file") || !strings.Contains(err.Error(), dir+": is not a regular file") {
		t.Errorf("both files must be named: %v", err)
	}
	if _, err := load(nil); err == nil {
		t.Error("no certificates at all were accepted")
	}
}

func TestReloadIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	a := store(t, dir, "a", certify(t, 0, "a.example"))
	b := store(t, dir, "b", certify(t, 1, "b.example"))
	s, err := load([]config.Certificate{a, b})
	if err != nil {
		t.Fatal(err)
	}
	serial := func(name string) int64 {
		return shake(t, s, &tls.Config{ServerName: name}).SerialNumber.Int64() - 1
	}
	store(t, dir, "a", certify(t, 10, "a.example"))
	testcert.Replace(t, b.Key, certify(t, 0, "x").Key)
	if err := s.Reload(); err == nil || !strings.HasPrefix(err.Error(), b.Key) {
		t.Errorf("error: %v", err)
	}
	if serial("a.example") != 0 || serial("b.example") != 1 {
		t.Error("a failed reload changed what is served")
	}
	store(t, dir, "b", certify(t, 11, "b2.example"))
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if serial("a.example") != 10 || serial("b2.example") != 11 || serial("b.example") != 10 {
		t.Error("a good reload was not taken")
	}
	os.Remove(a.Cert)
	if s.Reload() == nil || serial("a.example") != 10 {
		t.Error("a file that is gone must be an error and change nothing")
	}
}

func TestWarnings(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	s, err := load([]config.Certificate{
		store(t, dir, "good", certify(t, 0, "good.example")),
		store(t, dir, "old", testcert.New(t, testcert.Template{Names: []string{"old.example"}, From: now.Add(-25 * time.Hour), Until: now.Add(-time.Hour)})),
		store(t, dir, "early", testcert.New(t, testcert.Template{Names: []string{"early.example"}, From: now.Add(24 * time.Hour)})),
	})
	if err != nil {
		t.Fatalf("an expired certificate is a warning, not an error: %v", err)
	}
	w := s.Warnings(time.Now())
	if len(w) != 2 || !strings.Contains(w[0], "old.pem: the certificate expired on") || !strings.Contains(w[1], "early.pem: the certificate is not valid before") {
		t.Errorf("%q", w)
	}
}

// watch runs Watch for a test and returns what reloaded was called with.
func watch(t *testing.T, s *Store) <-chan error {
	t.Helper()
	told := make(chan error, 100)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { s.Watch(ctx, func(err error) { told <- err }) })
	t.Cleanup(func() { cancel(); group.Wait() })
	return told
}

func await(t *testing.T, told <-chan error, want string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case err := <-told:
			if want == "" && err == nil || want != "" && err != nil && strings.Contains(err.Error(), want) {
				return
			}
		case <-late:
			t.Fatalf("no reload with %q", want)
		}
	}
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	p := store(t, dir, "a", certify(t, 0, "a.example"))
	s, err := load([]config.Certificate{p})
	if err != nil {
		t.Fatal(err)
	}
	told := watch(t, s)
	store(t, dir, "a", certify(t, 1, "a.example"))
	await(t, told, "")
	if got := shake(t, s, &tls.Config{}).SerialNumber.Int64() - 1; got != 1 {
		t.Errorf("serves %d", got)
	}
	testcert.Replace(t, p.Key, []byte("half"))
	await(t, told, "no PRIVATE KEY")
	// Written in place rather than renamed.
	again := certify(t, 2, "a.example")
	os.WriteFile(p.Cert, again.Cert, 0o600)
	os.WriteFile(p.Key, again.Key, 0o600)
	await(t, told, "")
	if got := shake(t, s, &tls.Config{}).SerialNumber.Int64() - 1; got != 2 {
		t.Errorf("serves %d", got)
	}
}

// TestWatchLinkedFolder is the way Kubernetes mounts secrets: files are links through a
// folder that is itself a link, and only that one is replaced.
func TestWatchLinkedFolder(t *testing.T) {
	dir := t.TempDir()
	write := func(version string, serial int64) {
		os.Mkdir(filepath.Join(dir, version), 0o700)
		store(t, filepath.Join(dir, version), "tls", certify(t, serial, "a.example"))
		os.Symlink(version, filepath.Join(dir, "..next"))
		if err := os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	write("v1", 1)
	p := config.Certificate{Cert: filepath.Join(dir, "tls.pem"), Key: filepath.Join(dir, "tls.key")}
	os.Symlink("..data/tls.pem", p.Cert)
	os.Symlink("..data/tls.key", p.Key)
	s, err := load([]config.Certificate{p})
	if err != nil {
		t.Fatal(err)
	}
	told := watch(t, s)
	write("v2", 2)
	await(t, told, "")
	if got := shake(t, s, &tls.Config{}).SerialNumber.Int64() - 1; got != 2 {
		t.Errorf("serves %d", got)
	}
}

// TestWatchBesideABusyFile: an access log in the same folder, say.
func TestWatchBesideABusyFile(t *testing.T) {
	dir := t.TempDir()
	s, err := load([]config.Certificate{store(t, dir, "a", certify(t, 0, "a.example"))})
	if err != nil {
		t.Fatal(err)
	}
	told := watch(t, s)
	stop := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				os.WriteFile(filepath.Join(dir, "access.log"), []byte(time.Now().String()), 0o600)
			}
		}
	})
	defer busy.Wait()
	defer close(stop)
	store(t, dir, "a", certify(t, 1, "a.example"))
	await(t, told, "")
}

// TestReloadUnderHandshakes: no handshake fails or sees a half set while reloads go on.
func TestReloadUnderHandshakes(t *testing.T) {
	dir := t.TempDir()
	p := store(t, dir, "a", certify(t, 0, "a.example"))
	s, err := load([]config.Certificate{p})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	stop := make(chan struct{})
	failed := make(chan error, 4)
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := handshake(s, &tls.Config{ServerName: "a.example"}); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for i := range 20 {
		m := certify(t, int64(i), "a.example")
		testcert.Replace(t, p.Key, m.Key)
		if err := s.Reload(); err == nil {
			t.Error("a key that does not fit was taken")
		}
		testcert.Replace(t, p.Cert, m.Cert)
		if err := s.Reload(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	group.Wait()
	close(failed)
	if err := errors.Join(<-failed); err != nil {
		t.Error(err)
	}
}

func BenchmarkGetCertificate(b *testing.B) {
	dir := b.TempDir()
	s, err := load([]config.Certificate{
		store(b, dir, "a", certify(b, 0, "a.example")),
		store(b, dir, "w", certify(b, 0, "*.example.com")),
	})
	if err != nil {
		b.Fatal(err)
	}
	hello := &tls.ClientHelloInfo{ServerName: "www.example.com", SupportedVersions: []uint16{tls.VersionTLS13},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.GetCertificate(hello); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDefaultCertificateAndCosts(t *testing.T) {
	dir := t.TempDir()
	rsa := store(t, dir, "rsa", testcert.New(t, testcert.Template{Serial: 3, Names: []string{"both.example"}, Kind: testcert.RSA2048}))
	def := store(t, dir, "default", certify(t, 3, "default.example"))
	s, err := Open(config.TLS{
		Certificates:       []config.Certificate{store(t, dir, "a", certify(t, 0, "a.example")), rsa, store(t, dir, "ecdsa", certify(t, 1, "both.example"))},
		DefaultCertificate: &def,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, serial := range map[string]int64{"a.example": 0, "unknown.test": 3, "": 3, "default.example": 3} {
		if got := shake(t, s, &tls.Config{ServerName: name}).SerialNumber.Int64() - 1; got != serial {
			t.Errorf("%q: certificate %d, want %d", name, got, serial)
		}
	}
	lines := s.Costs()
	if len(lines) != 1 || !strings.HasPrefix(lines[0], rsa.Cert+": ") || !strings.Contains(lines[0], "RSA of 2048 bits, which takes about 40 times") || !strings.HasSuffix(lines[0], "; list "+filepath.Join(dir, "ecdsa.pem")+" before it") {
		t.Errorf("%q", lines)
	}
}

// The profile is what clients meet.
func TestProfiles(t *testing.T) {
	dir := t.TempDir()
	pair := []config.Certificate{store(t, dir, "a", certify(t, 0, "a.example"))}
	for _, c := range []struct {
		how    config.TLS
		client *tls.Config
		ok     bool
	}{
		{config.TLS{}, &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{config.TLS{}, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, false},
		{config.TLS{MinVersion: "1.3"}, &tls.Config{MaxVersion: tls.VersionTLS12}, false},
		{config.TLS{Profile: "modern", MinVersion: "1.2"}, &tls.Config{MaxVersion: tls.VersionTLS12}, false},
		{config.TLS{Profile: "modern"}, &tls.Config{}, true},
	} {
		c.how.Certificates = pair
		s, err := Open(c.how)
		if err != nil {
			t.Fatal(err)
		}
		server := new(tls.Config)
		s.Secure(server)
		a, b := net.Pipe()
		go func() { tls.Server(b, server).Handshake(); b.Close() }()
		c.client.InsecureSkipVerify = true
		if err := tls.Client(a, c.client).Handshake(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.how, err)
		}
		a.Close()
	}
}

// What cannot be used of the authorities is said with their file, and changes nothing.
func TestAuthoritiesOfClients(t *testing.T) {
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	how := config.TLS{Certificates: []config.Certificate{store(t, dir, "a", certify(t, 0, "a.example"))}, ClientAuth: &config.ClientAuth{CA: ca}}
	if _, err := Open(how); err == nil || !strings.HasPrefix(err.Error(), ca+": ") {
		t.Error(err)
	}
	testcert.Replace(t, ca, certify(t, 1, "ca").Cert)
	s, err := Open(how)
	if err != nil {
		t.Fatal(err)
	}
	was := s.current.Load()
	testcert.Replace(t, ca, []byte("nothing"))
	if err := s.Reload(); err == nil || !strings.HasPrefix(err.Error(), ca+": ") || s.current.Load() != was {
		t.Error(err)
	}
	testcert.Replace(t, ca, certify(t, 2, "ca").Cert)
	if err := s.Reload(); err != nil || string(s.current.Load().binding) == string(was.binding) {
		t.Error("other authorities have the same binding", err)
	}
}
