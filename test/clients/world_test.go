package clients

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/testcert"
	"github.com/poise-lb/poise/test/internal/rig"
)

const (
	uploadBytes = 20 << 20
	parallel    = 60
	headBytes   = 8 << 10 // limits.head
)

// A world is a poise of one engine, with an endpoint behind it that is asked by HTTP/1.1 below
// /one/ and by HTTP/2 below /two/.
type world struct {
	t      *testing.T
	bases  map[string]string // URLs, by what they are
	ca     string            // PEM file with the certificate
	upload string            // file of uploadBytes
	sum    string            // its SHA-256 in hex
	began  chan struct{}     // responses of /endless that have begun
	left   chan string       // and that were broken off
}

// newWorld starts the poise at path with that engine.
func newWorld(t *testing.T, path, engine string) *world {
	w := &world{t: t, began: make(chan struct{}, 100), left: make(chan string, 100)}
	endpoint := httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	endpoint.Config.ErrorLog = log.New(io.Discard, "", 0)
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	endpoint.Config.Protocols = &protocols
	endpoint.Start()
	t.Cleanup(endpoint.Close)

	dir := t.TempDir()
	w.ca, w.upload = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "upload")
	testcert.New(t, testcert.Template{Names: []string{"localhost", "127.0.0.1"}}).Write(t, w.ca, filepath.Join(dir, "key.pem"))
	content := bytes.Repeat([]byte("All that is sent has to come back, in order and once.\n"), uploadBytes/54+1)[:uploadBytes]
	if err := os.WriteFile(w.upload, content, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	w.sum = hex.EncodeToString(sum[:])

	plain, secure := rig.Address(t), rig.Address(t)
	at := strings.TrimPrefix(endpoint.URL, "http://")
	rig.Write(t, filepath.Join(dir, "poise.yaml"), fmt.Sprintf(`version: 1
listen:
  - %s
  - address: %s
    tls: {certificates: [{cert: cert.pem, key: key.pem}]}
limits: {head: %dKiB}
services:
  one: {endpoints: ["http://%s"]}
  two: {endpoints: ["h2c://%s"]}
routes:
  - {match: {path: /one/**}, rewrite: {strip_prefix: /one}, service: one}
  - {match: {path: /two/**}, rewrite: {strip_prefix: /two}, service: two}
`, plain, secure, headBytes>>10, at, at))
	p := rig.Start(t, rig.Command{Path: path, Args: []string{"run", "-c", filepath.Join(dir, "poise.yaml"), "--engine", engine}})
	p.Await("poise: ready on http://" + plain)
	w.bases = map[string]string{
		"prior knowledge, HTTP1 behind": "http://" + plain + "/one", "prior knowledge, HTTP2 behind": "http://" + plain + "/two",
		"ALPN, HTTP1 behind": "https://" + secure + "/one", "ALPN, HTTP2 behind": "https://" + secure + "/two",
	}
	return w
}

// serve is the endpoint:
//
//	/hello     the version it was asked by, which every response has in Endpoint-Protocol
//	/echo      the content, and the trailers Sum, its SHA-256, and Seen, the trailer Check that came
//	/keep      the content, when all of it has come: some clients read no response before
//	/endless   content until the client has left
func (w *world) serve(out http.ResponseWriter, r *http.Request) {
	http.NewResponseController(out).EnableFullDuplex()
	out.Header().Set("Endpoint-Protocol", r.Proto)
	switch r.URL.Path {
	case "/hello":
		fmt.Fprintln(out, "hello by", r.Proto)
	case "/echo":
		out.Header().Set("Trailer", "Sum, Seen")
		hash := sha256.New()
		out.(http.Flusher).Flush()
		io.Copy(out, io.TeeReader(r.Body, hash))
		out.Header().Set("Sum", hex.EncodeToString(hash.Sum(nil)))
		out.Header().Set("Seen", r.Trailer.Get("Check"))
	case "/keep":
		content, _ := io.ReadAll(r.Body)
		out.Write(content)
	case "/endless":
		out.(http.Flusher).Flush()
		w.began <- struct{}{}
		for r.Context().Err() == nil {
			if _, err := out.Write(make([]byte, 16<<10)); err != nil {
				break
			}
		}
		w.left <- r.Proto
	default:
		http.NotFound(out, r)
	}
}

// hasBegun waits until a response of /endless has begun.
func (w *world) hasBegun(t *testing.T) {
	t.Helper()
	select {
	case <-w.began:
	case <-time.After(rig.Patience):
		t.Fatal("the endpoint was not asked for /endless")
	}
}

// hasLeft waits until a response of /endless has begun and was broken off.
func (w *world) hasLeft(t *testing.T, base string) {
	t.Helper()
	w.hasBegun(t)
	w.hasEnded(t, base)
}

// hasEnded waits until it was broken off.
func (w *world) hasEnded(t *testing.T, base string) {
	t.Helper()
	want := "HTTP/1.1"
	if strings.HasSuffix(base, "/two") {
		want = "HTTP/2.0"
	}
	select {
	case by := <-w.left:
		if by != want {
			t.Errorf("the endpoint was asked by %s, want %s", by, want)
		}
	case <-time.After(rig.Patience):
		t.Error("the endpoint is still sending to a client that has left")
	}
}
