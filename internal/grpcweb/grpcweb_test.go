package grpcweb

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/filter"
	"github.com/poise-lb/poise/internal/message"
)

// begin returns a chain with the filter alone, and an exchange of it with a request.
func begin(t *testing.T, method string, fields ...string) (*filter.Chain, *filter.Exchange) {
	t.Helper()
	c, err := filter.Compile([]filter.Filter{New()})
	if err != nil {
		t.Fatal(err)
	}
	x := &filter.Exchange{Request: &message.Request{Method: []byte(method)}}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Request.Fields = append(x.Request.Fields, message.NewField(name, value))
	}
	c.Begin(x)
	if _, reply := c.Request(x, 0, filter.Compress+1); reply != nil {
		t.Fatalf("the filter answers %+v", reply)
	}
	return c, x
}

func get(fields []message.Field, name string) string {
	v, _ := message.Get(fields, name)
	return string(v)
}

func TestContentTypes(t *testing.T) {
	for _, test := range []struct {
		contentType, accept string // of the request
		to                  string // of the request that goes on; empty: it is left alone
		answer, back        string // of the response
		up, down            bool   // content is translated
	}{
		{"application/grpc-web", "", "application/grpc", "application/grpc", "application/grpc-web", false, true},
		{"application/grpc-web+proto", "*/*", "application/grpc+proto", "application/grpc+proto", "application/grpc-web+proto", false, true},
		{"Application/gRPC-Web+JSON", "", "application/grpc+JSON", "application/grpc+json", "application/grpc-web+json", false, true},
		{"application/grpc-web;charset=utf-8", "", "application/grpc;charset=utf-8", "application/grpc", "application/grpc-web", false, true},
		{"application/grpc-web-text", "", "application/grpc", "application/grpc", "application/grpc-web-text", true, true},
		{"application/grpc-web-text+proto", "application/grpc-web-text", "application/grpc+proto", "application/grpc+proto", "application/grpc-web-text+proto", true, true},
		{"application/grpc-web-text-base64", "", "application/grpc", "application/grpc", "application/grpc-web-text", true, true},
		{"application/grpc-web-text", "text/plain, application/grpc-web+proto", "application/grpc", "application/grpc", "application/grpc-web", true, true},
		{"application/grpc-web", "application/grpc-web-text", "application/grpc", "application/grpc", "application/grpc-web-text", false, true},
		{"application/grpc-web", "", "application/grpc", "text/html", "text/html", false, false},
		{"application/grpc-web", "", "application/grpc", "", "", false, false},
		{"application/grpc-web", "", "application/grpc", "application/grpcx", "application/grpcx", false, false},
		{"application/grpc", "application/grpc-web-text", "", "application/grpc", "application/grpc", false, false},
		{"application/grpc-webb", "", "", "application/grpc", "application/grpc", false, false},
		{"application/grpc-web-texts", "", "", "application/grpc", "application/grpc", false, false},
		{"application/json", "", "", "application/grpc", "application/grpc", false, false},
	} {
		c, x := begin(t, "POST", "Content-Type: "+test.contentType, "Accept: "+test.accept, "X-Grpc-Web: 1", "Accept-Encoding: gzip", "X-Other: y")
		to := test.to
		if to == "" {
			to = test.contentType
		}
		q := x.Request
		if got := get(q.Fields, "content-type"); got != to || q.TrailersOK != (test.to != "") || get(q.Fields, "x-other") != "y" {
			t.Errorf("%s: the endpoint gets %q, trailers %v", test.contentType, got, q.TrailersOK)
		}
		for _, name := range []string{"x-grpc-web", "accept-encoding"} {
			if _, there := message.Get(q.Fields, name); there != (test.to == "") {
				t.Errorf("%s: %s there: %v", test.contentType, name, there)
			}
		}
		up, _ := c.RequestContent(x)
		r := &message.Response{Status: 200, Fields: []message.Field{message.NewField("content-type", test.answer), message.NewField("trailer", "grpc-status")}}
		c.Response(x, r, 1)
		down, reframes := c.ResponseContent(x, r)
		if got := get(r.Fields, "content-type"); got != test.back || (len(up) > 0) != test.up || (len(down) > 0) != test.down || reframes != test.down {
			t.Errorf("%s, then %s: the client gets %q; translated up %v, down %v", test.contentType, test.answer, got, up, down)
		}
		if _, there := message.Get(r.Fields, "trailer"); there == test.down {
			t.Errorf("%s, then %s: Trailer there: %v", test.contentType, test.answer, there)
		}
	}
}

func TestOtherMethodsAreLeftAlone(t *testing.T) {
	c, x := begin(t, "PUT", "Content-Type: application/grpc-web-text")
	if up, _ := c.RequestContent(x); up != nil || get(x.Request.Fields, "content-type") != "application/grpc-web-text" {
		t.Error("a PUT is translated")
	}
}

// cut passes content through transforms in pieces as next says, 0 being a flush.
func cut(t *testing.T, tr filter.Transform, content []byte, next func() int, trailers []message.Field) (out []byte, err error) {
	t.Helper()
	ts := filter.Transforms{tr}
	for len(content) > 0 {
		n := min(next(), len(content))
		var p []byte
		if n == 0 {
			p, err = ts.Flush()
		} else {
			given := bytes.Clone(content[:n])
			if p, err = ts.Piece(given); !bytes.Equal(given, content[:n]) {
				t.Fatal("a piece was written to")
			}
			content = content[n:]
		}
		if err != nil {
			return out, err
		}
		out = append(out, p...)
	}
	rest, left, err := ts.End(trailers)
	if len(left) != len(trailers) && len(left) > 0 {
		t.Fatalf("trailers %v remain", left)
	}
	return append(out, rest...), err
}

// padded decodes base64 whose groups may be padded anywhere, group by group.
func padded(text []byte) (out []byte, ok bool) {
	for ; len(text) > 0; text = text[4:] {
		if len(text) < 4 || bytes.ContainsAny(text[:4], "\r\n") {
			return out, false
		}
		group, err := base64.StdEncoding.Strict().DecodeString(string(text[:4]))
		if err != nil {
			return out, false
		}
		out = append(out, group...)
	}
	return out, true
}

// pad encodes content in parts of random lengths, each of which is padded.
func pad(r *rand.Rand, content []byte) []byte {
	var out []byte
	for len(content) > 0 {
		n := 1 + r.IntN(min(len(content), 50))
		out = base64.StdEncoding.AppendEncode(out, content[:n])
		content = content[n:]
	}
	return out
}

// messages are some messages of random lengths, each with its prefix.
func messages(r *rand.Rand) (out []byte) {
	for range r.IntN(6) {
		p := content(r, max(0, r.IntN(300)-20))
		out = append(binary.BigEndian.AppendUint32(append(out, 0), uint32(len(p))), p...)
	}
	return out
}

func content(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestTextUp(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		want := content(r, r.IntN(600))
		got, err := cut(t, new(decoder), pad(r, want), func() int { return r.IntN(20) }, nil)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("seed %d: %x, %v, want %x", seed, got, err, want)
		}
	}
}

func TestTextIsCutAtEveryByte(t *testing.T) {
	text := []byte("AAAAAA==AGFiY2RlZg==YQ==YWI=")
	want, ok := padded(text)
	if !ok {
		t.Fatal("the text is none")
	}
	for at := range len(text) {
		first := true
		got, err := cut(t, new(decoder), text, func() int {
			if first && at > 0 {
				first = false
				return at
			}
			return len(text)
		}, nil)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("cut at %d: %x, %v, want %x", at, got, err, want)
		}
	}
}

func TestNoTextIsRefused(t *testing.T) {
	for _, bad := range []string{"A", "AAA", "AAAAA", "AA=A", "A===", "====", "AAAA AAA", "AAAA\r\nAA", "AAAA\r\n\r\nAAAA", "AAA-", "_AAA", "AB==", "AAB=", "AAAA=AAA"} {
		for size := 1; size <= len(bad); size++ {
			if got, err := cut(t, new(decoder), []byte(bad), func() int { return size }, nil); err == nil {
				t.Errorf("%q in pieces of %d is %x", bad, size, got)
			}
		}
	}
}

// frame is the last frame as the protocol has it.
func frame(lines string) string {
	return "\x80" + string([]byte{0, 0, byte(len(lines) >> 8), byte(len(lines))}) + lines
}

func TestDown(t *testing.T) {
	trailers := []message.Field{message.NewField("Grpc-Status", "5"), message.NewField("X-Gone", "1"), message.NewField("grpc-message", "no%20such"), message.NewField("X-Empty", "")}
	trailers[1].Drop = true
	end := frame("grpc-status: 5\r\ngrpc-message: no%20such\r\nx-empty: \r\n")
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		data, want, tail := messages(r), "", trailers
		if r.IntN(4) == 0 {
			tail = nil
		} else {
			want = end
		}
		want = string(data) + want
		next := func() int { return r.IntN(20) }
		if got, err := cut(t, new(framer), data, next, tail); err != nil || string(got) != want {
			t.Fatalf("seed %d: %q, %v, want %q", seed, got, err, want)
		}
		text, err := cut(t, new(encoder), data, next, tail)
		if got, ok := padded(text); err != nil || !ok || string(got) != want {
			t.Fatalf("seed %d: %q stands for %q, %v, want %q", seed, text, got, err, want)
		}
	}
}

// The last frame must not be taken for the rest of a message.
func TestAResponseThatEndsWithinAMessageFails(t *testing.T) {
	data := []byte("\x00\x00\x00\x00\x00\x01\x00\x00\x01\x02" + strings.Repeat("x", 258) + "\x00\x00\x00\x00\x01x")
	whole := []int{0, 5, 5 + 5 + 258, len(data)}
	for end := range len(data) + 1 {
		for _, tr := range []filter.Transform{new(framer), new(encoder)} {
			_, err := cut(t, tr, data[:end], func() int { return 1 + end%7 }, nil)
			if (err == nil) != slices.Contains(whole, end) {
				t.Errorf("%T: content of %d bytes: %v", tr, end, err)
			}
		}
	}
}

func TestAFlushLeavesNothingBehind(t *testing.T) {
	e := new(encoder)
	var sent []byte
	for i, part := range []string{"a", "bc", "", "defg", "hi"} {
		if part != "" {
			p, _ := e.Piece([]byte(part))
			sent = append(sent, p...)
		}
		p, _ := e.Flush()
		sent = append(sent, p...)
		if got, ok := padded(sent); !ok || string(got) != []string{"a", "abc", "abc", "abcdefg", "abcdefghi"}[i] {
			t.Errorf("after %q the client has %q", part, got)
		}
	}
}

func TestPiecesAllocateNothing(t *testing.T) {
	p, text := make([]byte, 16<<10), bytes.Repeat([]byte("AAAAAA=="), 2<<10)
	d, e := new(decoder), new(encoder)
	n := testing.AllocsPerRun(100, func() {
		if _, err := d.Piece(text); err != nil {
			t.Fatal(err)
		}
		e.Piece(p)
		e.Piece(p[:100])
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte("AAAAAA==YWI="), uint64(1))
	f.Add([]byte("AAAA\r\nAAA="), uint64(2))
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 3))
		got, err := cut(t, new(decoder), text, func() int { return r.IntN(9) }, nil)
		want, ok := padded(text)
		if ok != (err == nil) || ok && !bytes.Equal(got, want) {
			t.Errorf("%q is %x, %v; one group after the other it is %x, %v", text, got, err, want, ok)
		}
	})
}

func FuzzEncoder(f *testing.F) {
	f.Add([]byte("abc"), uint64(1))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 4))
		e := new(encoder)
		text, err := cut(t, e, data, func() int { return r.IntN(9) }, nil)
		if err != nil && e.frames.n > 0 { // no whole message, so what is held does not leave
			data, err = data[:len(data)-e.n], nil
		}
		if got, ok := padded(text); err != nil || !ok || !bytes.Equal(got, data) {
			t.Errorf("%x becomes %q, %v", data, text, err)
		}
	})
}

func BenchmarkText(b *testing.B) {
	p := make([]byte, 16<<10)
	e := new(encoder)
	text := base64.StdEncoding.AppendEncode(nil, p)
	d := new(decoder)
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(len(p)))
		b.ReportAllocs()
		for b.Loop() {
			e.Piece(p)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Piece(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
