package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// The fuzz targets compare with net/http in one direction: what we accept, it must
// accept and read in the same way. Where the two differ on purpose, it is said there.

var requestSeeds = []string{
	browserRequest,
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"\r\n\r\nPOST /x?y=%zz HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nhost:a\r\ntransfer-encoding:\tchunked \r\nTrailer: X\r\n\r\n5\r\nhello\r\n0\r\nX: 1\r\n\r\n",
	"GET http://user@b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET HTTPS://[::1]:81?q HTTP/1.1\r\nHost: a\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
	"OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, x\r\nUpgrade: websocket\r\nTE: trailers\r\nExpect: 100-continue\r\nX: \xff\r\nx:  a \t\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
	"GET / HTTP/1.1\nHost: a\n\n",
	"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
	"GET /a%2 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET //a:b@c/:d HTTP/1.1\r\nHost: a:\r\nPragma: no-cache\r\n\r\n",
	"GET /\"<>\\^`{|}[] HTTP/1.1\r\nHost: [1::2:3.4.5.6]\r\n\r\n",
}

func FuzzRequest(f *testing.F) {
	for _, s := range requestSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(checkRequest)
}

// checkRequest is all that must hold for any bytes.
func checkRequest(t *testing.T, b []byte) {
	checkPrefixes(t, b, requestPrefix)
	var r message.Request
	n, err := ParseRequest(b, 0, &r, nil)
	if err != nil || n == 0 {
		return
	}
	head := bytes.TrimLeft(b[:n], "\r\n") // net/http skips no empty lines
	br := bufio.NewReader(io.MultiReader(bytes.NewReader(head), bytes.NewReader(b[n:])))
	q, err := http.ReadRequest(br)
	if err != nil {
		if !strings.Contains(err.Error(), "bad trailer key") { // we drop such trailers when they come
			t.Fatalf("net/http does not accept %q: %v", head, err)
		}
		return
	}
	sameRequest(t, &r, q)
	sameFields(t, r.Fields, q.Header, message.Host)
	sameContent(t, r.Body, r.Length, b[n:], q.Body)
	roundTrip(t, &r, n)
}

// Heads put together from pieces, sound and rotten, reach further than mutated bytes.
func TestHeadsFromPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	methods := []string{"GET", "POST", "OPTIONS", "HEAD", "get", "CONNECT", "G T", "X-Y", ""}
	targets := []string{"/", "/a%20b?x=%zz", "*", "http://b", "http://b?q", "https://[::1]:1/x", "//a@b/", "/a?", "/%", "http://@b/", "/a#b", "/\"|\\^", "x", "http://b:/"}
	versions := []string{"HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.5", "HTTP/2.0", "HTTP/1.1 ", "http/1.1"}
	statuses := []string{"200 OK", "200", "204 ", "304 Not Modified", "101 Up", "103 ", "404 N\xf6 \t", "500  x ", "999 ?", "2000 OK", "20 OK", "099 a"}
	ends := []string{"\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n", ""}
	fields := []string{
		"Host: a", "host:b:80", "Host: a@b", "Host:", "Content-Length: 5", "Content-Length: 0", "content-length: 005", "Content-Length: 5,5", "Content-Length: +5",
		"Transfer-Encoding: chunked", "transfer-encoding:\tChunked ", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked,", "Transfer-Encoding : chunked",
		"Connection: close", "Connection: keep-alive, X-A", "connection: Upgrade, TE", "Connection: ,x-b ,", "Keep-Alive: 5", "Proxy-Connection: close", "Upgrade: websocket", "Upgrade: h2c", "Upgrade:",
		"TE: trailers", "TE: gzip", "Trailer: X-A", "Trailer: Host", "Expect: 100-continue", "Expect: x", "X-A: 1", "x-b:\xff", "X-A: a\tb ", "X-C:", "X-Forwarded-For: 1", "Cookie: a=b",
		"Pragma: no-cache", "no colon", "X Y: z", "X: \x00", " folded", ": none",
	}
	contents := []string{"", "hello", "5\r\nhello\r\n0\r\n\r\n", "5;x\r\nhello\r\n0\r\nX-A: 1\r\nHost: x\r\n\r\n", "5\nhello", "GET / HTTP/1.1\r\n"}
	accepted := 0
	for range 5000 {
		section := ""
		if random.IntN(4) > 0 {
			section = "Host: h" + pick(ends)
		}
		for range random.IntN(5) {
			section += pick(fields) + pick(ends)
		}
		section += "\r\n" + pick(contents)
		request := []byte(pick(methods) + " " + pick(targets) + " " + pick(versions) + pick(ends) + section)
		checkRequest(t, request)
		var r message.Request
		if n, err := ParseRequest(request, 0, &r, nil); n > 0 && err == nil {
			accepted++
		}
		checkResponse(t, []byte(pick(versions)+" "+pick(statuses)+pick(ends)+section), random.IntN(3) == 0)
	}
	if accepted < 100 {
		t.Errorf("only %d requests were accepted: the test looks at too little", accepted)
	}
}

func sameRequest(t *testing.T, r *message.Request, q *http.Request) {
	t.Helper()
	path, err := url.PathUnescape(string(r.Path))
	if q.URL.Path == "" { // absolute form without path
		q.URL.Path = path
	}
	if q.URL.Path != path || err != nil || q.RequestURI != string(r.Target) || q.Method != string(r.Method) {
		t.Fatalf("%s %s: %q, net/http: %s %s, %q", r.Method, r.Target, path, q.Method, q.RequestURI, q.URL.Path)
	}
	if q.URL.RawQuery != string(r.Query) || (q.URL.ForceQuery || q.URL.RawQuery != "") != (r.Query != nil) {
		t.Fatalf("query %q, net/http: %q", r.Query, q.URL.RawQuery)
	}
	if strings.TrimSuffix(q.Host, ":") != string(r.Host) {
		t.Fatalf("host %q, net/http: %q", r.Host, q.Host)
	}
	length, chunked := int64(0), r.Body == message.Chunked
	switch r.Body {
	case message.Length:
		length = r.Length
	case message.Chunked:
		length = -1
	}
	if q.ContentLength != length || (len(q.TransferEncoding) > 0) != chunked {
		t.Fatalf("body %v %d, net/http: %d, %q", r.Body, r.Length, q.ContentLength, q.TransferEncoding)
	}
	if q.Close == r.KeepAlive || min(q.ProtoMinor, 1) != int(r.Minor) {
		t.Fatalf("keep-alive %v in 1.%d, net/http: close %v in %s", r.KeepAlive, r.Minor, q.Close, q.Proto)
	}
}

// sameFields compares what net/http leaves in a Header: not Host, the framing or Trailer.
func sameFields(t *testing.T, fields []message.Field, h http.Header, also message.Kind) {
	t.Helper()
	want := map[string][]string{}
	for _, f := range fields {
		switch name := textproto.CanonicalMIMEHeaderKey(string(f.Name)); {
		case f.Kind == also && also != message.Other, f.Kind == message.TransferEncoding, f.Kind == message.Trailer:
		default:
			want[name] = append(want[name], string(f.Value))
		}
	}
	h = h.Clone()
	h.Del("Trailer")
	if h.Get("Connection") == "" && slices.ContainsFunc(want["Connection"], func(v string) bool { return message.HasToken([]byte(v), "close") }) {
		delete(want, "Connection") // net/http takes it out
	}
	if h.Get("Pragma") == "no-cache" && want["Cache-Control"] == nil {
		h.Del("Cache-Control") // net/http adds it
	}
	if !maps.EqualFunc(want, h, slices.Equal) {
		t.Fatalf("fields %q, net/http: %q", want, h)
	}
}

// sameContent compares content that is complete for us.
func sameContent(t *testing.T, kind message.Body, length int64, stream []byte, body io.Reader) {
	t.Helper()
	var d Decoder
	d.Reset(kind, length)
	got := decode(t, &d, stream, whole)
	if !got.done && kind != message.UntilClose {
		return
	}
	if kind == message.Chunked && spaced.Match(stream) {
		return
	}
	data, err := io.ReadAll(body)
	if err != nil && (kind == message.Chunked && leftOut(err)) {
		return
	}
	if err != nil || string(data) != got.data {
		t.Fatalf("content %q, net/http: %q, %v", got.data, data, err)
	}
}

// leftOut recognises errors of net/http in chunked content that is sound for us: it counts
// the framing of small chunks, too, where we count extensions; it reads trailers as
// the fields of a message and refuses some names that we drop.
func leftOut(err error) bool {
	return strings.Contains(err.Error(), "too much non-data") || strings.Contains(err.Error(), "trailer")
}

// roundTrip forwards r as it is and parses what was written.
func roundTrip(t *testing.T, r *message.Request, size int) {
	t.Helper()
	if size > limits.HeadBytesMax-1000 || len(r.Fields) > limits.FieldsMax-4 || len(r.Target) > limits.TargetBytesMax-1 {
		return // what is written may be a little longer
	}
	message.DropHopByHop(r.Fields)
	out := AppendRequest(nil, r)
	var again message.Request
	n, err := ParseRequest(out, 0, &again, nil)
	if err != nil || n != len(out) {
		t.Fatalf("%q is not what we accept: %d, %v", out, n, err)
	}
	old := r.Minor
	r.Minor = 1
	if describe(r) != describe(&again) {
		t.Fatalf("HTTP/1.%d %s, written and read: %s", old, describe(r), describe(&again))
	}
	var want, got []string
	for _, f := range r.Fields {
		if !f.Drop && !written[f.Kind] && (f.Kind != message.Trailer || r.Body == message.Chunked) {
			want = append(want, fmt.Sprintf("%s:%s", f.Name, f.Value))
		}
	}
	for _, f := range again.Fields {
		if !written[f.Kind] {
			got = append(got, fmt.Sprintf("%s:%s", f.Name, f.Value))
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("fields %q, written and read: %q", want, got)
	}
	message.DropHopByHop(again.Fields)
	if second := AppendRequest(nil, &again); !bytes.Equal(second, out) {
		t.Fatalf("%q, forwarded again: %q", out, second)
	}
}

func FuzzResponse(f *testing.F) {
	for i, s := range []string{
		jsonResponse,
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5;e\r\nhello\r\n0\r\nX: 1\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nuntil the end",
		"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
		"HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n",
		"HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length: 5\n\n",
	} {
		f.Add([]byte(s), i%2 == 1)
	}
	f.Fuzz(checkResponse)
}

// checkResponse is all that must hold for any bytes, as the answer to GET or HEAD.
func checkResponse(t *testing.T, b []byte, head bool) {
	method := http.MethodGet
	if head {
		method = http.MethodHead
	}
	checkPrefixes(t, b, responsePrefix(method))
	var r message.Response
	n, err := ParseResponse(b, 0, &r, []byte(method), nil)
	if err != nil || n == 0 {
		return
	}
	p, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), &http.Request{Method: method})
	if err != nil {
		if !strings.Contains(err.Error(), "bad trailer key") {
			t.Fatalf("net/http does not accept %q: %v", b[:n], err)
		}
		return
	}
	sameResponse(t, &r, p, head)
	sameFields(t, r.Fields, p.Header, message.Other)
	if r.Status >= 200 {
		sameContent(t, r.Body, r.Length, b[n:], p.Body)
	}
	responseRoundTrip(t, &r, method, n)
}

func sameResponse(t *testing.T, r *message.Response, p *http.Response, head bool) {
	t.Helper()
	// net/http takes the reason with its spaces, and a missing one as the status.
	if p.StatusCode != r.Status || strings.TrimSpace(strings.TrimPrefix(p.Status, fmt.Sprint(r.Status))) != strings.TrimSpace(string(r.Reason)) {
		t.Fatalf("%d %q, net/http: %d %q", r.Status, r.Reason, p.StatusCode, p.Status)
	}
	if min(p.ProtoMinor, 1) != int(r.Minor) {
		t.Fatalf("HTTP/1.%d, net/http: %s", r.Minor, p.Proto)
	}
	switch {
	case r.Status < 200 || r.Status == 204 || r.Status == 304 || head:
		return // net/http gives there what the fields say
	case r.Body == message.Chunked && (p.ContentLength != -1 || len(p.TransferEncoding) != 1),
		r.Body == message.Length && (p.ContentLength != r.Length || len(p.TransferEncoding) != 0),
		r.Body == message.UntilClose && (p.ContentLength != -1 || len(p.TransferEncoding) != 0),
		r.Body == message.NoBody:
		t.Fatalf("body %v %d, net/http: %d, %q", r.Body, r.Length, p.ContentLength, p.TransferEncoding)
	case p.Close == r.KeepAlive:
		t.Fatalf("keep-alive %v, net/http: close %v", r.KeepAlive, p.Close)
	}
}

func responseRoundTrip(t *testing.T, r *message.Response, method string, size int) {
	t.Helper()
	if size > limits.HeadBytesMax-1000 || len(r.Fields) > limits.FieldsMax-4 {
		return
	}
	message.DropHopByHop(r.Fields)
	out := AppendResponse(nil, r, ResponseTo{Minor: 1, Close: !r.KeepAlive, Head: method == http.MethodHead})
	var again message.Response
	n, err := ParseResponse(out, 0, &again, []byte(method), nil)
	if err != nil || n != len(out) {
		t.Fatalf("%q is not what we accept: %d, %v", out, n, err)
	}
	bodiless := r.Status < 200 || r.Status == 204
	if again.Status != r.Status || !bytes.Equal(again.Reason, r.Reason) || again.Body != r.Body || !bodiless && again.Length != r.Length {
		t.Fatalf("%s, written and read: %s", describeResponse(r), describeResponse(&again))
	}
	if r.Status >= 200 && again.KeepAlive != r.KeepAlive {
		t.Fatalf("%s, written and read: %s", describeResponse(r), describeResponse(&again))
	}
	message.DropHopByHop(again.Fields)
	if second := AppendResponse(nil, &again, ResponseTo{Minor: 1, Close: !again.KeepAlive, Head: method == http.MethodHead}); r.Status >= 200 && !bytes.Equal(second, out) {
		t.Fatalf("%q, forwarded again: %q", out, second)
	}
}

var spaced = regexp.MustCompile(`[0-9a-fA-F][ \t]+;`)

// FuzzDecoder: however the stream is cut, the same comes out; and what we accept,
// net/http's reader of chunks reads in the same way.
func FuzzDecoder(f *testing.F) {
	for i, s := range []string{
		"5\r\nhello\r\n0\r\n\r\n",
		"a;x=\"y\"\r\n0123456789\r\n1 ;z\r\nx\r\n00\r\nX: 1\r\nHost: b\r\n\r\nGET /",
		"0\r\nContent-Length: 1\r\n\r\n",
		"7fffffffffffffff\r\nabc",
		"1\r\nxx\r\n", "5\nhello\n0\n\n", "5 \r\nhello\r\n0\r\n\r\n", "8000000000000000\r\n", "0000000000000000f\r\n", "1;\x00\r\n", "\r\n", "0\r\nX: 1\n\n",
	} {
		f.Add([]byte(s), uint64(i))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		var d Decoder
		d.Reset(message.Chunked, 0)
		want := decode(t, &d, stream, whole)
		random := rand.New(rand.NewPCG(seed, 7))
		for _, next := range []func() int{
			func() int { return 1 },
			func() int { return random.IntN(3) },
			func() int { return random.IntN(1 + len(stream)) },
		} {
			d.Reset(message.Chunked, 0)
			if got := decode(t, &d, stream, next); got != want {
				t.Fatalf("%q:\nin pieces %+v\nat once   %+v", stream, got, want)
			}
		}
		if !want.done {
			return
		}
		if spaced.Match(stream) {
			return // whitespace before an extension: RFC 9112 §7.1.1 says to accept it, net/http does not
		}
		data, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(stream)))
		if string(data) != want.data && !(err != nil && leftOut(err)) {
			t.Fatalf("%q: %q, net/http: %q, %v", stream, want.data, data, err)
		}
		if err != nil && !leftOut(err) {
			t.Fatalf("%q: net/http: %v", stream, err)
		}
	})
}
