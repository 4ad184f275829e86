package tracing

import (
	"crypto/tls"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/testcert"
)

// TestAuthoritiesAreFollowed: the receiver has a certificate of another authority than the file says,
// until the file is replaced. One that cannot be used changes nothing.
func TestAuthoritiesAreFollowed(t *testing.T) {
	old, now := testcert.New(t, testcert.Template{}), testcert.New(t, testcert.Template{})
	ca, _ := old.Files(t)
	r := &receiver{t: t}
	server := httptest.NewUnstartedServer(r)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{now.TLS}}
	server.StartTLS()
	t.Cleanup(server.Close)

	said := make(lines, 10)
	o := config.OTLP{Endpoint: server.URL, Timeout: time.Minute, TLS: &config.SourceTLS{CA: ca}}
	e, err := newExporter(config.Tracing{OTLP: o}, slog.New(slog.NewTextHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	body, err := e.pack(one)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.post(t.Context(), body); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Fatalf("verified by the old authority: %v", err)
	}
	testcert.Replace(t, ca, []byte("nothing of use"))
	said.expect(t, "those in use stay")
	testcert.Replace(t, ca, now.Cert)
	said.expect(t, "read again")
	if _, _, err := e.post(t.Context(), body); err != nil {
		t.Fatalf("verified by the new authority: %v", err)
	}
	if n := len(r.spans()); n != 2 {
		t.Errorf("%d spans have come, want 2", n)
	}
}

// lines is a log that a test waits for.
type lines chan string

func (l lines) Write(p []byte) (int, error) { l <- string(p); return len(p), nil }

func (l lines) expect(t *testing.T, text string) {
	t.Helper()
	select {
	case line := <-l:
		if !strings.Contains(line, text) {
			t.Fatalf("the log says %q, want %q", line, text)
		}
	case <-time.After(time.Minute):
		t.Fatalf("the log does not say %q", text)
	}
}
