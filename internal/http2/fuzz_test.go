package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// HPACK of x/net is the oracle for field blocks, in one direction: what we accept, it accepts
// and reads in the same way. We refuse more: integers of more than 28 bits, and a change of the
// table's size within a block.

// split makes blocks of fuzzed bytes: a length, then so many bytes.
func split(b []byte) (blocks [][]byte) {
	for len(b) > 0 {
		n := min(int(b[0]), len(b)-1)
		blocks = append(blocks, b[1:1+n])
		b = b[1+n:]
	}
	return blocks
}

// joined is what split takes apart.
func joined(blocks ...[]byte) (b []byte) {
	for _, p := range blocks {
		b = append(append(b, byte(len(p))), p...)
	}
	return b
}

func FuzzBlocks(f *testing.F) {
	for _, c := range rfcCases {
		p := unhex(f, c.block)
		f.Add(joined(p, []byte{0xbe}, p))
	}
	f.Add(joined([]byte("\x20\x3f\xe1\x1f\x40\x01a\x01b"), []byte("\xbe\x7e\x01c"), []byte("\x3f\x45\xbe")))
	f.Add(joined([]byte("\x10\x01a\x85\x1f\xff\xff\xff\xff"), []byte("\x40\x00\x00")))
	f.Fuzz(func(t *testing.T, b []byte) { checkBlocks(t, split(b)) })
}

// checkBlocks decodes the blocks of one connection with both.
func checkBlocks(t *testing.T, blocks [][]byte) {
	var d Decoder
	theirs := hpack.NewDecoder(TableSize, nil)
	for _, p := range blocks {
		room, err := d.block(nil, p)
		want, theirErr := theirs.DecodeFull(p)
		if err != nil {
			if theirErr == nil && err != errInteger && err != errSizeLate && err != errHeadEnormous {
				t.Fatalf("%x: %v, but x/net reads %v", p, err, want)
			}
			return
		}
		if theirErr != nil {
			if len(p) > 0 && p[0]&^0x1f == sizeUpdate {
				return // x/net takes but one of these, unless the table is empty
			}
			t.Fatalf("%x: x/net does not read it: %v", p, theirErr)
		}
		if d.fault == nil && len(d.spans) < limits.FieldsMax+pseudosMost { // more pseudo-fields are not kept
			sameFields(t, &d, room, want)
		}
		if d.table.size > d.table.max || len(d.table.bytes) > 2*TableSize || d.table.n > TableSize/entryCost {
			t.Fatalf("the table has %d bytes of %d, %d entries, a buffer of %d", d.table.size, d.table.max, d.table.n, len(d.table.bytes))
		}
	}
}

func sameFields(t *testing.T, d *Decoder, room []byte, want []hpack.HeaderField) {
	t.Helper()
	if len(d.spans) != len(want) {
		t.Fatalf("%d fields, want %d", len(d.spans), len(want))
	}
	for i := range d.spans {
		s := &d.spans[i]
		var f message.Field
		s.field(room, &f)
		if string(f.Name) != want[i].Name || string(f.Value) != want[i].Value || f.NeverIndex != want[i].Sensitive {
			t.Fatalf("field %d is %q: %q, want %+v", i, f.Name, f.Value, want[i])
		}
		m := metaOf(f.Name) // what is remembered is what would be found
		if !message.ValidValue(f.Value) {
			m.faults |= badValue
		}
		m.static, m.faults = s.meta.static, m.faults|s.meta.faults&secret
		if m != s.meta {
			t.Fatalf("%q: %q is remembered as %+v, and is %+v", f.Name, f.Value, s.meta, m)
		}
	}
}

// TestBlocksOfXNet: what the encoder of x/net makes of random fields, with tables that turn
// over and change their size, is read as it was meant.
func TestBlocksOfXNet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var buf bytes.Buffer
	enc := hpack.NewEncoder(&buf)
	var d Decoder
	for range 5000 {
		if r.IntN(50) == 0 {
			enc.SetMaxDynamicTableSize(uint32(r.IntN(TableSize + 1)))
		}
		buf.Reset()
		var want []hpack.HeaderField
		for range r.IntN(10) {
			f := randomField(r)
			want = append(want, f)
			if err := enc.WriteField(f); err != nil {
				t.Fatal(err)
			}
		}
		room, err := d.block(nil, buf.Bytes())
		if err != nil {
			t.Fatalf("%v: %v", want, err)
		}
		sameFields(t, &d, room, want)
	}
}

// randomField has names and values that come again, and bytes of every kind.
func randomField(r *rand.Rand) hpack.HeaderField {
	f := hpack.HeaderField{Sensitive: r.IntN(20) == 0}
	switch r.IntN(4) {
	case 0:
		s := staticText[1+r.IntN(staticLen)]
		f.Name, f.Value = s[0], s[1]
	case 1:
		f.Name = staticText[1+r.IntN(staticLen)][0]
	default:
		f.Name = fmt.Sprintf("x-%d", r.IntN(10))
	}
	if f.Value == "" {
		b := make([]byte, r.IntN(5)*r.IntN(30))
		for i := range b {
			b[i] = byte('a' + r.IntN(3))
			if r.IntN(20) == 0 {
				b[i] = byte(r.Uint32())
			}
		}
		f.Value = string(b)
	}
	return f
}

// FuzzHuffman: strings of which x/net has made Huffman codes, and codes that it reads.
func FuzzHuffman(f *testing.F) {
	f.Add([]byte("www.example.com"))
	f.Add([]byte{0, 1, 2, 255, 254, '~', '|', '{'})
	f.Add(unhex(f, "ffffffff"))
	f.Add(unhex(f, "f1e3c2e5f23a6ba0ab90f4ff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := appendHuffman([]byte("before"), b)
		want, err := hpack.HuffmanDecodeToString(b)
		if ok != (err == nil) || ok && string(got) != "before"+want {
			t.Fatalf("%x: %q, %v; x/net: %q, %v", b, got, ok, want, err)
		}
		coded := hpack.AppendHuffmanString(nil, string(b))
		if got, ok := appendHuffman(nil, coded); !ok || !bytes.Equal(got, b) {
			t.Fatalf("%x: %q, %v", b, got, ok)
		}
	})
}

func TestHuffmanCode(t *testing.T) {
	var all []byte
	for c := range 256 {
		all = append(all, byte(c))
		for d := range 256 {
			s := []byte{byte(c), byte(d)}
			if got, ok := appendHuffman(nil, hpack.AppendHuffmanString(nil, string(s))); !ok || !bytes.Equal(got, s) {
				t.Fatalf("%x: %x, %v", s, got, ok)
			}
		}
	}
	if got, ok := appendHuffman(nil, hpack.AppendHuffmanString(nil, string(all))); !ok || !bytes.Equal(got, all) {
		t.Errorf("%x, %v", got, ok)
	}
}

// FuzzRequest: any block is a request, or an error that says whose; a request has what a
// request must have, and is the same when it is encoded and decoded again.
func FuzzRequest(f *testing.F) {
	f.Add(blockOf(get...), true)
	f.Add(blockOf(with("host: a.example", "cookie: a", "cookie: b", "content-length: 5")...), false)
	f.Add(blockOf(with(":method: OPTIONS", ":path: *", "te: trailers")...), false)
	f.Add(blockOf(with(":method: CONNECT", ":protocol: websocket", ":path: /a?b")...), false)
	f.Add(unhex(f, "82 87 84 41 09 61 2e 65 78 61 6d 70 6c 65"), true)
	f.Fuzz(checkRequest)
}

func checkRequest(t *testing.T, block []byte, end bool) {
	d := Decoder{Connect: true}
	var r message.Request
	_, err := d.Request(nil, block, end, &r)
	if e := (*Error)(nil); err != nil {
		if !errors.As(err, &e) || !e.Connection && e.Reason == "" || e.Connection && e.Status != 0 {
			t.Fatalf("%#v", err)
		}
		return
	}
	sameRequest(t, block, &r)
	whole := string(r.Path)
	if r.Query != nil {
		whole += "?" + string(r.Query)
	}
	if whole != string(r.Target) || len(r.Host) == 0 || len(r.Fields) > limits.FieldsMax || !message.ValidHost(r.Host) || len(r.Method) == 0 {
		t.Fatalf("%s", requestText(&r))
	}
	cookies := 0
	for _, f := range r.Fields {
		if !validName(f.Name) || !message.ValidValue(f.Value) || f.Kind != message.KindOf(f.Name) || ofConnection[f.Kind] {
			t.Fatalf("%q: %q", f.Name, f.Value)
		}
		if f.Kind == message.Cookie {
			cookies++
		}
	}
	if cookies > 1 || end && (r.Body == message.Chunked || r.Length > 0) {
		t.Fatalf("%d cookies: %s", cookies, requestText(&r))
	}
	text := encodedText(&r)
	var e Encoder
	var again message.Request
	if _, err := (&Decoder{Connect: true}).Request(nil, e.Request(nil, &r, "https"), end, &again); err != nil || encodedText(&again) != text {
		t.Fatalf("%s\nbecame %s, %v", text, encodedText(&again), err)
	}
}

// sameRequest compares r with what the Framer of x/net makes of the same block: what we accept
// it accepts, and it reads the same.
func sameRequest(t *testing.T, block []byte, r *message.Request) {
	t.Helper()
	frames := FinishHeaders(append(BeginHeaders(nil), block...), 0, 1, true, FrameSizeMin)
	framer := http2.NewFramer(io.Discard, bytes.NewReader(frames))
	framer.ReadMetaHeaders = hpack.NewDecoder(TableSize, nil)
	framer.MaxHeaderListSize = 1 << 20
	f, err := framer.ReadFrame()
	if err != nil {
		if len(block) > 0 && block[0]&^0x1f == sizeUpdate {
			return // see checkBlocks
		}
		t.Fatalf("x/net does not take %s: %v", requestText(r), err)
	}
	m := f.(*http2.MetaHeadersFrame)
	var want, got []string
	for _, p := range []string{"method", "path", "protocol", "authority"} {
		want = append(want, m.PseudoValue(p))
	}
	host, _ := message.ParseHost([]byte(want[3]))
	want[3] = string(host)
	got = append(got, string(r.Method), string(r.Target), string(r.Upgrade), string(r.Host))
	if want[3] == "" { // then it is Host
		want, got = want[:3], got[:3]
	}
	var crumbs []string
	for _, h := range m.RegularFields() {
		switch {
		case h.Name != "cookie":
			want = append(want, h.Name+": "+h.Value)
		case h.Value != "":
			crumbs = append(crumbs, h.Value)
		}
	}
	cookie := ""
	for _, f := range r.Fields {
		if f.Kind == message.Cookie {
			cookie = string(f.Value)
		} else {
			got = append(got, string(f.Name)+": "+string(f.Value))
		}
	}
	if !slices.Equal(got, want) || cookie != strings.Join(crumbs, "; ") {
		t.Fatalf("%q, cookie %q\nx/net has %q, %q", got, cookie, want, crumbs)
	}
}

// TestHeadsFromPieces: heads put together from pieces, sound and rotten, reach further than
// mutated bytes.
func TestHeadsFromPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	pieces := []string{
		"host: a.example", "host: b", "cookie: a=1", "cookie: ", "content-length: 5", "content-length: 0", "te: trailers", "te: gzip", "expect: 100-continue",
		"connection: close", "X: 1", "x: 1", "x:  1", "x: a\x00", "y: ", ":path: /b?c=%zz", ":path: /%zz", ":path: *", ":authority: b:8080", ":authority: ", ":scheme: http",
		":method: OPTIONS", ":method: CONNECT", ":protocol: websocket", ":status: 200", "transfer-encoding: chunked", "-:path", "-:authority", "-:scheme", "trailer: x", "\xff: 1",
	}
	accepted := 0
	for range 20000 {
		lines := with()
		for range r.IntN(4) {
			lines = put(lines, pieces[r.IntN(len(pieces))])
		}
		if r.IntN(10) == 0 {
			r.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		}
		block, end := blockOf(lines...), r.IntN(2) == 0
		if r.IntN(2) == 0 {
			block, _ = indexedBlocks(lines)
		}
		checkRequest(t, block, end)
		var q message.Request
		if _, err := (&Decoder{Connect: true}).Request(nil, block, end, &q); err == nil {
			accepted++
		}
	}
	if accepted < 2000 || accepted > 18000 {
		t.Errorf("%d of 20000 are accepted: the pieces are not well mixed", accepted)
	}
}

// FuzzResponse: any block is a response or trailers, or an error that says whose.
func FuzzResponse(f *testing.F) {
	f.Add(blockOf(":status: 200", "content-length: 5", "x: y"), false, "GET")
	f.Add(blockOf(":status: 103", "link: </a>"), false, "GET")
	f.Add(blockOf(":status: 304", "content-length: 5"), true, "HEAD")
	f.Add(blockOf("grpc-status: 0", "grpc-message: "), true, "POST")
	f.Fuzz(func(t *testing.T, block []byte, end bool, method string) {
		var r, again message.Response
		_, err := new(Decoder).Response(nil, block, end, []byte(method), &r)
		e := (*Error)(nil)
		switch {
		case err != nil && (!errors.As(err, &e) || !e.Connection && (e.Reason == "" || e.Status != 502)):
			t.Fatalf("%#v", err)
		case err == nil:
			if r.Status < 100 || r.Status > 999 || r.Status == 101 || r.Status < 200 && end || end && (r.Body == message.Chunked || r.Body == message.Length && r.Length > 0) {
				t.Fatalf("%+v", r)
			}
			out := (&Encoder{Indexing: true}).Response(nil, &r, method == "HEAD")
			if _, err := new(Decoder).Response(nil, out, end, []byte(method), &again); err != nil || again.Status != r.Status || again.Body != r.Body {
				t.Fatalf("%+v became %+v, %v", r, again, err)
			}
		}
		_, fields, err := new(Decoder).Trailers(nil, block, nil)
		for _, f := range fields {
			if err == nil && (!validName(f.Name) || !message.ValidValue(f.Value) || !message.TrailerAllowed(f.Name)) {
				t.Fatalf("%q: %q", f.Name, f.Value)
			}
		}
	})
}

// encodedText is what of r an Encoder writes.
func encodedText(r *message.Request) string {
	c := *r
	c.Fields = nil
	for _, f := range r.Fields {
		if !written[f.Kind] {
			c.Fields = append(c.Fields, f)
		}
	}
	return strings.TrimSpace(requestText(&c))
}
