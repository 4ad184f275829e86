package http2

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/message"
	"golang.org/x/net/http2/hpack"
)

// peer reads what an Encoder writes with the HPACK of x/net, and counts.
type peer struct {
	d *hpack.Decoder
}

func newPeer() *peer { return &peer{hpack.NewDecoder(TableSize, nil)} }

func (p *peer) read(t testing.TB, block []byte) string {
	t.Helper()
	fields, err := p.d.DecodeFull(block)
	if err != nil {
		t.Fatalf("x/net does not read %x: %v", block, err)
	}
	var lines []string
	for _, f := range fields {
		never := ""
		if f.Sensitive {
			never = " (never indexed)"
		}
		lines = append(lines, fmt.Sprintf("%s: %s%s", f.Name, f.Value, never))
	}
	return strings.Join(lines, " | ")
}

func fieldsOf(lines ...string) (fields []message.Field) {
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		fields = append(fields, message.NewField(name, value))
	}
	return fields
}

func TestEncodeRequests(t *testing.T) {
	for _, c := range []struct {
		name   string
		r      message.Request
		scheme string
		want   string
	}{
		{"the least", message.Request{Method: []byte("GET"), Path: []byte("/"), Host: []byte("a")}, "https", ":method: GET | :scheme: https | :authority: a | :path: /"},
		{"no path, no host", message.Request{Method: []byte("PUT")}, "http", ":method: PUT | :scheme: http | :path: /"},
		{"a query", message.Request{Method: []byte("POST"), Path: []byte("/a"), Query: []byte("b=c"), Host: []byte("a")}, "http", ":method: POST | :scheme: http | :authority: a | :path: /a?b=c"},
		{"a query without a path", message.Request{Method: []byte("GET"), Query: []byte{}, Host: []byte("a")}, "http", ":method: GET | :scheme: http | :authority: a | :path: /?"},
		{"the whole server", message.Request{Method: []byte("OPTIONS"), Path: []byte("*"), Host: []byte("a")}, "http", ":method: OPTIONS | :scheme: http | :authority: a | :path: *"},
		{"content of a known length", message.Request{Method: []byte("POST"), Path: []byte("/"), Host: []byte("a"), Body: message.Length, Length: 12345678901, Fields: fieldsOf("Content-Length: 7")}, "http",
			":method: POST | :scheme: http | :authority: a | :path: / | content-length: 12345678901"},
		{"trailers", message.Request{Method: []byte("POST"), Path: []byte("/"), Host: []byte("a"), Body: message.Chunked, TrailersOK: true, Fields: fieldsOf("TE: trailers, gzip", "Trailer: x")}, "http",
			":method: POST | :scheme: http | :authority: a | :path: / | te: trailers | trailer: x"},
		{"what HTTP/2 does not have", message.Request{Method: []byte("GET"), Path: []byte("/"), Host: []byte("a"), Upgrade: []byte("websocket"),
			Fields: fieldsOf("Host: b", "Connection: close", "Keep-Alive: 1", "Proxy-Connection: x", "Transfer-Encoding: chunked", "Upgrade: websocket", "X-Forwarded-For: 192.0.2.1", "User-Agent: Me", "X-Own: Yes")}, "http",
			":method: GET | :scheme: http | :authority: a | :path: / | x-forwarded-for: 192.0.2.1 | user-agent: Me | x-own: Yes"},
		{"extended CONNECT", message.Request{Method: []byte("CONNECT"), Path: []byte("/chat"), Host: []byte("a"), Upgrade: []byte("websocket")}, "https",
			":method: CONNECT | :protocol: websocket | :scheme: https | :authority: a | :path: /chat"},
	} {
		var e Encoder
		if got := newPeer().read(t, e.Request(nil, &c.r, c.scheme)); got != c.want {
			t.Errorf("%s: %s\n want %s", c.name, got, c.want)
		}
		if e.index != nil {
			t.Errorf("%s: the static table is not enough", c.name)
		}
	}
	r := message.Request{Method: []byte("GET"), Path: []byte("/"), Host: []byte("a"), Fields: fieldsOf("A: 1", "B: 2")}
	r.Fields[0].Drop, r.Fields[1].NeverIndex = true, true
	var e Encoder
	if got := newPeer().read(t, e.Request(nil, &r, "http")); !strings.HasSuffix(got, "/ | b: 2 (never indexed)") {
		t.Errorf("dropped, and never indexed: %s", got)
	}
}

func TestEncodeResponses(t *testing.T) {
	for _, c := range []struct {
		name string
		r    message.Response
		head bool
		want string
	}{
		{"no content", message.Response{Status: 200, Reason: []byte("OK")}, false, ":status: 200"},
		{"content of a known length", message.Response{Status: 201, Body: message.Length, Length: 5, Fields: fieldsOf("Content-Length: 5", "Server: x")}, false, ":status: 201 | content-length: 5 | server: x"},
		{"length 0", message.Response{Status: 200, Body: message.Length}, false, ":status: 200 | content-length: 0"},
		{"chunked", message.Response{Status: 404, Body: message.Chunked, Fields: fieldsOf("Transfer-Encoding: chunked", "Trailer: X")}, false, ":status: 404 | trailer: X"},
		{"until the end", message.Response{Status: 500, Body: message.UntilClose, Fields: fieldsOf("Connection: close")}, false, ":status: 500"},
		{"to HEAD, as told", message.Response{Status: 206, Fields: fieldsOf("Content-Length: 5")}, true, ":status: 206 | content-length: 5"},
		{"to HEAD, as counted", message.Response{Status: 400, Body: message.Length, Length: 6}, true, ":status: 400 | content-length: 6"},
		{"304", message.Response{Status: 304, Fields: fieldsOf("Content-Length: 5", "ETag: x")}, false, ":status: 304 | content-length: 5 | etag: x"},
		{"204", message.Response{Status: 204, Body: message.Length, Fields: fieldsOf("Content-Length: 0")}, false, ":status: 204"},
		{"interim", message.Response{Status: 103, Fields: fieldsOf("Link: </a>", "Content-Length: 1")}, false, ":status: 103 | link: </a>"},
		{"426", message.Response{Status: 426, Upgrade: []byte("x"), Fields: fieldsOf("Upgrade: x", "Connection: upgrade")}, false, ":status: 426"},
	} {
		e := Encoder{Indexing: true}
		p := newPeer()
		for range 3 { // literal, into the table, from the table
			if got := p.read(t, e.Response(nil, &c.r, c.head)); got != c.want {
				t.Errorf("%s: %s\n want %s", c.name, got, c.want)
			}
		}
	}
}

// TestValuesAreIndexedTheSecondTime: what comes once changes nothing, what comes again costs
// one byte, and what is different each time or secret never enters the table.
func TestValuesAreIndexedTheSecondTime(t *testing.T) {
	e := Encoder{Indexing: true}
	p := newPeer()
	long := strings.Repeat("l", indexValueMost+1)
	fields := fieldsOf("Server: backend", "X-Own: yes", "Set-Cookie: a", "Authorization: b", "Cookie: c", "Location: d", "X-Long: "+long)
	var sizes []int
	for range 4 {
		b := e.Trailers(nil, fields)
		p.read(t, b)
		sizes = append(sizes, len(b))
	}
	literals := len(e.Trailers(nil, fields[2:]))
	if e.index.table.n != 2 || sizes[1] > sizes[0] || sizes[2] != literals+2 || sizes[3] != sizes[2] {
		t.Errorf("%d entries, blocks of %d bytes; what is never indexed has %d", e.index.table.n, sizes, literals)
	}
	again := fieldsOf("x-own: yes", "X-OWN: no")
	if b := e.Trailers(nil, again[:1]); len(b) != 1 {
		t.Errorf("a name in other letters is another one: %x", b)
	}
	if got := p.read(t, e.Trailers(nil, again)); got != "x-own: yes | x-own: no" {
		t.Errorf("another value: %s", got)
	}
}

// TestTableTurnsOver: far more values than the table holds, each three times, so that
// entries and slots are taken again and again; the peer reads what was meant.
func TestTableTurnsOver(t *testing.T) {
	e := Encoder{Indexing: true}
	p := newPeer()
	for i := range 3000 {
		fields := fieldsOf("Server: backend", fmt.Sprintf("X-Own: %d", i), fmt.Sprintf("Date: %d", i/3), fmt.Sprintf("Etag: %d-%s", i/2, strings.Repeat("e", i%100)))
		var want []string
		for _, f := range fields {
			want = append(want, strings.ToLower(string(f.Name))+": "+string(f.Value))
		}
		if got := p.read(t, e.Trailers(nil, fields)); got != strings.Join(want, " | ") {
			t.Fatalf("%d: %s, want %s", i, got, want)
		}
		if n := len(e.index.table.bytes); n > 2*TableSize {
			t.Fatalf("the table has %d bytes", n)
		}
	}
}

// TestTableSizeIsTold: RFC 7541 §4.2: that the size was smaller since the last block, then what it is.
func TestTableSizeIsTold(t *testing.T) {
	fields := fieldsOf("Server: a", "X-Own: b")
	for _, c := range []struct {
		sizes []uint32
		want  string // what the next block begins with
	}{
		{nil, ""}, {[]uint32{4096}, ""}, {[]uint32{1 << 31}, ""}, {[]uint32{100}, "\x3f\x45"}, {[]uint32{0}, "\x20"}, {[]uint32{0, 4096}, "\x20\x3f\xe1\x1f"},
		{[]uint32{1000, 100, 2000}, "\x20\x3f\xb1\x0f"}, {[]uint32{30}, "\x3e"},
	} {
		e := Encoder{Indexing: true}
		p := newPeer()
		for range 3 {
			p.read(t, e.Trailers(nil, fields))
		}
		for _, n := range c.sizes {
			e.SetTableSize(n)
		}
		b := e.Trailers(nil, fields)
		if !bytes.HasPrefix(b, []byte(c.want)) || len(c.want) < len(b) && b[len(c.want)]&0xe0 == sizeUpdate {
			t.Errorf("%d: %x, want %x in front", c.sizes, b, c.want)
		}
		for range 3 {
			if got := p.read(t, b); got != "server: a | x-own: b" {
				t.Errorf("%d: %s", c.sizes, got)
			}
			b = e.Trailers(nil, fields)
		}
		if len(c.sizes) > 0 {
			if last := min(c.sizes[len(c.sizes)-1], TableSize); e.index.table.max != last || e.index.table.size > last {
				t.Errorf("%d: the table has %d of %d", c.sizes, e.index.table.size, e.index.table.max)
			}
		}
	}
	// Smaller, told, and larger again.
	var e Encoder
	e.SetTableSize(0)
	if b := e.Trailers(nil, nil); string(b) != "\x20" {
		t.Errorf("0: %x", b)
	}
	e.SetTableSize(4096)
	if b := e.Trailers(nil, nil); string(b) != "\x3f\xe1\x1f" {
		t.Errorf("4096 again: %x", b)
	}
	if b := e.Trailers(nil, nil); len(b) != 0 {
		t.Errorf("told twice: %x", b)
	}
}
