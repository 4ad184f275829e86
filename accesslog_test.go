package poise_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
)

// logText waits until the file has so many lines, and returns them.
func logText(t *testing.T, path string, lines int) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		b, _ := os.ReadFile(path)
		if strings.Count(string(b), "\n") >= lines {
			return string(b)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has less than %d lines:\n%s", path, lines, b)
		}
	}
}

// TestAccessLogSaysTheVersionOfTLS: on every engine, for both versions of HTTP, also mounted.
func TestAccessLogSaysTheVersionOfTLS(t *testing.T) {
	for _, engine := range poise.Engines() {
		for version, word := range map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"} {
			for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
				t.Run(fmt.Sprint(engine, " ", word, " ", protocol), func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "access.log")
					c := toAll(named(t, "a"))
					c.Engine, c.AccessLog = engine, poise.AccessLog{Path: path}
					p := start(t, c)
					l, err := net.Listen("tcp", "127.0.0.1:0")
					if err != nil {
						t.Fatal(err)
					}
					go p.ServeTLS(l, selfSigned(t))
					tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MaxVersion: version}, ForceAttemptHTTP2: protocol == "HTTP/2.0"}
					if protocol == "HTTP/1.1" {
						tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
					}
					defer tr.CloseIdleConnections()
					get(t, &http.Client{Transport: tr}, "https://"+l.Addr().String()+"/t?a=b")
					var line struct {
						TLS, Scheme, Protocol, Query string
						Generation                   int
					}
					if err := json.Unmarshal([]byte(logText(t, path, 1)), &line); err != nil {
						t.Fatal(err)
					}
					if line.TLS != word || line.Scheme != "https" || line.Protocol != protocol || line.Query != "a=…" || line.Generation != 1 {
						t.Errorf("%+v", line)
					}
				})
			}
		}
	}
}

// TestReopenLogs: an embedder rotates the log; then Apply changes its format, and all lines are
// in one of the files.
func TestReopenLogs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	c := toAll(named(t, "a"))
	c.AccessLog.Path = path
	p := start(t, c)
	url := "http://" + serve(t, p)
	get(t, http.DefaultClient, url+"/one")
	logText(t, path, 1)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	get(t, http.DefaultClient, url+"/two")
	if text := logText(t, path+".1", 2); !strings.Contains(text, `"path":"/two"`) {
		t.Errorf("before ReopenLogs lines go on into the file that was moved: %s", text)
	}
	p.ReopenLogs()
	get(t, http.DefaultClient, url+"/three")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		old, _ := os.ReadFile(path + ".1")
		now, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(old)+string(now), `"path":"/three"`) {
			break // in whichever file: the goroutine that writes opens the new one soon
		}
		if time.Now().After(deadline) {
			t.Fatalf("no new file, or no line: %v, %s, %s", err, old, now)
		}
	}
	c.AccessLog.Format = "$request_method $request_uri $status $generation"
	if err := p.Apply(c); err != nil {
		t.Fatal(err)
	}
	get(t, http.DefaultClient, url+"/four")
	http.DefaultClient.CloseIdleConnections()
	shut(t, p)
	if text := logText(t, path, 1); !strings.HasSuffix(text, "GET /four 200 2\n") {
		t.Error(text)
	}
}
