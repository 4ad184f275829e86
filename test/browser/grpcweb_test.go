package browser

import (
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/testcert"
)

//go:embed testdata/grpcweb.js
var clients string

// A shopFront is a proxy before an echo: over TLS, where the browser speaks HTTP/2, and without,
// where it speaks HTTP/1.1. Pages come from an origin of their own, and through the proxy.
type shopFront struct {
	*testing.T
	*echo
	pages        *httptest.Server
	plain, https string // the proxy's two origins
	log          string // file with the access log
}

func newShopFront(t *testing.T) *shopFront {
	t.Helper()
	s := &shopFront{T: t, echo: newEcho(t), log: filepath.Join(t.TempDir(), "access.log")}
	s.pages = httptest.NewServer(http.HandlerFunc(servePage))
	t.Cleanup(s.pages.Close)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close() // nothing listens there
	cors := &poise.CORS{Origins: []string{s.pages.URL}}
	p, err := poise.New(poise.Config{
		Services: map[string]poise.Service{
			"echo":  {Endpoints: []poise.Endpoint{{URL: s.URL}}},
			"gone":  {Endpoints: []poise.Endpoint{{URL: "h2c://" + gone.Addr().String()}}, Retry: poise.Retry{SameAfter: -1}},
			"pages": {Endpoints: []poise.Endpoint{{URL: s.pages.URL}}},
		},
		Routes: []poise.Route{
			{Match: poise.Match{GRPC: "shop.Echo/*"}, Service: "echo", GRPCWeb: true, CORS: cors},
			{Match: poise.Match{Path: "/shop.Gone/**"}, Service: "gone", GRPCWeb: true, CORS: cors},
			{Service: "pages"},
		},
		HalfClose: "leave", // the browser's way to abort a call over HTTP/1.1 without TLS
		AccessLog: poise.AccessLog{Path: s.log}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	cert, key := testcert.New(t, testcert.Template{}).Files(t)
	for _, serve := range []func(net.Listener) error{p.Serve, func(l net.Listener) error {
		return p.ServeTLS(l, poise.TLS{Certificates: []poise.Certificate{{Cert: cert, Key: key}}})
	}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go serve(l)
		if s.plain == "" {
			s.plain = "http://" + l.Addr().String()
		} else {
			s.https = "https://" + l.Addr().String()
		}
	}
	return s
}

// servePage serves the page, the packages of clients that make browser-deps has fetched, and a
// WebSocket.
func servePage(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/socket":
		webSocket(w, r)
	case strings.HasPrefix(r.URL.Path, "/packages/"):
		http.StripPrefix("/packages/", http.FileServer(http.Dir(packages()))).ServeHTTP(w, r)
	case r.URL.Path == "/favicon.ico":
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, `<!doctype html><title>clients</title>
<script type="importmap">{"imports": {
"@bufbuild/protobuf": "/packages/@bufbuild/protobuf/dist/esm/index.js",
"@bufbuild/protobuf/wkt": "/packages/@bufbuild/protobuf/dist/esm/wkt/index.js",
"@bufbuild/protobuf/wire": "/packages/@bufbuild/protobuf/dist/esm/wire/index.js",
"@bufbuild/protobuf/reflect": "/packages/@bufbuild/protobuf/dist/esm/reflect/index.js",
"@bufbuild/protobuf/codegenv2": "/packages/@bufbuild/protobuf/dist/esm/codegenv2/index.js",
"@connectrpc/connect": "/packages/@connectrpc/connect/dist/esm/index.js",
"@connectrpc/connect/protocol": "/packages/@connectrpc/connect/dist/esm/protocol/index.js",
"@connectrpc/connect/protocol-connect": "/packages/@connectrpc/connect/dist/esm/protocol-connect/index.js",
"@connectrpc/connect/protocol-grpc": "/packages/@connectrpc/connect/dist/esm/protocol-grpc/index.js",
"@connectrpc/connect/protocol-grpc-web": "/packages/@connectrpc/connect/dist/esm/protocol-grpc-web/index.js",
"@connectrpc/connect-web": "/packages/@connectrpc/connect-web/dist/esm/index.js"
}}</script>
<script>var module = { exports: {} }</script><script src="/packages/grpc-web/index.js"></script><script>var grpcweb = module.exports</script>
<script>`+clients+`</script>`)
	}
}

// packages is the folder with node_modules of the clients.
func packages() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "poise-browser", "clients", "node_modules")
}

// An outcome is what a client in the page reports.
type outcome struct {
	HTTP     int               `json:"http"`
	Type     string            `json:"type"`
	Messages []string          `json:"messages"`
	Status   string            `json:"status"`
	Message  string            `json:"message"`
	Details  string            `json:"details"`
	Reason   string            `json:"reason"`
	Hidden   string            `json:"hidden"`
	Trailers map[string]string `json:"trailers"`
	Rest     int               `json:"rest"`
	Error    string            `json:"error"`
	Code     any               `json:"code"`
}

// begin starts what an expression, a promise, stands for.
func (b *tab) begin(name, promise string) {
	b.Helper()
	ask[bool](b, fmt.Sprintf("start(%q, async () => %s)", name, promise))
}

// ended waits for its end, and returns what has come of it.
func (b *tab) ended(name string) (o outcome) {
	b.Helper()
	b.until("the end of "+name, fmt.Sprintf("results[%q]", name))
	if err := json.Unmarshal([]byte(ask[string](b, fmt.Sprintf("JSON.stringify(results[%q])", name))), &o); err != nil {
		b.Fatal(err)
	}
	return o
}

func (b *tab) outcome(promise string) outcome {
	b.Helper()
	b.begin("it", promise)
	return b.ended("it")
}

// steps plays a stream of three messages, each of which the server sends only when the page has
// the one before it: a message that is held back anywhere is never followed by another.
func (s *shopFront) steps(page *tab, stream string) outcome {
	s.Helper()
	ask[int](page, "seen.length = 0")
	page.begin("stream", stream)
	for i, what := range []string{"one", "two", "three"} {
		page.until("message "+what, fmt.Sprintf("seen.length == %d && seen[%d] == %q", i+1, i, what))
		if i < 2 {
			if o := page.outcome(fmt.Sprintf("call(%q, '', {quiet: true})", s.https+"/shop.Echo/Next")); o.Status != "0" {
				s.Fatalf("next: %+v", o)
			}
		}
	}
	return page.ended("stream")
}

// lines are those of the access log that contain a text.
func (s *shopFront) lines(text string) (out []string) {
	s.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		all, err := os.ReadFile(s.log)
		if err != nil && !os.IsNotExist(err) {
			s.Fatal(err)
		}
		for line := range strings.Lines(string(all)) {
			if strings.Contains(line, text) {
				out = append(out, line)
			}
		}
		if len(out) > 0 {
			return out
		}
		if time.Now().After(end) {
			s.Fatalf("no line of the log has %s: %s", text, all)
		}
	}
}

// A client of this suite's own, by both protocols and in both forms, on another origin.
func TestGRPCWeb(t *testing.T) {
	t.Parallel()
	s := newShopFront(t)
	page := open(t, "en-US", 800, 600, s.pages.URL, "Failed to load", "CORS")
	for _, base := range []string{s.https, s.plain} {
		for _, mode := range []string{"binary", "text"} {
			do := func(method, text string) outcome {
				t.Helper()
				return page.outcome(fmt.Sprintf("call(%q, %q, {mode: %q})", base+method, text, mode))
			}
			details := base64.RawStdEncoding.EncodeToString([]byte(failDetails))
			form := map[string]string{"binary": "application/grpc-web+proto", "text": "application/grpc-web-text+proto"}[mode]
			o := do("/shop.Echo/Unary", "Zoë")
			if o.Status != "0" || !slices.Equal(o.Messages, []string{"hello Zoë"}) || o.Type != form || o.Trailers["x-cost"] != "7" || o.Hidden != "" || o.Rest != 0 {
				t.Errorf("%s %s, unary: %+v", base, mode, o)
			}
			if o := do("/shop.Echo/Fail", ""); o.Status != "5" || o.Message != "no cart of %C3%BC" || o.Details != details || o.Type != form || o.Trailers != nil || o.Rest != 0 {
				t.Errorf("%s %s, a status in the head: %+v", base, mode, o)
			}
			if o := do("/shop.Echo/Late", ""); o.Status != "8" || !slices.Equal(o.Messages, []string{"first"}) || o.Trailers["grpc-message"] != "enough" || o.Rest != 0 {
				t.Errorf("%s %s, a status behind a message: %+v", base, mode, o)
			}
			if o := do("/shop.Gone/Unary", ""); o.Status != "14" || o.Reason != "connect-failed" || !strings.HasPrefix(o.Message, "connect-failed: ") || o.Rest != 0 {
				t.Errorf("%s %s, an endpoint that is gone: %+v", base, mode, o)
			}
			if o := s.steps(page, fmt.Sprintf("call(%q, '', {mode: %q})", base+"/shop.Echo/Watch", mode)); o.Status != "0" || len(o.Messages) != 3 {
				t.Errorf("%s %s, a stream: %+v", base, mode, o)
			}
			before := s.cancelled.Load()
			ask[int](page, "seen.length = 0")
			page.begin("hang", fmt.Sprintf("{ window.leave = new AbortController(); return call(%q, '', {mode: %q, signal: leave.signal}) }", base+"/shop.Echo/Hang", mode))
			page.until("the message", "seen.length == 1")
			ask[bool](page, "leave.abort() ?? true")
			s.waitUntil(fmt.Sprintf("the endpoint sees the end of the call, %s %s", base, mode), func() bool { return s.cancelled.Load() > before })
			if o := page.ended("hang"); o.Error == "" {
				t.Errorf("%s %s, a call that was aborted: %+v", base, mode, o)
			}
		}
	}
	for path, protocol := range map[string]string{s.https: `"protocol":"HTTP/2.0","scheme":"https"`, s.plain: `"protocol":"HTTP/1.1","scheme":"http"`} {
		if len(s.lines(protocol)) == 0 {
			t.Errorf("%s was not asked by %s", path, protocol)
		}
	}
	if n := len(s.lines(`"method":"OPTIONS"`)); n == 0 {
		t.Error("no preflight was sent")
	}
}

func (s *shopFront) waitUntil(what string, done func() bool) {
	s.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("%s: never", what)
		}
	}
}

// A page of an origin that is not listed learns nothing.
func TestGRPCWebFromAnOriginThatIsNotListed(t *testing.T) {
	t.Parallel()
	s := newShopFront(t)
	page := open(t, "en-US", 800, 600, strings.Replace(s.pages.URL, "127.0.0.1", "localhost", 1), "Failed to load", "CORS")
	if o := page.outcome(fmt.Sprintf("call(%q, 'x')", s.plain+"/shop.Echo/Unary")); o.Error != "Failed to fetch" {
		t.Errorf("%+v", o)
	}
	if line := s.lines(`"method":"OPTIONS"`)[0]; !strings.Contains(line, "origin-not-allowed") {
		t.Errorf("the preflight: %s", line)
	}
}

// The clients that most pages have.
func TestGRPCWebOfOthers(t *testing.T) {
	t.Parallel()
	s := newShopFront(t)
	page := open(t, "en-US", 800, 600, s.pages.URL, "Failed to load", "CORS")
	for _, format := range []string{"binary", "text"} {
		client := fmt.Sprintf("google(%q, %q)", s.https, format)
		if o := page.outcome(client + ".unary('/shop.Echo/Unary', 'you')"); !slices.Equal(o.Messages, []string{"hello you"}) {
			t.Errorf("grpc-web, %s, unary: %+v", format, o)
		}
		if o := page.outcome(client + ".unary('/shop.Echo/Fail', '')"); fmt.Sprint(o.Code) != "5" || o.Error != "no cart of ü" {
			t.Errorf("grpc-web, %s, a status in the head: %+v", format, o)
		}
		if o := page.outcome(client + ".unary('/shop.Echo/Late', '')"); fmt.Sprint(o.Code) != "8" || o.Error != "enough" {
			t.Errorf("grpc-web, %s, a status behind a message: %+v", format, o)
		}
		if o := page.outcome(client + ".unary('/shop.Gone/Unary', '')"); fmt.Sprint(o.Code) != "14" {
			t.Errorf("grpc-web, %s, an endpoint that is gone: %+v", format, o)
		}
	}
	if o := s.steps(page, fmt.Sprintf("google(%q, 'text').stream('/shop.Echo/Watch', '')", s.https)); len(o.Messages) != 3 || o.Error != "" {
		t.Errorf("grpc-web, a stream: %+v", o)
	}
	client := fmt.Sprintf("const {client, of} = await connect(%q);", s.https)
	if o := page.outcome("{ " + client + " return {messages: [(await client.unary(of('you'))).value]} }"); !slices.Equal(o.Messages, []string{"hello you"}) {
		t.Errorf("connect, unary: %+v", o)
	}
	if o := page.outcome("{ " + client + " return client.fail(of('')) }"); fmt.Sprint(o.Code) != "5" || !strings.Contains(o.Error, "no cart of ü") {
		t.Errorf("connect, a status in the head: %+v", o)
	}
	if o := s.steps(page, "{ "+client+" const messages = []; for await (const m of client.watch(of(''))) { messages.push(m.value); seen.push(m.value) } return {messages} }"); len(o.Messages) != 3 {
		t.Errorf("connect, a stream: %+v", o)
	}
	before := s.cancelled.Load()
	if o := page.outcome("{ " + client + " for await (const m of client.hang(of(''))) return {messages: [m.value]} }"); !slices.Equal(o.Messages, []string{"here"}) {
		t.Errorf("connect, a stream that is left: %+v", o)
	}
	s.waitUntil("the endpoint sees that the stream was left", func() bool { return s.cancelled.Load() > before })
}

// A browser opens WebSockets on the connection of HTTP/2 that it has (RFC 8441).
func TestWebSocketOverHTTP2(t *testing.T) {
	t.Parallel()
	s := newShopFront(t)
	page := open(t, "en-US", 800, 600, s.https)
	for i := range 2 {
		page.begin("socket", fmt.Sprintf("({messages: [await socket(%q, %q)]})", "wss"+strings.TrimPrefix(s.https, "https")+"/socket", fmt.Sprint("round ", i)))
		if o := page.ended("socket"); !slices.Equal(o.Messages, []string{fmt.Sprint("round ", i)}) {
			t.Errorf("the WebSocket: %+v", o)
		}
	}
	for _, line := range s.lines(`"path":"/socket"`) {
		if !strings.Contains(line, `"protocol":"HTTP/2.0"`) {
			t.Errorf("a WebSocket over another protocol: %s", line)
		}
	}
}
