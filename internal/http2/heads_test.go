package http2

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// blockOf makes a block of "name: value" lines, all literals that are not indexed. The
// separator is the first ": ", so pseudo-fields are written as they are.
func blockOf(lines ...string) (p []byte) {
	for _, line := range lines {
		name, value, _ := strings.Cut(line[1:], ": ")
		p = append(p, 0)
		p = appendString(p, []byte(line[:1]+name))
		p = appendString(p, []byte(value))
	}
	return p
}

// get is the start of a sound request.
var get = []string{":method: GET", ":scheme: https", ":authority: a.example", ":path: /"}

// with is get with other lines behind it; a line that has the name of one of get takes its
// place, and one that is "-name" takes it out.
func with(lines ...string) []string {
	out := append([]string(nil), get...)
	for _, line := range lines {
		out = put(out, line)
	}
	return out
}

func put(out []string, line string) []string {
	for i, old := range out {
		name, _, _ := strings.Cut(old[1:], ": ")
		name = old[:1] + name
		if line == "-"+name {
			return append(out[:i:i], out[i+1:]...)
		}
		if i < len(get) && strings.HasPrefix(line, name+": ") {
			out[i] = line
			return out
		}
	}
	return append(out, line)
}

// requestText is what a Request says, for comparison.
func requestText(r *message.Request) string {
	var b strings.Builder
	query := "-"
	if r.Query != nil {
		query = string(r.Query)
	}
	fmt.Fprintf(&b, "%s %s path %s query %s host %s body %d/%d", r.Method, r.Target, r.Path, query, r.Host, r.Body, r.Length)
	if r.TrailersOK {
		b.WriteString(" te")
	}
	if r.ExpectContinue {
		b.WriteString(" expects")
	}
	if r.Upgrade != nil {
		fmt.Fprintf(&b, " upgrade %s", r.Upgrade)
	}
	for _, f := range r.Fields {
		fmt.Fprintf(&b, " | %s: %s", f.Name, f.Value)
	}
	return b.String()
}

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		end   bool
		want  string
	}{
		{"the least", with(), true, "GET / path / query - host a.example body 0/0"},
		{"a query", with(":path: /a/b?c=d?e"), true, "GET /a/b?c=d?e path /a/b query c=d?e host a.example body 0/0"},
		{"an empty query", with(":path: /a?"), true, "GET /a? path /a query  host a.example body 0/0"},
		{"the whole server", with(":method: OPTIONS", ":path: *"), true, "OPTIONS * path * query - host a.example body 0/0"},
		{"Host in place of :authority", with("-:authority", "host: b:80"), true, "GET / path / query - host b:80 body 0/0 | host: b:80"},
		{"Host beside an equal :authority", with("host: A.example"), true, "GET / path / query - host a.example body 0/0 | host: A.example"},
		{"an empty port", with(":authority: a:"), true, "GET / path / query - host a body 0/0"},
		{"a scheme in capitals", with(":scheme: HTTP"), true, "GET / path / query - host a.example body 0/0"},
		{"content of a known length", with(":method: POST", "content-length: 5"), false, "POST / path / query - host a.example body 1/5 | content-length: 5"},
		{"no content, and said so", with("content-length: 0"), true, "GET / path / query - host a.example body 1/0 | content-length: 0"},
		{"content of no known length", with(":method: POST"), false, "POST / path / query - host a.example body 2/0"},
		{"trailers and 100-continue", with("te: trailers", "expect: 100-continue"), false,
			"GET / path / query - host a.example body 2/0 te expects | te: trailers | expect: 100-continue"},
		{"crumbs", with("cookie: a=1", "x: y", "cookie: b=2", "cookie: c=3"), true, "GET / path / query - host a.example body 0/0 | cookie: a=1; b=2; c=3 | x: y"},
		{"empty crumbs", with("cookie: ", "cookie: a", "cookie: ", "cookie: b", "cookie: "), true, "GET / path / query - host a.example body 0/0 | cookie: a; b"},
		{"one crumb", with("x: y", "cookie: a=1"), true, "GET / path / query - host a.example body 0/0 | x: y | cookie: a=1"},
		{"an empty value, and bytes above ASCII", with("x: ", "y: caf\xe9"), true, "GET / path / query - host a.example body 0/0 | x:  | y: caf\xe9"},
		{"extended CONNECT", with(":method: CONNECT", ":protocol: websocket"), false, "CONNECT / path / query - host a.example body 2/0 upgrade websocket"},
	} {
		d := Decoder{Connect: true}
		var r message.Request
		if _, err := d.Request(nil, blockOf(c.lines...), c.end, &r); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := requestText(&r); got != c.want || r.Minor != 1 || !r.KeepAlive {
			t.Errorf("%s: %s\n want %s", c.name, got, c.want)
		}
		for _, f := range r.Fields {
			if f.Kind != message.KindOf(f.Name) {
				t.Errorf("%s: %s is of kind %v", c.name, f.Name, f.Kind)
			}
		}
	}
}

// TestMalformedRequests: what is refused, with the section that says so.
func TestMalformedRequests(t *testing.T) {
	long := strings.Repeat("a", limits.TargetBytesMax)
	for _, c := range []struct {
		why   string
		lines []string
		want  *Error
	}{
		{"RFC 9113 §8.2.1: a capital letter in a name", with("X-A: 1"), errFieldName},
		{"RFC 9113 §8.2.1: a space in a name", with("x a: 1"), errFieldName},
		{"RFC 9113 §8.2.1: a colon in a name", with("x:a: 1"), errFieldName},
		{"RFC 9113 §8.2.1: a byte above ASCII in a name", with("x\xe9: 1"), errFieldName},
		{"RFC 9113 §8.2.1: CR in a value", with("x: a\rb"), errFieldValue},
		{"RFC 9113 §8.2.1: LF in a value", with("x: a\nb"), errFieldValue},
		{"RFC 9113 §8.2.1: NUL in a value", with("x: a\x00b"), errFieldValue},
		{"RFC 9113 §8.2.1: a space before a value", with("x:  a"), errFieldValue},
		{"RFC 9113 §8.2.1: a tab behind a value", with("x: a\t"), errFieldValue},
		{"RFC 9113 §8.2.1: LF in a pseudo-field", with(":path: /\nx"), errFieldValue},
		{"RFC 9113 §8.2.2: Connection", with("connection: close"), errConnection},
		{"RFC 9113 §8.2.2: Keep-Alive", with("keep-alive: 5"), errConnection},
		{"RFC 9113 §8.2.2: Proxy-Connection", with("proxy-connection: close"), errConnection},
		{"RFC 9113 §8.2.2: Transfer-Encoding", with("transfer-encoding: chunked"), errConnection},
		{"RFC 9113 §8.2.2: Upgrade", with("upgrade: h2c"), errConnection},
		{"RFC 9113 §8.2.2: TE with another coding", with("te: trailers, deflate"), errTE},
		{"RFC 9113 §8.3: a pseudo-field behind a field", append([]string{"x: 1"}, get...), errPseudoLate},
		{"RFC 9113 §8.3: an unknown pseudo-field", with(":version: 2"), errPseudo},
		{"RFC 9113 §8.3: a pseudo-field of responses", with(":status: 200"), errPseudo},
		{"RFC 9113 §8.3: an empty pseudo-name", with(":: 1"), errPseudo},
		{"RFC 9113 §8.3.1: :method twice", append([]string{":method: GET"}, get...), errPseudoTwice},
		{"RFC 9113 §8.3.1: :path twice", append([]string{":path: /"}, get...), errPseudoTwice},
		{"RFC 9113 §8.3.1: no :method", with("-:method"), errMethodMissing},
		{"RFC 9113 §8.3.1: no :scheme", with("-:scheme"), errSchemeMissing},
		{"RFC 9113 §8.3.1: no :path", with("-:path"), errPathMissing},
		{"RFC 9113 §8.3.1: an empty :path", with(":path: "), errPathMissing},
		{"RFC 9113 §8.3.1: no :authority and no Host", with("-:authority"), errHostMissing},
		{"RFC 9113 §8.3.1: an empty :authority", with(":authority: "), errHostEmpty},
		{"RFC 9113 §8.3.1: an empty Host", with("-:authority", "host: "), errHostEmpty},
		{"RFC 9113 §8.3.1: Host differs from :authority", with("host: b.example"), errHostDiffers},
		{"RFC 9113 §8.3.1: Host differs in its port", with("host: a.example:80"), errHostDiffers},
		{"RFC 9113 §8.3.1: user information", with(":authority: u@a.example"), errHost},
		{"RFC 9110 §7.2: Host twice", with("host: a.example", "host: a.example"), errHostTwice},
		{"RFC 9113 §8.3.1: another scheme", with(":scheme: ftp"), errScheme},
		{"RFC 9113 §8.3.1: a :path that is no path", with(":path: a/b"), errPath},
		{"RFC 9113 §8.3.1: an absolute :path", with(":path: http://a.example/"), errPath},
		{"RFC 9113 §8.3.1: * without OPTIONS", with(":path: *"), errPath},
		{"RFC 3986 §3.5: a fragment", with(":path: /a#b"), errPath},
		{"RFC 3986 §2: a space in :path", with(":path: /a b"), errPath},
		{"RFC 3986 §2.1: an escape without digits", with(":path: /%zz"), errPath},
		{"RFC 9110 §15.5.15: a long :path", with(":path: /" + long), errPathLong},
		{"RFC 9110 §9.1: a method with a space", with(":method: GE T"), errMethod},
		{"RFC 9110 §9.1: a long method", with(":method: " + strings.Repeat("A", 33)), errMethodLong},
		{"RFC 9110 §8.6: content-length that is no number", with("content-length: +5"), errLength},
		{"RFC 9110 §8.6: content-length twice", with("content-length: 5", "content-length: 5"), errLengthTwice},
		{"RFC 9110 §8.6: a list of lengths", with("content-length: 5, 5"), errLength},
		{"RFC 9113 §8.1.1: content that is announced and does not come", with("content-length: 5"), errLengthNot},
		{"RFC 9113 §8.5: CONNECT", []string{":method: CONNECT", ":authority: a:443"}, errConnect},
		{"RFC 9113 §8.5: CONNECT with a path", with(":method: CONNECT"), errConnectTarget},
		{"RFC 9113 §8.5: CONNECT without :authority", []string{":method: CONNECT"}, errConnectTarget},
		{"RFC 8441 §4: :protocol without CONNECT", with(":protocol: websocket"), errProtocol},
		{"RFC 8441 §4: no token", with(":method: CONNECT", ":protocol: a b"), errProtocol},
		{"RFC 8441 §4: extended CONNECT without :path", with(":method: CONNECT", ":protocol: websocket", "-:path"), errPathMissing},
	} {
		d := Decoder{Connect: true}
		var r message.Request
		_, err := d.Request(nil, blockOf(c.lines...), true, &r)
		if e := (*Error)(nil); !errors.As(err, &e) || e != c.want || e.Connection || e.Reason == "" || e.Code != ProtocolError {
			t.Errorf("%s: %v, want %v", c.why, err, c.want)
		}
		// The connection goes on.
		if _, err := d.Request(nil, blockOf(get...), true, &r); err != nil {
			t.Errorf("%s: the next request: %v", c.why, err)
		}
	}
	var d Decoder
	var r message.Request
	if _, err := d.Request(nil, blockOf(with(":method: CONNECT", ":protocol: websocket")...), false, &r); err != error(errProtocol) {
		t.Errorf("RFC 8441 §3: :protocol that was not offered: %v", err)
	}
}

// TestRequestsTooLarge: the stream is refused with the status that says why, and the table is
// as if it had not been.
func TestRequestsTooLarge(t *testing.T) {
	small := limits.Head{Bytes: 400, Fields: 3, Target: 100}
	for _, c := range []struct {
		name  string
		lines []string
		want  *Error
	}{
		{"just not", with("a: 1", "b: 2", "c: 3"), nil},
		{"four fields", with("a: 1", "b: 2", "c: 3", "d: 4"), errFieldsMany},
		{"four crumbs", with("cookie: 1", "cookie: 2", "cookie: 3", "cookie: 4"), errFieldsMany},
		{"many bytes", with("a: " + strings.Repeat("x", 400)), errHeadLarge},
		{"a long path", with(":path: /" + strings.Repeat("x", 100)), errPathLong},
		{"a long path in a long head", with(":path: /"+strings.Repeat("x", 150), "a: "+strings.Repeat("x", 200)), errPathLong},
		{"many pseudo-fields", append([]string{":method: GET", ":method: GET", ":method: GET"}, get...), errPseudoTwice},
		{"enormous", with("a: " + strings.Repeat("x", 1600)), errHeadEnormous},
	} {
		d := Decoder{Limits: &small}
		var r message.Request
		_, err := d.Request(nil, blockOf(c.lines...), true, &r)
		if c.want == nil && err != nil || c.want != nil && err != error(c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestResponses: what a response says, and what is not accepted, with the section.
func TestResponses(t *testing.T) {
	ok := ":status: 200"
	for _, c := range []struct {
		name   string
		method string
		lines  []string
		end    bool
		want   string // status, body/length, fields
		err    *Error
	}{
		{"the least", "GET", []string{ok}, true, "200 0/0", nil},
		{"content of a known length", "GET", []string{ok, "content-length: 5"}, false, "200 1/5 | content-length: 5", nil},
		{"of no length", "GET", []string{ok, "server: x"}, false, "200 2/0 | server: x", nil},
		{"to HEAD", "HEAD", []string{ok, "content-length: 5"}, true, "200 0/5 | content-length: 5", nil},
		{"304", "GET", []string{":status: 304", "content-length: 5"}, true, "304 0/5 | content-length: 5", nil},
		{"103", "GET", []string{":status: 103", "link: </a>"}, false, "103 0/0 | link: </a>", nil},
		{"a tunnel", "CONNECT", []string{ok}, false, "200 0/0", nil},
		{"several Set-Cookie and Cookie", "GET", []string{ok, "set-cookie: a", "set-cookie: b", "cookie: c", "cookie: d"}, true, "200 0/0 | set-cookie: a | set-cookie: b | cookie: c | cookie: d", nil},
		{"RFC 9113 §8.3.2: no :status", "GET", []string{"x: 1"}, true, "", errStatusMissing},
		{"RFC 9113 §8.3.2: twice", "GET", []string{ok, ok}, true, "", errPseudoTwice},
		{"RFC 9113 §8.3.2: two digits", "GET", []string{":status: 20"}, true, "", errStatus},
		{"RFC 9113 §8.3.2: no digits", "GET", []string{":status: 2x0"}, true, "", errStatus},
		{"RFC 9110 §15: below 100", "GET", []string{":status: 099"}, true, "", errStatus},
		{"RFC 9113 §8.6: 101", "GET", []string{":status: 101"}, false, "", errSwitching},
		{"RFC 9113 §8.1: an interim response that ends", "GET", []string{":status: 103"}, true, "", errInterimEnd},
		{"RFC 9113 §8.3: of requests", "GET", []string{ok, ":path: /"}, true, "", errPseudo},
		{"RFC 9113 §8.3: late", "GET", []string{"x: 1", ok}, true, "", errPseudoLate},
		{"RFC 9113 §8.2.1: capitals", "GET", []string{ok, "X: 1"}, true, "", errFieldName},
		{"RFC 9113 §8.2.2: Connection", "GET", []string{ok, "connection: close"}, true, "", errConnection},
		{"RFC 9113 §8.2.2: TE", "GET", []string{ok, "te: trailers"}, true, "", errTE},
		{"RFC 9113 §8.1.1: announced content", "GET", []string{ok, "content-length: 5"}, true, "", errLengthNot},
		{"RFC 9110 §8.6: twice", "GET", []string{ok, "content-length: 5", "content-length: 6"}, false, "", errLengthTwice},
		{"RFC 9113 §10.5.1: too large", "GET", []string{ok, "x: " + strings.Repeat("a", limits.HeadBytesMax)}, true, "", errHeadLarge},
	} {
		var d Decoder
		var r message.Response
		_, err := d.Response(nil, blockOf(c.lines...), c.end, []byte(c.method), &r)
		if c.err != nil {
			if e := (*Error)(nil); !errors.As(err, &e) || e.Text != c.err.Text || e.Status != 502 || e.Reason == "" {
				t.Errorf("%s: %v, want %v", c.name, err, c.err)
			}
			continue
		}
		got := fmt.Sprintf("%d %d/%d", r.Status, r.Body, r.Length)
		for _, f := range r.Fields {
			got += fmt.Sprintf(" | %s: %s", f.Name, f.Value)
		}
		if err != nil || got != c.want || !r.KeepAlive {
			t.Errorf("%s: %s, %v; want %s", c.name, got, err, c.want)
		}
	}
}

func TestTrailers(t *testing.T) {
	var d Decoder
	_, fields, err := d.Trailers(nil, blockOf("grpc-status: 0", "content-length: 1", "host: a", "vary: b", "x: y"), nil)
	if err != nil || len(fields) != 2 || string(fields[0].Name) != "grpc-status" || string(fields[1].Value) != "y" {
		t.Errorf("%v, %v", fields, err)
	}
	for _, c := range []struct {
		why, line string
		want      *Error
	}{
		{"RFC 9113 §8.1: a pseudo-field", ":status: 200", errPseudo},
		{"RFC 9113 §8.2.1: capitals", "X: 1", errFieldName},
		{"RFC 9113 §8.2.1: LF", "x: a\nb", errFieldValue},
		{"RFC 9113 §8.2.2: Connection", "connection: x", errConnection},
	} {
		if _, _, err := d.Trailers(nil, blockOf(c.line), nil); err != error(c.want) {
			t.Errorf("%s: %v, want %v", c.why, err, c.want)
		}
	}
}

// TestFaultsStayWithEntries: a bad field is found bad again when only its index comes, and its
// name is good with another value.
func TestFaultsStayWithEntries(t *testing.T) {
	var d Decoder
	lf := append([]byte{0x40, 1, 'x'}, "\x03a\nb"...) // entry 62
	good := append([]byte{0x40 | 62, 1}, "c"...)      // name of 62
	for _, c := range []struct {
		block []byte
		want  error
	}{{lf, errFieldValue}, {[]byte{0xbe}, errFieldValue}, {good, nil}, {[]byte{0xbf}, errFieldValue}, {[]byte{0xbe}, nil},
		{[]byte("\x40\x02XY\x01a"), errFieldName}, {[]byte{0xbe}, errFieldName}, {[]byte("\x7e\x01b"), errFieldName},
		{[]byte("\x40\x07:method\x01a"), errPseudo}, {[]byte{0xbe}, errPseudo}} {
		if _, _, err := d.Trailers(nil, c.block, nil); !errors.Is(err, c.want) {
			t.Errorf("%x: %v, want %v", c.block, err, c.want)
		}
	}
}

// TestNeverIndexed: RFC 7541 §6.2.3: such a literal stays one.
func TestNeverIndexed(t *testing.T) {
	var d Decoder
	_, fields, err := d.Trailers(nil, []byte("\x10\x01x\x06secret\x00\x01y\x01z"), nil)
	if err != nil || !fields[0].NeverIndex || fields[1].NeverIndex {
		t.Fatalf("%v, %v", fields, err)
	}
	e := Encoder{Indexing: true}
	for range 3 {
		if got := e.Trailers(nil, fields[:1]); string(got) != "\x10\x01x\x06secret" {
			t.Errorf("%x", got)
		}
	}
}

// TestWorkedExample: the bytes of the package comment.
func TestWorkedExample(t *testing.T) {
	b := unhex(t, "00000e 01 05 00000001 82 87 84 41 09 61 2e 65 78 61 6d 70 6c 65")
	f, n, err := Next(b, FrameSizeMin)
	if err != nil || n != len(b) || len(b) != 23 {
		t.Fatal(n, err)
	}
	var d Decoder
	var r message.Request
	for _, block := range [][]byte{f.Payload, unhex(t, "82 87 84 be")} {
		if _, err := d.Request(nil, block, f.EndStream(), &r); err != nil || requestText(&r) != "GET / path / query - host a.example body 0/0" {
			t.Errorf("%s, %v", requestText(&r), err)
		}
	}
}

// TestNothingIsWrittenOver: a message stays as it is while its Decoder goes on.
func TestNothingIsWrittenOver(t *testing.T) {
	var d Decoder
	var r message.Request
	room := []byte("before")
	room, err := d.Request(room, blockOf(with("x: y", "cookie: a", "cookie: b")...), true, &r)
	if err != nil || !bytes.HasPrefix(room, []byte("before")) {
		t.Fatal(err)
	}
	text := requestText(&r)
	r.Fields[0].Name = append(r.Fields[0].Name, "more"...) // must not reach into what is beside it
	r.Fields[0].Name = r.Fields[0].Name[:1]
	for range 100 {
		var other message.Request
		if _, err := d.Request(nil, blockOf(with("x: "+strings.Repeat("z", 100))...), true, &other); err != nil {
			t.Fatal(err)
		}
	}
	if got := requestText(&r); got != text {
		t.Errorf("%s\n was %s", got, text)
	}
}
