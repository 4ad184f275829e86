//go:build linux

package stage

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// roleVariable makes this test's program a client of its own: see TestChild.
const roleVariable = "POISE_STAGE_CLIENT"

func TestMain(m *testing.M) {
	if address := os.Getenv(roleVariable); address != "" {
		if err := multiClient(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Print("all well")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// multiClient asks the endpoint for all that it knows in HTTP/2, by the client of net/http.
func multiClient(address string) error {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	ask := func(path string, content int) (string, http.Header, error) {
		r, err := client.Post("http://"+address+path, "application/grpc", strings.NewReader(strings.Repeat("y", content)))
		if err != nil {
			return "", nil, err
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		return string(text), r.Trailer, err
	}
	for path, want := range map[string]int{"/": Small, "/a" + PathSize + "1048576": 1 << 20, "/b" + PathSize + "0": 0} {
		if text, _, err := ask(path, 300_000); err != nil || len(text) != want {
			return fmt.Errorf("%s: %d bytes, %v", path, len(text), err)
		}
	}
	text, trailer, err := ask(PathCall, 10)
	if err != nil || text != string(callMessage) || trailer.Get("Grpc-Status") != "0" {
		return fmt.Errorf("a call: %d bytes, %v, %v", len(text), trailer, err)
	}
	client.Timeout = 50 * time.Millisecond
	if _, _, err := ask(PathStall, 1<<20); err == nil {
		return fmt.Errorf("%s was answered", PathStall)
	}
	return nil
}

// TestChild: a program is the client of the endpoint, in HTTP/2.
func TestChild(t *testing.T) {
	s, a := newTestServer(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := Command{Kind: Child, Args: []string{self}, Env: []string{roleVariable + "=" + a.Two[0]}, Process: os.Getpid()}
	if r, err := s.do(c); err != nil || r.Text != "all well" || r.CPU <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
	c.Args = []string{"/does/not/exist"}
	if r, err := s.do(c); err == nil {
		t.Errorf("%+v of a program that does not exist", r)
	}
}

// TestHoldMulti: connections with HTTP/2 are held once they have had an answer.
func TestHoldMulti(t *testing.T) {
	s, _ := newTestServer(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("a request by %s", r.Proto)
		}
		io.WriteString(w, "hello")
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	c := Command{Kind: Hold, Hold: HoldIdle, Multi: true, TLS: true, Address: server.Listener.Addr().String(), Connections: 20, Paths: []string{"/"}}
	if r := mustDo(t, s, c); r.Held != c.Connections {
		t.Errorf("%d connections", r.Held)
	}
	mustDo(t, s, Command{Kind: Release})
}
