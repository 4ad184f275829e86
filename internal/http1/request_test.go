package http1

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// describe is what was understood of a request, on one line.
func describe(r *message.Request) string {
	s := fmt.Sprintf("%s %s", r.Method, r.Path)
	if r.Query != nil {
		s += fmt.Sprintf(" ?%s", r.Query)
	}
	s += fmt.Sprintf(" host=%s 1.%d", r.Host, r.Minor)
	switch r.Body {
	case message.Length:
		s += fmt.Sprintf(" length=%d", r.Length)
	case message.Chunked:
		s += " chunked"
	}
	for _, flag := range []struct {
		on   bool
		name string
	}{{r.KeepAlive, "keep"}, {r.ExpectContinue, "expect"}, {r.TrailersOK, "trailers"}} {
		if flag.on {
			s += " " + flag.name
		}
	}
	if r.Upgrade != nil {
		s += fmt.Sprintf(" upgrade=%s", r.Upgrade)
	}
	return s
}

func TestRequestsAccepted(t *testing.T) {
	for _, c := range []struct{ section, head, want string }{
		{"RFC 9112 §3", "GET / HTTP/1.1\r\n" + host, "GET / host=a 1.1 keep"},
		{"RFC 9110 §9.1: methods are case-sensitive and extensible", "get / HTTP/1.1\r\n" + host, "get / host=a 1.1 keep"},
		{"RFC 9110 §9.1", "M-SEARCH / HTTP/1.1\r\n" + host, "M-SEARCH / host=a 1.1 keep"},
		{"RFC 9112 §2.2: empty lines before", "\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" + host, "GET / host=a 1.1 keep"},
		{"RFC 9112 §3.2.1", "GET /a%20b/c?x=1?y=%zz HTTP/1.1\r\n" + host, "GET /a%20b/c ?x=1?y=%zz host=a 1.1 keep"},
		{"RFC 9112 §3.2.1: an empty query is one", "GET /a? HTTP/1.1\r\n" + host, "GET /a ? host=a 1.1 keep"},
		{"RFC 9112 §3.2.1: not an authority", "GET //evil/x HTTP/1.1\r\n" + host, "GET //evil/x host=a 1.1 keep"},
		{"RFC 9112 §3.2.1: as browsers send them", `GET /"<>[]^{|}\ HTTP/1.1` + "\r\n" + host, `GET /"<>[]^{|}\ host=a 1.1 keep`},
		{"RFC 9112 §3.2.2: authority wins", "GET http://b:81/x?y HTTP/1.1\r\n" + host, "GET /x ?y host=b:81 1.1 keep"},
		{"RFC 9112 §3.2.2", "GET HTTPS://b HTTP/1.1\r\n" + host, "GET / host=b 1.1 keep"},
		{"RFC 9112 §3.2.2", "GET http://b?q HTTP/1.1\r\n" + host, "GET / ?q host=b 1.1 keep"},
		{"RFC 9112 §3.2.4", "OPTIONS * HTTP/1.1\r\n" + host, "OPTIONS * host=a 1.1 keep"},
		{"RFC 9112 §3.2.4: absolute without path", "OPTIONS http://b:80 HTTP/1.1\r\n" + host, "OPTIONS * host=b:80 1.1 keep"},
		{"RFC 9112 §3.2.4", "OPTIONS http://b/ HTTP/1.1\r\n" + host, "OPTIONS / host=b 1.1 keep"},
		{"RFC 9112 §2.3: later minors", "GET / HTTP/1.7\r\n" + host, "GET / host=a 1.1 keep"},
		{"RFC 9112 §3.2: no Host in 1.0", "GET / HTTP/1.0\r\n", "GET / host= 1.0"},
		{"RFC 9112 §3.2: no authority", "GET / HTTP/1.1\r\nHost:\r\n", "GET / host= 1.1 keep"},
		{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nhOsT: \t a.B-c_d.example:8080 \t\r\n", "GET / host=a.B-c_d.example:8080 1.1 keep"},
		{"RFC 9110 §4.2.3: an empty port", "GET / HTTP/1.1\r\nHost: a:\r\n", "GET / host=a 1.1 keep"},
		{"RFC 3986 §3.2.2", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n", "GET / host=[2001:db8::1]:443 1.1 keep"},
		{"RFC 9112 §5: empty value, obs-text", "GET / HTTP/1.1\r\n" + host + "X:\r\nY: \xff\xfe\r\nZ:a:b\tc\r\n", "GET / host=a 1.1 keep"},
		{"RFC 9112 §6.2", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0\r\n", "POST / host=a 1.1 length=0 keep"},
		{"RFC 9112 §6.2", "POST / HTTP/1.1\r\n" + host + "Content-Length: 9223372036854775807\r\n", "POST / host=a 1.1 length=9223372036854775807 keep"},
		{"RFC 9110 §8.6: 1*DIGIT", "GET / HTTP/1.1\r\n" + host + "content-length:  0012 \r\n", "GET / host=a 1.1 length=12 keep"},
		{"RFC 9112 §6.1", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: Chunked\r\n", "POST / host=a 1.1 chunked keep"},
		{"RFC 9112 §6.3: neither", "POST / HTTP/1.1\r\n" + host, "POST / host=a 1.1 keep"},
		{"RFC 9112 §9.3", "GET / HTTP/1.1\r\n" + host + "Connection: foo, Close\r\n", "GET / host=a 1.1"},
		{"RFC 9112 §9.3", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n", "GET / host= 1.0 keep"},
		{"RFC 9110 §10.1.1", "PUT / HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 3\r\n", "PUT / host=a 1.1 length=3 keep expect"},
		{"RFC 9110 §10.1.4", "GET / HTTP/1.1\r\n" + host + "TE: trailers\r\nConnection: TE\r\n", "GET / host=a 1.1 keep trailers"},
		{"RFC 9110 §7.8", "GET / HTTP/1.1\r\n" + host + "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n", "GET / host=a 1.1 keep upgrade=websocket"},
	} {
		var r message.Request
		head := c.head + "\r\n"
		n, err := ParseRequest([]byte(head+"GET /next"), 0, &r, nil)
		if err != nil || n != len(head) {
			t.Errorf("%s: %q: %d of %d, %v", c.section, c.head, n, len(head), err)
		} else if got := describe(&r); got != c.want {
			t.Errorf("%s: %q:\n got %s\nwant %s", c.section, c.head, got, c.want)
		}
	}
}

const host = "Host: a\r\n"

// get is a request with these fields beside Host.
func get(fields string) string { return "GET / HTTP/1.1\r\n" + host + fields + "\r\n" }

var refusedRequests = []struct {
	section, head string
	status        int
	reason        string
}{
	{"RFC 9112 §2.2: bare LF", "GET / HTTP/1.1\n" + host + "\r\n", 400, "bad-line-end"},
	{"RFC 9112 §2.2: bare LF", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "bad-line-end"},
	{"RFC 9112 §2.2: bare LF", get("")[:len(get(""))-2] + "\n", 400, "bad-line-end"},
	{"RFC 9112 §2.2: bare LF", "\nGET / HTTP/1.1\r\n" + host + "\r\n", 400, "bad-line-end"},
	{"RFC 9112 §2.2: bare CR", get("X: a\rb\r\n"), 400, "bad-line-end"},
	{"RFC 9112 §2.2: bare CR", get("X: a\r\r\n"), 400, "bad-line-end"},
	{"RFC 9112 §2.2: bare CR", "GET / HTTP/1.1\r" + host + "\r\n", 400, "bad-line-end"},
	{"RFC 9112 §2.2: whitespace after the start line", "GET / HTTP/1.1\r\n " + host + "\r\n", 400, "obs-fold"},
	{"RFC 9112 §2.2: too many empty lines", "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" + host + "\r\n", 400, "too-many-empty-lines"},
	{"RFC 9112 §5.2", get("X: a\r\n b\r\n"), 400, "obs-fold"},
	{"RFC 9112 §5.2", get("X: a\r\n\tb\r\n"), 400, "obs-fold"},
	{"RFC 9112 §3", "GET /\r\n\r\n", 400, "bad-target"},
	{"RFC 9112 §3", "GET  / HTTP/1.1\r\n" + host + "\r\n", 400, "bad-target"},
	{"RFC 9112 §3", "GET /  HTTP/1.1\r\n" + host + "\r\n", 400, "bad-version"},
	{"RFC 9112 §3", "GET / HTTP/1.1 \r\n" + host + "\r\n", 400, "bad-version"},
	{"RFC 9112 §3", "GET\t/ HTTP/1.1\r\n" + host + "\r\n", 400, "bad-method"},
	{"RFC 9112 §3", " GET / HTTP/1.1\r\n" + host + "\r\n", 400, "bad-method"},
	{"RFC 9112 §3: TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad-method"},
	{"RFC 9112 §3", "G(T / HTTP/1.1\r\n" + host + "\r\n", 400, "bad-method"},
	{"RFC 9112 §3", strings.Repeat("M", 33) + " / HTTP/1.1\r\n" + host + "\r\n", 501, "unknown-method"},
	{"RFC 9112 §3.2.3: no tunnels", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501, "connect-not-supported"},
	{"RFC 9112 §2.3", "GET / HTTP/2.0\r\n" + host + "\r\n", 505, "version-not-supported"},
	{"RFC 9112 §2.3", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version-not-supported"},
	{"RFC 9112 §2.3", "GET / HTTP/0.9\r\n" + host + "\r\n", 505, "version-not-supported"},
	{"RFC 9112 §2.3", "GET / HTTP/1.10\r\n" + host + "\r\n", 400, "bad-version"},
	{"RFC 9112 §2.3", "GET / http/1.1\r\n" + host + "\r\n", 400, "bad-version"},
	{"RFC 9112 §2.3", "GET / HTTP/11\r\n" + host + "\r\n", 400, "bad-version"},
	{"RFC 9112 §2.3", "GET / HTTP/1,1\r\n" + host + "\r\n", 400, "bad-version"},
	{"RFC 9112 §3.2: fragment", "GET /a#b HTTP/1.1\r\n" + host + "\r\n", 400, "bad-target"},
	{"RFC 9112 §3.2: raw bytes", "GET /\xc3\xa9 HTTP/1.1\r\n" + host + "\r\n", 400, "bad-target"},
	{"RFC 9112 §3.2: control", "GET /\x00 HTTP/1.1\r\n" + host + "\r\n", 400, "bad-target"},
	{"RFC 9112 §3.2: control", "GET /\x7f HTTP/1.1\r\n" + host + "\r\n", 400, "bad-target"},
	{"RFC 3986 §2.1", "GET /%2 HTTP/1.1\r\n" + host + "\r\n", 400, "bad-target"},
	{"RFC 3986 §2.1", "GET /%gg/ HTTP/1.1\r\n" + host + "\r\n", 400, "bad-target"},
	{"RFC 9112 §3.2", "GET a/b HTTP/1.1\r\n" + host + "\r\n", 400, "bad-target"},
	{"RFC 9112 §3.2", "GET a:80 HTTP/1.1\r\n" + host + "\r\n", 400, "bad-target"},
	{"RFC 9112 §3.2.4", "GET * HTTP/1.1\r\n" + host + "\r\n", 400, "bad-target"},
	{"RFC 9112 §3.2.4", "OPTIONS ** HTTP/1.1\r\n" + host + "\r\n", 400, "bad-target"},
	{"RFC 9112 §3.2.2", "GET ftp://a/ HTTP/1.1\r\n" + host + "\r\n", 400, "bad-target"},
	{"RFC 9112 §3.2.2", "GET http:/a HTTP/1.1\r\n" + host + "\r\n", 400, "bad-target"},
	{"RFC 9110 §4.2.1: no authority", "GET http:///a HTTP/1.1\r\n" + host + "\r\n", 400, "bad-host"},
	{"RFC 9110 §4.2.4: userinfo", "GET http://a@b/ HTTP/1.1\r\n" + host + "\r\n", 400, "bad-host"},
	{"RFC 9112 §3.2", "GET http://b\\c/ HTTP/1.1\r\n" + host + "\r\n", 400, "bad-host"},
	{"RFC 9112 §3.2", "GET / HTTP/1.1\r\n\r\n", 400, "no-host"},
	{"RFC 9112 §3.2: also with absolute form", "GET http://b/ HTTP/1.1\r\n\r\n", 400, "no-host"},
	{"RFC 9112 §3.2: even the same", "GET / HTTP/1.1\r\n" + host + host + "\r\n", 400, "several-hosts"},
	{"RFC 9112 §3.2: also in 1.0", "GET / HTTP/1.0\r\n" + host + "hOST: b\r\n\r\n", 400, "several-hosts"},
	{"RFC 9112 §3.2: also with absolute form", "GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "bad-host"},
	{"RFC 9112 §5.1", get("X : a\r\n"), 400, "bad-field-name"},
	{"RFC 9112 §5.1", get("X\t: a\r\n"), 400, "bad-field-name"},
	{"RFC 9112 §5.1", get(": a\r\n"), 400, "bad-field-name"},
	{"RFC 9112 §5.1", get("no colon\r\n"), 400, "bad-field-name"},
	{"RFC 9112 §5.1", get("nocolon\r\n"), 400, "bad-field-name"},
	{"RFC 9112 §5.1", get("X\x00: a\r\n"), 400, "bad-field-name"},
	{"RFC 9112 §5.1", get("X\xff: a\r\n"), 400, "bad-field-name"},
	{"RFC 9112 §5.1", get("X(y): a\r\n"), 400, "bad-field-name"},
	{"RFC 9110 §5.5", get("X: a\x00b\r\n"), 400, "bad-field-value"},
	{"RFC 9110 §5.5", get("X: a\x0bb\r\n"), 400, "bad-field-value"},
	{"RFC 9110 §5.5", get("X: \x7f\r\n"), 400, "bad-field-value"},
	{"RFC 9110 §5.5", get("Transfer-Encoding: \x0bchunked\r\n"), 400, "bad-field-value"},
	{"RFC 9112 §6.3", get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400, "ambiguous-framing"},
	{"RFC 9112 §6.3", get("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), 400, "ambiguous-framing"},
	{"RFC 9112 §6.3", get("Content-Length: 5\r\nContent-Length: 6\r\n"), 400, "several-content-lengths"},
	{"RFC 9112 §6.3: even the same", get("Content-Length: 5\r\nContent-Length: 5\r\n"), 400, "several-content-lengths"},
	{"RFC 9110 §8.6: even the same", get("Content-Length: 5, 5\r\n"), 400, "bad-content-length"},
	{"RFC 9110 §8.6", get("Content-Length: +5\r\n"), 400, "bad-content-length"},
	{"RFC 9110 §8.6", get("Content-Length: -5\r\n"), 400, "bad-content-length"},
	{"RFC 9110 §8.6", get("Content-Length: 5 5\r\n"), 400, "bad-content-length"},
	{"RFC 9110 §8.6", get("Content-Length: 0x5\r\n"), 400, "bad-content-length"},
	{"RFC 9110 §8.6", get("Content-Length:\r\n"), 400, "bad-content-length"},
	{"RFC 9110 §8.6", get("Content-Length: \xb2\r\n"), 400, "bad-content-length"},
	{"RFC 9110 §8.6: overflow", get("Content-Length: 9223372036854775808\r\n"), 400, "bad-content-length"},
	{"RFC 9110 §8.6: overflow", get("Content-Length: 18446744073709551621\r\n"), 400, "bad-content-length"},
	{"RFC 9112 §6.1", get("Transfer-Encoding: gzip\r\n"), 501, "unknown-transfer-coding"},
	{"RFC 9112 §6.1", get("Transfer-Encoding: gzip, chunked\r\n"), 501, "unknown-transfer-coding"},
	{"RFC 9112 §6.1", get("Transfer-Encoding: identity\r\n"), 501, "unknown-transfer-coding"},
	{"RFC 9112 §6.1", get("Transfer-Encoding: xchunked\r\n"), 501, "unknown-transfer-coding"},
	{"RFC 9112 §6.1", get("Transfer-Encoding: chunked;a=b\r\n"), 501, "unknown-transfer-coding"},
	{"RFC 9112 §6.1", get("Transfer-Encoding: \"chunked\"\r\n"), 501, "unknown-transfer-coding"},
	{"RFC 9112 §6.1", get("Transfer-Encoding: chunked, gzip\r\n"), 400, "bad-transfer-encoding"},
	{"RFC 9112 §6.1", get("Transfer-Encoding: chunked, chunked\r\n"), 400, "bad-transfer-encoding"},
	{"RFC 9112 §6.1", get("Transfer-Encoding: chunked,\r\n"), 400, "bad-transfer-encoding"},
	{"RFC 9112 §6.1", get("Transfer-Encoding:\r\n"), 400, "bad-transfer-encoding"},
	{"RFC 9112 §6.1", get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400, "bad-transfer-encoding"},
	{"RFC 9112 §6.1", get("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), 400, "bad-transfer-encoding"},
	{"RFC 9112 §6.1", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "transfer-encoding-in-http-1.0"},
	{"RFC 9110 §7.6.1", get("Connection: " + strings.Repeat("a,", message.OptionsMax) + "b\r\n"), 400, "too-many-connection-options"},
	{"RFC 6585 §5", get(strings.Repeat("X: a\r\n", limits.FieldsMax)), 431, "too-many-fields"},
	{"RFC 6585 §5", get("X: " + strings.Repeat("a", limits.HeadBytesMax) + "\r\n"), 431, "head-too-large"},
	{"RFC 9112 §3", "GET /" + strings.Repeat("a", limits.TargetBytesMax) + " HTTP/1.1\r\n" + host + "\r\n", 414, "target-too-long"},
	{"RFC 9112 §3", "GET /" + strings.Repeat("a", limits.HeadBytesMax), 414, "target-too-long"},
}

func TestRequestsRefused(t *testing.T) {
	for _, c := range refusedRequests {
		var r message.Request
		n, err := ParseRequest([]byte(c.head), 0, &r, nil)
		var e *Error
		if n != 0 || !errors.As(err, &e) || e.Status != c.status || e.Reason != c.reason {
			t.Errorf("%s: %.80q: %d, %v; want %d %s", c.section, c.head, n, err, c.status, c.reason)
		}
	}
}

func TestFieldsAreInOrderAndTrimmed(t *testing.T) {
	head := "GET / HTTP/1.1\r\nHost:a\r\nx-a:  one two\t \r\nX-A:\r\nCookie: c=d\r\n\r\n"
	var r message.Request
	if n, err := ParseRequest([]byte(head), 0, &r, nil); n != len(head) || err != nil {
		t.Fatal(n, err)
	}
	got := ""
	for _, f := range r.Fields {
		got += fmt.Sprintf("%s=%s %v %v|", f.Name, f.Value, f.Kind, f.Drop)
		if cap(f.Name) != len(f.Name) || cap(f.Value) != len(f.Value) {
			t.Errorf("appending to %s would overwrite the buffer", f.Name)
		}
	}
	if want := "Host=a Host false|x-a=one two  false|X-A=  false|Cookie=c=d Cookie false|"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The largest head, target and number of fields are accepted, one more is not.
func TestLimitsAreExact(t *testing.T) {
	const start, host, end = "GET /", " HTTP/1.1\r\nHost: a\r\n", "\r\n"
	sized := func(n int) string {
		pad := n - len(start) - len(host) - len("X: \r\n") - len(end)
		return start + host + "X: " + strings.Repeat("a", pad) + "\r\n" + end
	}
	for _, c := range []struct {
		head string
		ok   bool
	}{
		{sized(limits.HeadBytesMax), true},
		{sized(limits.HeadBytesMax + 1), false},
		{start + strings.Repeat("a", limits.TargetBytesMax-1) + host + end, true},
		{start + strings.Repeat("a", limits.TargetBytesMax) + host + end, false},
		{start + host + strings.Repeat("X: a\r\n", limits.FieldsMax-1) + end, true},
		{start + host + strings.Repeat("X: a\r\n", limits.FieldsMax) + end, false},
		{sized(parseOutright), true},
		{sized(parseOutright + 1), true},
	} {
		var r message.Request
		n, err := ParseRequest([]byte(c.head+"more"), 0, &r, nil)
		if c.ok != (err == nil && n == len(c.head)) || !c.ok && err == nil {
			t.Errorf("%d bytes: %d, %v", len(c.head), n, err)
		}
	}
}

// A full buffer never asks for more: the exchange would wait for ever.
func TestFullBufferDecides(t *testing.T) {
	for _, prefix := range []string{"", "\r\n", "\r\n\r\n", "\r\n\r\n\r\n\r\n"} {
		for _, line := range []string{"X: a\r\n", "X: a\n", "X", "\r\n", "X: a\r\nY", ": "} {
			head := prefix + "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat(line, limits.HeadBytesMax/len(line))
			for size := limits.HeadBytesMax; size < limits.HeadBytesMax+3; size++ {
				var r message.Request
				if n, err := ParseRequest([]byte(head[:size]), 0, &r, nil); n == 0 && err == nil {
					t.Fatalf("%q and %q: %d bytes are not enough", prefix, line, size)
				}
				var p message.Response
				if n, err := ParseResponse([]byte("HTTP/1.1 200 OK\r\n" + head)[:size], 0, &p, nil, nil); n == 0 && err == nil {
					t.Fatalf("response, %q and %q: %d bytes are not enough", prefix, line, size)
				}
			}
		}
	}
}

// Senders that end lines with LF wait for an answer: they get it at their empty line.
func TestBareLFIsToldAtOnce(t *testing.T) {
	for _, size := range []int{10, parseOutright, 3 * parseOutright} {
		for _, end := range []string{"\n\n", "\n\r\n"} {
			var r message.Request
			head := "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", size) + end
			if n, err := ParseRequest([]byte(head), 0, &r, nil); n != 0 || err != error(errLineEnd) {
				t.Errorf("%d bytes: %d, %v", len(head), n, err)
			}
		}
	}
}

// However a head arrives, it is understood in the same way, and no earlier answer is
// taken back. (In a long one, an error that was found on the way may not be found later.)
func checkPrefixes(t *testing.T, b []byte, parse func([]byte) (string, int, error)) {
	t.Helper()
	want, n, err := parse(b)
	step := 1 + len(b)/200
	for size := 0; size <= len(b); size += step {
		got, k, e := parse(b[:size])
		switch {
		case e != nil && (n > 0 || len(b) <= parseOutright && (err == nil || e.Error() != err.Error())):
			t.Fatalf("%d of %d bytes: %v, all: %v", size, len(b), e, err)
		case e == nil && k > 0 && (k != n || got != want):
			t.Fatalf("%d of %d bytes: %d %s, all: %d %s, %v", size, len(b), k, got, n, want, err)
		case e == nil && k == 0 && n > 0 && size >= n:
			t.Fatalf("%d bytes are not enough for a head of %d", size, n)
		}
	}
}

func requestPrefix(b []byte) (string, int, error) {
	var r message.Request
	n, err := ParseRequest(b, 0, &r, nil)
	if n == 0 {
		return "", n, err
	}
	return describe(&r), n, err
}

func TestRequestByteByByte(t *testing.T) {
	checkPrefixes(t, []byte("\r\n"+browserRequest), requestPrefix)
	checkPrefixes(t, []byte("GET / HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("a", 3*parseOutright)+"\r\n\r\n"), requestPrefix)
	for _, bad := range []string{"GET / HTTP/2.0\r\n\r\n", "GET / HTTP/1.1\r\nA b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", "GET /# HTTP/1.1\r\n\r\n"} {
		checkPrefixes(t, []byte(bad), requestPrefix)
	}
}

// Slow senders: work per byte stays small although every call starts at the front.
func BenchmarkByteByByte(b *testing.B) {
	head := []byte("GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-Field: some value or other\r\n", 100))
	head = append(head, "Y: "+strings.Repeat("a", limits.HeadBytesMax)...)
	var r message.Request
	for b.Loop() {
		for size := range limits.HeadBytesMax {
			if n, err := ParseRequest(head[:size], 0, &r, nil); n != 0 || err != nil {
				b.Fatal(n, err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/limits.HeadBytesMax, "ns/byte")
}

func TestParsingDoesNotAllocate(t *testing.T) {
	var r message.Request
	var p message.Response
	request, response, get := []byte(browserRequest), []byte(jsonResponse), []byte("GET")
	var d Decoder
	body := AppendLastChunk(AppendChunk(nil, []byte("hello")), nil)
	var out []byte
	once := func() {
		ParseRequest(request, 0, &r, nil)
		ParseResponse(response, 0, &p, get, nil)
		message.DropHopByHop(r.Fields)
		out = AppendRequest(out[:0], &r)
		out = AppendResponse(out[:0], &p, ResponseTo{Minor: 1})
		d.Reset(message.Chunked, 0)
		d.Next(body)
	}
	once()
	if n := testing.AllocsPerRun(100, once); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Other limits hold exactly as the default ones do, in whatever pieces a head comes.
func TestLimitsOfHeads(t *testing.T) {
	l := &limits.Head{Bytes: 9000, Fields: 3, Target: 7000}
	start, host, end := "GET /", " HTTP/1.1\r\nHost: a\r\n", "\r\n"
	sized := func(n int) string {
		return start + host + "X: " + strings.Repeat("a", n-len(start+host+"X: \r\n"+end)) + "\r\n" + end
	}
	for _, c := range []struct{ head, reason string }{
		{sized(9000), ""},
		{sized(9001), "head-too-large"},
		{start + strings.Repeat("a", 6999) + host + end, ""},
		{start + strings.Repeat("a", 7000) + host + end, "target-too-long"},
		{start + host + "X: a\r\nX: a\r\n" + end, ""},
		{start + host + "X: a\r\nX: a\r\nX: a\r\n" + end, "too-many-fields"},
	} {
		for _, piece := range []int{1, 3, 1000, 100_000} {
			n, reason := 0, ""
			for size, seen := 0, 0; n == 0 && reason == "" && size < len(c.head); seen = size {
				size = min(size+piece, len(c.head))
				var r message.Request
				var err error
				var bad *Error
				if n, err = ParseRequest([]byte(c.head[:size]), seen, &r, l); errors.As(err, &bad) {
					reason = bad.Reason
				}
			}
			if reason != c.reason || (reason == "") != (n == len(c.head)) {
				t.Errorf("%d bytes in pieces of %d: %d, %q; want %q", len(c.head), piece, n, reason, c.reason)
			}
		}
	}
}
