package message

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// spellings of a name that are the same field.
func spellings(name string) []string {
	mixed := []byte(strings.ToLower(name))
	for i := range mixed {
		if i%2 == 1 {
			mixed[i] = bytes.ToUpper(mixed[i : i+1])[0]
		}
	}
	return []string{name, strings.ToLower(name), strings.ToUpper(name), string(mixed)}
}

func TestKindOfKnowsEverySpelling(t *testing.T) {
	for k := Other + 1; k < kinds; k++ {
		if kindNames[k].lower != strings.ToLower(kindNames[k].canonical) || k.String() == "" {
			t.Errorf("kind %d is named %q and %q", k, kindNames[k].canonical, kindNames[k].lower)
		}
		for _, name := range spellings(k.String()) {
			if got := KindOf([]byte(name)); got != k {
				t.Errorf("KindOf(%q) = %v, want %v: do two names share a slot?", name, got, k)
			}
		}
	}
}

func TestKindOfKnowsNothingElse(t *testing.T) {
	names := []string{"", "x", "X-Custom", "Hosts", "Hose", "Content-Lengti", "Content_Length", "\x00E", "T\xc5"}
	for k := Other + 1; k < kinds; k++ {
		s := k.String()
		names = append(names, s+" ", " "+s, s[:len(s)-1], s+s)
		for i := range s { // one bit away, except the case of a letter
			for bit := range 8 {
				b := []byte(s)
				if b[i] ^= 1 << bit; !strings.EqualFold(string(b), s) {
					names = append(names, string(b))
				}
			}
		}
	}
	for _, name := range names {
		if got := KindOf([]byte(name)); got != Other && !strings.EqualFold(got.String(), name) {
			t.Errorf("KindOf(%q) = %v", name, got)
		}
	}
	if Other.String() != "" || kinds.String() != "" {
		t.Error("Other has a name")
	}
}

func TestNameLenAgainstGrammar(t *testing.T) {
	const tchar = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for c := range 256 {
		if got, want := ValidName([]byte{'a', byte(c)}), strings.IndexByte(tchar, byte(c)) >= 0; got != want {
			t.Errorf("ValidName(a, %#x) = %v", c, got)
		}
	}
	if ValidName(nil) {
		t.Error("an empty name is valid")
	}
}

// naiveValueLen is RFC 9110 §5.5 by the letter.
func naiveValueLen(b []byte) int {
	for i, c := range b {
		if c < 0x20 && c != '\t' || c == 0x7f {
			return i
		}
	}
	return len(b)
}

func TestValueLenAtEveryPosition(t *testing.T) {
	for c := range 256 {
		for size := range 20 {
			for at := range size {
				for _, fill := range []byte{'a', '\t', 0x80, 0xff, ' '} {
					b := bytes.Repeat([]byte{fill}, size)
					b[at] = byte(c)
					if got, want := ValueLen(b), naiveValueLen(b); got != want {
						t.Fatalf("ValueLen(% x) = %d, want %d", b, got, want)
					}
				}
			}
		}
	}
}

func FuzzValueLen(f *testing.F) {
	f.Add([]byte("text/html; charset=utf-8"))
	f.Add([]byte("tab\there, \x80\xff then \x7f and\x01"))
	f.Add([]byte{0x20, 0x1f, 0x21, 0x7f, 0x80, 0x7e, 0x00, 0x09, 0x0a})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := ValueLen(b), naiveValueLen(b); got != want {
			t.Fatalf("%d, want %d", got, want)
		}
	})
}

func TestValidValue(t *testing.T) {
	for value, want := range map[string]bool{
		"": true, "a": true, "a b": true, "a\tb": true, "caf\xe9": true,
		" a": false, "a ": false, "a\t": false, "\t": false, "a\r\nb": false, "a\x00": false, "\x7f": false, "a\nb": false,
	} {
		if got := ValidValue([]byte(value)); got != want {
			t.Errorf("ValidValue(%q) = %v", value, got)
		}
	}
}

func TestEqualFoldIsASCIIOnly(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			want := a == b || a < 0x80 && b < 0x80 && strings.EqualFold(string(rune(a)), string(rune(b)))
			if got := EqualFold([]byte{byte(a)}, string([]byte{byte(b)})); got != want {
				t.Fatalf("EqualFold(%#x, %#x) = %v", a, b, got)
			}
		}
	}
	if EqualFold([]byte("close"), "closed") || EqualFold(nil, "a") || !EqualFold(nil, "") {
		t.Error("length does not count")
	}
}

func TestTokensAgainstSplit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const alphabet = "ab, \t,Cc"
	for range 20000 {
		b := make([]byte, r.IntN(12))
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		var want, got []string
		for s := range strings.SplitSeq(string(b), ",") {
			if s = strings.Trim(s, " \t"); s != "" {
				want = append(want, s)
			}
		}
		for tok, rest := NextToken(b); tok != nil; tok, rest = NextToken(rest) {
			got = append(got, string(tok))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("tokens of %q: %q, want %q", b, got, want)
		}
		has := slices.ContainsFunc(want, func(s string) bool { return strings.EqualFold(s, "c") })
		if HasToken(b, "C") != has {
			t.Fatalf("HasToken(%q, C) = %v", b, !has)
		}
	}
	if HasToken([]byte("closed, x-close"), "close") || HasToken([]byte("trailers;q=0"), "trailers") {
		t.Error("a part of an element is not the element")
	}
}

// fieldsOf reads "Name: value" lines.
func fieldsOf(lines ...string) (fields []Field) {
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		fields = append(fields, NewField(name, strings.Trim(value, " ")))
	}
	return fields
}

// kept names the fields that are not dropped.
func kept(fields []Field) string {
	var names []string
	for _, f := range fields {
		if !f.Drop {
			names = append(names, string(f.Name))
		}
	}
	return strings.Join(names, " ")
}

func TestGetSkipsWhatIsDropped(t *testing.T) {
	fields := fieldsOf("X-A: 1", "x-a: 2", "Cookie: c")
	fields[0].Drop = true
	if v, ok := Get(fields, "X-A"); !ok || string(v) != "2" {
		t.Errorf("Get = %q, %v", v, ok)
	}
	if v, ok := GetKind(fields, Cookie); !ok || string(v) != "c" {
		t.Errorf("GetKind = %q, %v", v, ok)
	}
	Drop(fields, Cookie)
	if _, ok := GetKind(fields, Cookie); ok {
		t.Error("a dropped field is found")
	}
	if _, ok := Get(fields, "X-B"); ok {
		t.Error("found what is not there")
	}
}

func TestDropHopByHop(t *testing.T) {
	for _, c := range []struct {
		why   string
		lines []string
		want  string
	}{
		{"RFC 9110 §7.6.1: the connection's own", []string{
			"Host: a", "Connection: close", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers",
			"Transfer-Encoding: chunked", "Upgrade: websocket", "X-A: 1"}, "Host X-A"},
		{"RFC 9110 §11.7: for the first proxy", []string{"Proxy-Authorization: x", "Proxy-Authenticate: y", "Authorization: z"}, "Authorization"},
		{"nominated, in any case, all of them", []string{"X-A: 1", "connection: x-a", "x-A: 2", "X-B: 3"}, "X-B"},
		{"nominated by the second Connection", []string{"Connection: close", "X-B: 1", "Connection: keep-alive, , X-B,X-C", "X-C: 3"}, ""},
		{"nominated known fields", []string{"Connection: cookie, Authorization, Referer", "Cookie: a", "Authorization: b", "Referer: c", "X: d"}, "X"},
		{"not nominable: what proxies say about the client", []string{
			"Connection: x-forwarded-for, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Port, X-Forwarded-Prefix, X-Real-IP, Forwarded, Via",
			"X-Forwarded-For: 1", "X-Forwarded-Proto: 2", "X-Forwarded-Host: 3", "X-Forwarded-Port: 4", "X-Forwarded-Prefix: 5", "X-Real-IP: 6", "Forwarded: 7", "Via: 8"},
			"X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host X-Forwarded-Port X-Forwarded-Prefix X-Real-IP Forwarded Via"},
		{"not nominable: what the message needs", []string{
			"Connection: host, content-length, content-type, content-encoding, expect, date, cache-control, set-cookie, trailer, max-forwards",
			"Host: a", "Content-Length: 1", "Content-Type: b", "Content-Encoding: c", "Expect: 100-continue", "Date: d", "Cache-Control: e", "Set-Cookie: f", "Trailer: g", "Max-Forwards: 1"},
			"Host Content-Length Content-Type Content-Encoding Expect Date Cache-Control Set-Cookie Trailer Max-Forwards"},
		{"nominating Connection or nothing", []string{"Connection: connection, , \"x\"", "X: 1"}, "X"},
		{"a prefix is not the name", []string{"Connection: X-Ab", "X-A: 1", "X-Abc: 2"}, "X-A X-Abc"},
		{"no Connection", []string{"A: 1", "B: 2"}, "A B"},
	} {
		fields := fieldsOf(c.lines...)
		DropHopByHop(fields)
		if got := kept(fields); got != c.want {
			t.Errorf("%s: kept %q, want %q", c.why, got, c.want)
		}
	}
}

// Whatever is nominated, in whatever order, exactly the rules decide what is left.
func TestDropHopByHopAgainstNaive(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pool := []string{"X-A", "x-b", "X-Aa", "Cookie", "Host", "X-Real-IP", "Upgrade", "TE", "Via", "close", "Keep-Alive", "Zz"}
	for range 5000 {
		var lines []string
		nominated := map[string]bool{}
		for range r.IntN(8) {
			lines = append(lines, pool[r.IntN(len(pool))]+": v")
		}
		for range r.IntN(3) {
			var options []string
			for range r.IntN(4) {
				o := spellings(pool[r.IntN(len(pool))])[r.IntN(4)]
				options = append(options, o)
				nominated[strings.ToLower(o)] = true
			}
			lines = slices.Insert(lines, r.IntN(len(lines)+1), "Connection: "+strings.Join(options, ","))
		}
		fields := fieldsOf(lines...)
		DropHopByHop(fields)
		for _, f := range fields {
			want := hopByHop[f.Kind] || nominated[strings.ToLower(string(f.Name))] && !notNominable[f.Kind]
			if f.Drop != want {
				t.Fatalf("%q: %s dropped: %v", lines, f.Name, f.Drop)
			}
		}
	}
}

func TestDropHopByHopIsBounded(t *testing.T) {
	options := strings.Repeat("x,", OptionsMax-1) + "last,beyond"
	fields := fieldsOf("Connection: "+options, "Last: 1", "Beyond: 2")
	DropHopByHop(fields)
	if got := kept(fields); got != "Beyond" {
		t.Errorf("kept %q", got)
	}
}

func TestDeriveRequest(t *testing.T) {
	for _, c := range []struct {
		minor uint8
		lines []string
		want  string // flags: keep-alive, expect, trailers, upgrade
	}{
		{1, nil, "true false false -"},
		{0, nil, "false false false -"},
		{0, []string{"Connection: Keep-Alive"}, "true false false -"},
		{0, []string{"Connection: keep-alive, close"}, "false false false -"},
		{1, []string{"Connection: CLOSE"}, "false false false -"},
		{1, []string{"Connection: x", "Connection: y , close"}, "false false false -"},
		{1, []string{"Proxy-Connection: close"}, "true false false -"},
		{1, []string{"Expect: 100-Continue"}, "true true false -"},
		{0, []string{"Expect: 100-continue"}, "false false false -"},
		{1, []string{"Expect: 200-ok"}, "true false false -"},
		{1, []string{"TE: gzip;q=0.5, trailers"}, "true false true -"},
		{1, []string{"TE: gzip"}, "true false false -"},
		{1, []string{"Connection: Upgrade", "Upgrade: websocket"}, "true false false websocket"},
		{1, []string{"Connection: keep-alive, upgrade", "Upgrade: a/1", "Upgrade: b"}, "true false false a/1"},
		{1, []string{"Upgrade: websocket"}, "true false false -"},
		{1, []string{"Connection: upgrade"}, "true false false -"},
		{1, []string{"Connection: upgrade", "Upgrade:"}, "true false false -"},
		{0, []string{"Connection: upgrade", "Upgrade: websocket"}, "false false false -"},
		{1, []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: H2C", "HTTP2-Settings: x"}, "true false false -"},
		{1, []string{"Connection: Upgrade", "Upgrade: websocket, h2c"}, "true false false -"},
	} {
		r := Request{Minor: c.minor, Fields: fieldsOf(c.lines...), KeepAlive: true, ExpectContinue: true, TrailersOK: true, Upgrade: []byte("stale")}
		r.Derive()
		upgrade := "-"
		if r.Upgrade != nil {
			upgrade = string(r.Upgrade)
		}
		if got := fmt.Sprintf("%v %v %v %s", r.KeepAlive, r.ExpectContinue, r.TrailersOK, upgrade); got != c.want {
			t.Errorf("HTTP/1.%d %q: %s, want %s", c.minor, c.lines, got, c.want)
		}
	}
	old := Request{Fields: fieldsOf("Expect: 100-continue", "X: 1")}
	if old.Derive(); kept(old.Fields) != "X" {
		t.Errorf("RFC 9110 §10.1.1: HTTP/1.0 keeps %q", kept(old.Fields))
	}
}

func TestDeriveResponse(t *testing.T) {
	r := Response{Minor: 1, Status: 101, Fields: fieldsOf("Connection: upgrade", "Upgrade: h2c")}
	if r.Derive(); !r.KeepAlive || string(r.Upgrade) != "h2c" {
		t.Errorf("%+v", r)
	}
	r = Response{Fields: fieldsOf("Upgrade: x"), KeepAlive: true}
	if r.Derive(); r.KeepAlive || r.Upgrade != nil {
		t.Errorf("%+v", r)
	}
}

func TestTrailerAllowed(t *testing.T) {
	for _, name := range []string{"Grpc-Status", "Grpc-Message", "X-Checksum", "Server-Timing", "ETag", "Digest", "If"} {
		if !TrailerAllowed([]byte(name)) {
			t.Errorf("%s is refused", name)
		}
	}
	for _, name := range []string{
		"Content-Length", "Transfer-Encoding", "Trailer", "Host", "Connection", "TE", "Upgrade", "Keep-Alive", "Proxy-Connection",
		"X-Forwarded-For", "X-Real-IP", "Forwarded", "Via", "Expect", "Max-Forwards", "Cache-Control", "Authorization", "Cookie", "Set-Cookie",
		"Content-Type", "Content-Encoding", "Content-Range", "Range", "If-Match", "if-none-match", "Pragma", "WWW-Authenticate", "Location",
		"Retry-After", "Date", "Vary", "Age", "Expires", "Warning", "Proxy-Authorization", "Proxy-Authenticate",
	} {
		for _, s := range spellings(name) {
			if TrailerAllowed([]byte(s)) {
				t.Errorf("RFC 9110 §6.5.1: %s may not be a trailer", s)
			}
		}
	}
}

func TestResetKeepsRoomAndNoBuffers(t *testing.T) {
	q := Request{Method: []byte("GET"), Fields: fieldsOf("A: 1", "B: 2"), Body: Chunked, Minor: 1}
	p := Response{Status: 200, Fields: fieldsOf("A: 1"), KeepAlive: true}
	q.Reset()
	p.Reset()
	if q.Method != nil || q.Body != NoBody || q.Minor != 0 || len(q.Fields) != 0 || cap(q.Fields) < 2 || q.Fields[:2][1].Name != nil {
		t.Errorf("%+v", q)
	}
	if p.Status != 0 || p.KeepAlive || cap(p.Fields) < 1 || p.Fields[:1][0].Value != nil {
		t.Errorf("%+v", p)
	}
}

func TestNothingAllocates(t *testing.T) {
	name, value := []byte("X-B"), []byte("1")
	r := Request{Minor: 1, Fields: fieldsOf("Host: a", "Connection: keep-alive, X-B", "X-B: 1", "TE: trailers", "Cookie: a")}
	if n := testing.AllocsPerRun(100, func() {
		r.Derive()
		DropHopByHop(r.Fields)
		Get(r.Fields, "cookie")
		KindOf(r.Fields[0].Name)
		TrailerAllowed(r.Fields[2].Name)
		r.Fields[2] = NewField(name, value)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkKindOf(b *testing.B) {
	names := [][]byte{[]byte("Host"), []byte("user-agent"), []byte("Accept-Language"), []byte("X-Request-Id"), []byte("CONTENT-LENGTH")}
	i := 0
	for b.Loop() {
		KindOf(names[i%len(names)])
		i++
	}
}

// TestName: what a field line begins with is found as by the two functions that Name stands
// for, whichever names are known.
func TestName(t *testing.T) {
	lines := []string{"", ":", "a", "a:", "A b: c", "X-Other: 1", "no colon at all, and much longer than any name", "(x): y", "Host : a", "\tHost: a"}
	for k := Other + 1; k < kinds; k++ {
		for _, name := range []string{kindNames[k].canonical, kindNames[k].lower, strings.ToUpper(kindNames[k].lower)} {
			lines = append(lines, name, name+":", name+": value: 1", name+"x: 1", name+" : 1", name[1:]+": 1")
			if _, got := Name([]byte(name + ":")); got != k {
				t.Errorf("%q is found to be of kind %v", name, got)
			}
		}
	}
	for _, line := range lines {
		want := NameLen([]byte(line))
		if n, k := Name([]byte(line)); n != want || k != KindOf([]byte(line[:want])) && want < len(line) && line[want] == ':' {
			t.Errorf("%q: %d bytes, kind %v; want %d, %v", line, n, k, want, KindOf([]byte(line[:want])))
		}
	}
}
