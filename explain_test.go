package poise_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/explain"
)

// An echo is what the endpoint of these tests has received.
type echo struct {
	Target, Host string
	Fields       http.Header
}

// echoing is an endpoint that answers with what it got, by HTTP/1.1 and by HTTP/2.
func echoing(t *testing.T) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(echo{r.RequestURI, r.Host, r.Header})
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// chooser makes random configurations and requests of few words, so that they meet.
type chooser struct{ *rand.Rand }

func (c chooser) of(words ...string) string { return words[c.IntN(len(words))] }

// route is a random route. The field X-Route says to the endpoint which one it is.
func (c chooser) route(i int) poise.Route {
	var r poise.Route
	r.Name, r.Service = fmt.Sprintf("r%d", i), c.of("s", "t")
	r.Match.Host = c.of("", "", "b.c", "*.c", "*.b.c")
	for n := range c.IntN(4) {
		r.Match.Path += "/" + c.of("a", "b", fmt.Sprintf("{n%d}", n))
	}
	if c.IntN(2) == 0 {
		r.Match.Path += "/**"
	}
	if c.IntN(4) == 0 {
		r.Match.Methods = []string{c.of("GET", "PUT", "HEAD"), "POST"}
	}
	if c.IntN(4) == 0 {
		r.Match = poise.Match{Host: r.Match.Host, GRPC: c.of("*", "a/*", "b/*", "a/b")}
		r.Service = "u"
	}
	r.Rewrite.StripPrefix = c.of("", "", "/a", "/a/b")
	r.Rewrite.AddPrefix = c.of("", "", "/front")
	if c.IntN(4) == 0 {
		r.Rewrite.Replace = &poise.Replace{Prefix: c.of("/a", "/b"), With: "/other"}
	}
	r.Rewrite.Host = c.of("", "", "inner.example", "endpoint")
	r.Headers.Request.Set = map[string]string{"X-Route": r.Name, "X-Both": "proxy"}
	if c.IntN(2) == 0 {
		r.Headers.Request.Remove = []string{"X-Secret"}
	}
	r.Paths = c.of("", "lenient")
	return r
}

func (c chooser) request() poise.ExplainRequest {
	path := ""
	for range c.IntN(5) {
		path += c.of("/", "/", "//", "/./") + c.of("a", "b", "c", "%61", "..", "x%5cy", "%2f")
	}
	if c.IntN(3) == 0 {
		path = "/a/" + c.of("b", "c") // a method of gRPC, perhaps
	}
	q := poise.ExplainRequest{Method: c.of("GET", "GET", "PUT", "HEAD", "DELETE", "POST", "POST", "POST"), URL: "http://" + c.of("c", "b.c", "B.C:80", "a.b.c", "x.y") + c.of(path, path, "/") + c.of("", "?q=1")}
	if strings.HasSuffix(q.URL, ":80") {
		q.URL += "/"
	}
	if q.Method == "POST" {
		q.Fields = append(q.Fields, poise.ExplainField{Name: "Content-Type", Value: c.of("application/grpc", "application/grpc+proto", "text/plain")})
	}
	for _, name := range []string{"X-Secret", "X-Both", "X-Forwarded-For", "Keep-Alive", "X-Forwarded-Prefix"} {
		if c.IntN(3) == 0 {
			q.Fields = append(q.Fields, poise.ExplainField{Name: name, Value: "client"})
		}
	}
	return q
}

// What Explain says is what happens: the route, the path, Host and fields that the endpoint gets,
// and the answers that the proxy gives by itself, of random requests on random configurations.
func TestExplainSaysWhatHappens(t *testing.T) {
	url := echoing(t)
	rounds, taken, refused, calls := 30, 0, 0, 0
	for seed := range rounds {
		c := chooser{rand.New(rand.NewPCG(uint64(seed), 5))}
		conf := poise.Config{Services: map[string]poise.Service{
			"s": {Endpoints: []poise.Endpoint{{URL: url}}}, "t": {Endpoints: []poise.Endpoint{{URL: url}}, Policy: poise.Policy{Type: "round_robin"}},
			"u": {Endpoints: []poise.Endpoint{{URL: strings.Replace(url, "http", "h2c", 1)}}},
		}}
		for i := range 1 + c.IntN(8) {
			next := conf
			next.Routes = append(slices.Clone(conf.Routes), c.route(i))
			if next.Validate() == nil && valid(next) {
				conf = next
			}
		}
		if len(conf.Routes) == 0 {
			continue
		}
		p := serveExplained(t, conf)
		for range 40 {
			q := c.request()
			x, err := p.Explain(q)
			if err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
			if offline, err := poise.Explain(conf, q); err != nil || !reflect.DeepEqual(offline.Forward, x.Forward) || !reflect.DeepEqual(offline.Routes, x.Routes) {
				t.Fatalf("%+v: offline %v, %+v\nlive %+v", q, err, offline, x)
			}
			if compareExplained(t, p, conf, q, x) {
				taken++
				if slices.ContainsFunc(x.Routes, func(r explain.Tried) bool { return r.Taken && conf.Routes[r.Index].Match.GRPC != "" }) {
					calls++
				}
			} else {
				refused++
			}
		}
		p.Close(context.Background())
	}
	if taken < 100 || refused < 100 || calls < 10 {
		t.Fatalf("%d forwarded, %d by routes of gRPC, %d refused: the generator does not reach everything", taken, calls, refused)
	}
}

// valid reports whether a proxy takes the routes: two of them may match the same.
func valid(c poise.Config) bool {
	_, err := poise.Explain(c, poise.ExplainRequest{URL: "/"})
	return err == nil
}

// explained is a proxy that serves on a port of its own.
type explained struct {
	*poise.Proxy
	address string
}

func serveExplained(t *testing.T, c poise.Config) explained {
	t.Helper()
	p, err := poise.New(c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go p.Serve(l)
	return explained{p, l.Addr().String()}
}

// compareExplained sends the request and compares. It reports whether the request was forwarded.
func compareExplained(t *testing.T, p explained, conf poise.Config, q poise.ExplainRequest, x poise.Explanation) bool {
	t.Helper()
	conn, err := net.Dial("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", x.Request.Method, x.Request.Target, x.Request.Host)
	for _, f := range q.Fields {
		head += f.Name + ": " + f.Value + "\r\n"
	}
	fmt.Fprintf(conn, "%s\r\n", head)
	r, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: q.Method})
	if err != nil {
		t.Fatalf("%q: %v", head, err)
	}
	defer r.Body.Close()
	if x.Reply != nil {
		grpc := slices.ContainsFunc(q.Fields, func(f poise.ExplainField) bool { return strings.HasPrefix(f.Value, "application/grpc") })
		if r.StatusCode != x.Reply.Status && !grpc || r.Header.Get("Poise-Reason") != x.Reply.Reason || r.Header.Get("Allow") != x.Reply.Allow && !grpc {
			t.Fatalf("%q among %+v\nanswered %v\nexplained %+v", head, conf.Routes, r, x.Reply)
		}
		return false
	}
	if r.StatusCode != 200 {
		t.Fatalf("%q among %+v\nanswered %v\nexplained %+v", head, conf.Routes, r, x)
	}
	if q.Method == "HEAD" {
		return true
	}
	var got echo
	if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	taken := slices.IndexFunc(x.Routes, func(r explain.Tried) bool { return r.Taken })
	want := x.Forward.Path
	if x.Forward.Query != "" {
		want += "?" + x.Forward.Query
	}
	if got.Target != want || x.Routes[taken].Name != got.Fields.Get("X-Route") || x.Forward.Host != "" && got.Host != x.Forward.Host {
		t.Fatalf("%q among %+v\ngot %+v\nexplained %+v", head, conf.Routes, got, x.Forward)
	}
	for _, edit := range x.Forward.Edits {
		has := slices.Contains(got.Fields[http.CanonicalHeaderKey(edit.Name)], edit.Value)
		again := slices.ContainsFunc(x.Forward.Edits, func(e explain.Edit) bool {
			return e.Do == "add" && e.Name == edit.Name && e.Value == edit.Value
		})
		if has != (edit.Do == "add") && !(edit.Do == "remove" && again) {
			t.Fatalf("%q: %+v, got %+v", head, edit, got.Fields)
		}
	}
	return true
}

// Status, which has all that requests change, is the same before and after.
func TestExplainChangesNoState(t *testing.T) {
	p := serveExplained(t, poise.Config{
		Services: map[string]poise.Service{"s": {Endpoints: []poise.Endpoint{{URL: echoing(t)}, {URL: echoing(t)}}}},
		Routes:   []poise.Route{{Service: "s"}},
	})
	defer p.Close(context.Background())
	before := p.Status()
	for range 100 {
		if _, err := p.Explain(poise.ExplainRequest{URL: "http://example.com/a?b"}); err != nil {
			t.Fatal(err)
		}
	}
	if after := p.Status(); !reflect.DeepEqual(before, after) {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
}

func TestExplainRefusesWhatIsNoRequest(t *testing.T) {
	c := poise.Config{
		Services: map[string]poise.Service{"s": {Endpoints: []poise.Endpoint{{URL: "http://127.0.0.1:1"}}}},
		Routes:   []poise.Route{{Service: "s"}},
	}
	for _, one := range []struct {
		q    poise.ExplainRequest
		want string
	}{
		{poise.ExplainRequest{}, "the URL is missing"},
		{poise.ExplainRequest{URL: "ftp://a/b"}, "the scheme is http or https"},
		{poise.ExplainRequest{URL: "/", Client: "me"}, `client "me" is no IP address`},
		{poise.ExplainRequest{URL: "/", Fields: []poise.ExplainField{{Name: "A", Value: "b\r\nC: d"}}}, "line break"},
		{poise.ExplainRequest{URL: "/\r\nA: b"}, "line break"},
	} {
		if _, err := poise.Explain(c, one.q); err == nil || !strings.Contains(err.Error(), one.want) {
			t.Errorf("%+v: %v, want %s", one.q, err, one.want)
		}
	}
	// A head that the codec refuses is explained, with the reason that clients get.
	x, err := poise.Explain(c, poise.ExplainRequest{Method: "get", URL: "http://a b/"})
	if err != nil || x.Reply == nil || x.Reply.Status != 400 || x.Reply.Reason != "bad-host" {
		t.Errorf("%v, %+v", err, x.Reply)
	}
}

func ExampleExplain() {
	c := poise.Config{
		Services: map[string]poise.Service{"users": {Endpoints: []poise.Endpoint{{URL: "http://127.0.0.1:9001"}}}},
		Routes:   []poise.Route{{Name: "users-v1", Match: poise.Match{Path: "/api/v1/users/**"}, Rewrite: poise.Rewrite{StripPrefix: "/api/v1"}, Service: "users"}},
	}
	x, err := poise.Explain(c, poise.ExplainRequest{URL: "http://example.com/api/v1/users/42"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(x.Routes[0].Name, x.Forward.Path, x.Service.Candidates[0].ID)
	// Output: users-v1 /users/42 http://127.0.0.1:9001
}
