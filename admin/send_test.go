package admin

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
)

// sent sends a request through the proxy and returns what became of it.
func (s *side) sent(content string) (out poise.Sent) {
	s.Helper()
	status, text := s.change("POST", "/api/v1/send", content, "")
	if status != 200 {
		s.Fatalf("%s: %d %s", content, status, text)
	}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		s.Fatal(err)
	}
	var v any
	json.Unmarshal([]byte(text), &v)
	d := described(s.T)
	d.check(s.T, "sent", d.Components.Schemas["Sent"], v)
	return out
}

// newSender is a proxy of role operate in front of an endpoint of that handler.
func newSender(t *testing.T, h http.HandlerFunc) (*side, string) {
	t.Helper()
	backend := httptest.NewServer(h)
	t.Cleanup(backend.Close)
	p, err := poise.New(poise.Config{
		Logger: slog.New(slog.DiscardHandler),
		Services: map[string]poise.Service{"users": {
			Endpoints: []poise.Endpoint{{URL: backend.URL}}, Policy: poise.Policy{Type: "consistent_hash", Key: "header(X-User)"},
		}},
		Routes: []poise.Route{{Name: "all", Service: "users", Match: poise.Match{Path: "/users/**"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	s := &side{T: t, proxy: p, server: httptest.NewServer(Handler(p, Options{Tokens: []Token{{"ops", secret, Operate}, {"wall", looker, View}}}))}
	t.Cleanup(s.server.Close)
	return s, backend.URL
}

// Routes that ask for a listener can be tried, and a name that is none is refused with the nearest.
func TestSendByAListener(t *testing.T) {
	backend := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(backend.Close)
	p, err := poise.New(poise.Config{
		Logger:   slog.New(slog.DiscardHandler),
		Services: map[string]poise.Service{"s": {Endpoints: []poise.Endpoint{{URL: backend.URL}}}},
		Routes: []poise.Route{
			{Name: "inner", Match: poise.Match{Path: "/**", Listener: "inbound"}, Service: "s"},
			{Name: "outer", Match: poise.Match{Path: "/**"}, Service: "s"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	s := &side{T: t, proxy: p, server: httptest.NewServer(Handler(p, Options{Tokens: []Token{{"ops", secret, Operate}}}))}
	t.Cleanup(s.server.Close)
	for listener, want := range map[string]string{"": "outer", "inbound": "inner"} {
		if out := s.sent(`{"url":"/","listener":"` + listener + `"}`); out.Route != want || out.Status != 404 {
			t.Errorf("listener %q: %+v", listener, out)
		}
	}
	if status, text := s.change("POST", "/api/v1/send", `{"url":"/","listener":"inbond"}`, ""); status != 400 || !strings.Contains(text, "did you mean inbound?") {
		t.Errorf("%d %s", status, text)
	}
}

// A request that is sent reaches the endpoint as a client's does, and comes back with all that
// became of it.
func TestSend(t *testing.T) {
	var got *http.Request
	var content []byte
	s, url := newSender(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		content, _ = io.ReadAll(r.Body)
		w.Header().Set("X-From", "it")
		w.WriteHeader(418)
		io.WriteString(w, "short and stout")
	})
	out := s.sent(`{"method":"POST","url":"https://api.example.com/users/7?a=b","fields":[{"name":"X-User","value":"7"}],"content":"hello"}`)
	if got.Method != "POST" || got.Host != "api.example.com" || got.RequestURI != "/users/7?a=b" || got.Header.Get("X-User") != "7" || got.Header.Get("X-Forwarded-Proto") != "https" || string(content) != "hello" {
		t.Errorf("the endpoint got %s %s %s %v %q", got.Method, got.Host, got.RequestURI, got.Header, content)
	}
	if out.Status != 418 || out.Content != "short and stout" || out.Bytes != 15 || out.Cut != "" || out.Route != "all" || out.Service != "users" || out.Took <= 0 {
		t.Errorf("%+v", out)
	}
	if len(out.Attempts) != 1 || out.Attempts[0].Endpoint != url || out.Attempts[0].Status != 418 {
		t.Errorf("%+v", out.Attempts)
	}
	if !strings.Contains(mustJSON(t, out.Fields), `{"name":"X-From","value":"it"}`) {
		t.Errorf("%v", out.Fields)
	}
	if out := s.sent(`{"url":"/nowhere"}`); out.Status != 404 || out.Service != "" || out.Reason == "" || len(out.Attempts) != 0 {
		t.Errorf("%+v", out)
	}
	if n := s.proxy.Status().Services[0].Endpoints[0].Attempts; n != 1 {
		t.Errorf("%d attempts were counted", n)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// No address of the question is connected to: a listener that the URL, the Host and other fields
// name hears nothing.
func TestSendGoesNowhereElse(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan struct{}, 10)
	go func() {
		for {
			c, err := other.Accept()
			if err != nil {
				return
			}
			came <- struct{}{}
			c.Close()
		}
	}()
	t.Cleanup(func() { other.Close() })
	s, _ := newSender(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })
	at := other.Addr().String()
	for _, content := range []string{
		`{"url":"http://` + at + `/users/"}`,
		`{"url":"http://` + at + `/elsewhere"}`,
		`{"url":"/users/","fields":[{"name":"Host","value":"` + at + `"},{"name":"X-Forwarded-Host","value":"` + at + `"},{"name":"Forwarded","value":"host=` + at + `"}]}`,
		`{"url":"//` + at + `/users/"}`,
	} {
		if out := s.sent(content); out.Status == 0 {
			t.Errorf("%s: %+v", content, out)
		}
	}
	select {
	case <-came:
		t.Error("a connection was made to an address of the question")
	default:
	}
}

// What must not be sent is refused with the reason: by role, by guard, by bounds.
func TestSendIsRefused(t *testing.T) {
	s, _ := newSender(t, func(http.ResponseWriter, *http.Request) { t.Error("the endpoint was asked") })
	for content, want := range map[string]string{
		`{}`: "URL is missing", `{"url":"ftp://a/"}`: "http or https", `{"url":"/a b"}`: "no request",
		`{"url":"/users/","fields":[{"name":"Transfer-Encoding","value":"chunked"}]}`: "leave it out",
		`{"url":"/users/","fields":[{"name":"upgrade","value":"websocket"}]}`:         "leave it out",
		`{"url":"/users/","fields":[{"name":"X","value":"a\r\nHost: b"}]}`:            "line break",
		`{"url":"/users/","content":"` + strings.Repeat("x", 33<<10) + `"}`:           "at most 32768",
		`{"url":"/users/","client":"10.0.0.1"}`:                                       "client",
	} {
		if status, text := s.change("POST", "/api/v1/send", content, ""); status != 400 || !strings.Contains(text, want) {
			t.Errorf("%.80s: %d %s, want %s", content, status, text, want)
		}
	}
	asks := func(r *http.Request) {
		r.Body = readCloser{strings.NewReader(`{"url":"/users/"}`)}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(field, "1")
	}
	for who, edit := range map[string]func(*http.Request){
		"without a token":  func(*http.Request) {},
		"who may only see": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+looker) },
		"another page": func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+secret)
			r.Header.Set("Origin", "http://evil.example")
		},
		"a form": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secret); r.Header.Del(field) },
	} {
		status, text := s.ask("POST", "/api/v1/send", func(r *http.Request) { asks(r); edit(r) })
		if status != 401 && status != 403 {
			t.Errorf("%s: %d %s", who, status, text)
		}
	}
}

// An answer that does not end, is long, or is no text is bounded.
func TestSendIsBounded(t *testing.T) {
	s, _ := newSender(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/users/long":
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("ä", 2048)); err != nil {
					return
				}
			}
		case "/users/binary":
			w.Write([]byte{0xff, 0, 1})
		case "/users/never":
			<-r.Context().Done()
		}
	})
	if out := s.sent(`{"url":"/users/long"}`); out.Bytes != 64<<10 || !strings.Contains(out.Cut, "65536") || !strings.HasPrefix(out.Content, "ää") {
		t.Errorf("%d %q %.10q", out.Bytes, out.Cut, out.Content)
	}
	if out := s.sent(`{"url":"/users/binary"}`); out.Bytes != 3 || out.Content != "" || out.Cut != "" {
		t.Errorf("%+v", out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if out, err := s.proxy.Send(ctx, poise.SendRequest{URL: "/users/never"}); err != nil || out.Status != 0 || !strings.Contains(out.Cut, "in time") {
		t.Errorf("%+v %v", out, err)
	}
}

// Keys are spread by weight, and those of an endpoint that is out are served by others.
func TestKeys(t *testing.T) {
	s := newSide(t, Options{})
	if _, text := s.ask("GET", "/api/v1/services/users/keys", nil); !strings.Contains(text, `{"sampled":0,"away":0,"endpoints":[]}`) {
		t.Errorf("without hashing: %s", text)
	}
	var hashed []poise.Endpoint
	for i := range 4 {
		hashed = append(hashed, poise.Endpoint{URL: "http://127.0.0.1:" + string(rune('1'+i)), Weight: map[bool]int{true: 2, false: 1}[i == 0]})
	}
	c := *s.proxy.Config()
	c.Services = map[string]poise.Service{"users": {Endpoints: hashed, Policy: poise.Policy{Type: "consistent_hash", Key: "client_ip"}}}
	if err := s.proxy.Apply(c); err != nil {
		t.Fatal(err)
	}
	shares := func() poise.Keyspace {
		t.Helper()
		_, text := s.ask("GET", "/api/v1/services/users/keys", nil)
		var k poise.Keyspace
		if err := json.Unmarshal([]byte(text), &k); err != nil || k.Sampled < 1000 || len(k.Endpoints) != 4 {
			t.Fatalf("%v %s", err, text)
		}
		return k
	}
	before := shares()
	if before.Away != 0 {
		t.Errorf("%+v", before)
	}
	for i, e := range before.Endpoints {
		if want := map[bool]float64{true: 0.4, false: 0.2}[i == 0]; math.Abs(e.Expected-want) > 0.001 || math.Abs(e.Owned-want) > 0.08 || e.Owned != e.Served {
			t.Errorf("%+v", e)
		}
	}
	out := before.Endpoints[1]
	if _, err := s.proxy.Override(poise.OverrideRequest{Service: "users", Endpoint: out.Endpoint, Kind: "drain"}); err != nil {
		t.Fatal(err)
	}
	after := shares()
	if e := after.Endpoints[1]; e.Served != 0 || e.Owned != out.Owned || math.Abs(after.Away-out.Owned) > 0.001 {
		t.Errorf("%+v %v", e, after.Away)
	}
	if status, text := s.ask("GET", "/api/v1/services/user/keys", nil); status != 404 || !strings.Contains(text, `"near":"users"`) {
		t.Errorf("%d %s", status, text)
	}
}
