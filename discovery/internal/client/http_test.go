package client

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestServers(t *testing.T) {
	for name, c := range map[string]struct {
		in, scheme  string
		credentials bool
		want        string // a URL, or a part of the error
	}{
		"URL":              {"https://h:1/p/", "http", false, "https://h:1/p"},
		"no scheme":        {"h:1", "https", false, "https://h:1"},
		"scheme needed":    {"h:1", "", false, "neither"},
		"other scheme":     {"ftp://h", "http", false, "neither"},
		"no host":          {"http://:80", "http", false, "neither"},
		"not one":          {"http://h:secret", "http", false, "not a URL"},
		"credentials":      {"http://u:secret@h", "http", false, "credentials"},
		"with credentials": {"http://u:p@h/", "", true, "http://u:p@h"},
		"query":            {"http://h?secret", "http", false, "query"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Servers([]string{c.in}, c.scheme, "", c.credentials)
			if err != nil {
				if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") || !strings.HasPrefix(err.Error(), "server 1 ") {
					t.Errorf("%v, want %s", err, c.want)
				}
			} else if got[0].String() != c.want {
				t.Errorf("%s, want %s", got[0], c.want)
			}
		})
	}
	if got, err := Servers(nil, "http", "http://127.0.0.1:1", false); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Servers(nil, "http", "", false); err == nil {
		t.Error("no servers are enough")
	}
}

func TestReadLine(t *testing.T) {
	long := strings.Repeat("x", 100)
	r := bufio.NewReaderSize(iotest.HalfReader(strings.NewReader("a\n"+long+"\nrest")), 16)
	for _, want := range []string{"a\n", long + "\n"} {
		if got, err := ReadLine(r, 200); err != nil || string(got) != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	if got, err := ReadLine(r, 200); err != io.EOF || string(got) != "rest" {
		t.Errorf("%q, %v", got, err)
	}
	r = bufio.NewReaderSize(strings.NewReader(long+long), 16)
	if _, err := ReadLine(r, 150); err == nil || err == io.EOF {
		t.Errorf("a line of 200 bytes where 150 are allowed: %v", err)
	}
}

// TestRequests: no redirect is followed, errors have no URL, and an answer is bounded.
func TestRequests(t *testing.T) {
	elsewhere := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		case "/elsewhere":
			elsewhere++
		case "/long":
			w.Write(make([]byte, 2000))
		case "/silent":
			<-r.Context().Done()
		}
	}))
	defer s.Close()
	c := NewHTTP(Options{Direct: true})
	defer c.CloseIdleConnections()
	if res, err := Send(t.Context(), c, http.MethodPost, s.URL+"/redirect", nil, []byte("{}")); err != nil || res.StatusCode != 307 || elsewhere != 0 {
		t.Errorf("%v, %v", res, err)
	}
	res, err := Send(t.Context(), c, http.MethodGet, s.URL+"/long", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), res, 1000); err == nil {
		t.Error("an answer of 2000 bytes where 1000 are allowed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Send(ctx, c, http.MethodGet, s.URL+"/silent?secret", nil, nil); err != ErrSilent {
		t.Errorf("%v, want %v", err, ErrSilent)
	}
	gone := errors.New("gone")
	cut, cutNow := context.WithCancelCause(t.Context())
	cutNow(gone)
	if _, err := Send(cut, c, http.MethodGet, s.URL+"/silent?secret", nil, nil); err != gone {
		t.Errorf("%v, want %v", err, gone)
	}
	s.Close()
	if _, err := Send(t.Context(), c, http.MethodGet, s.URL+"/?secret", nil, nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}
