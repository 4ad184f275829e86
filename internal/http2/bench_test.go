package http2

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/message"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// benchHeads are what a load generator, grpc-go and a browser send, and a response.
var benchHeads = []struct {
	name  string
	lines []string
}{
	{"load", []string{":method: GET", ":scheme: https", ":authority: 127.0.0.1:8101", ":path: /", "user-agent: h2load nghttp2/1.52.0"}},
	{"grpc", []string{":method: POST", ":scheme: http", ":path: /helloworld.Greeter/SayHello", ":authority: greeter.example.com:443",
		"content-type: application/grpc", "user-agent: grpc-go/1.77.0", "te: trailers", "grpc-timeout: 998765u",
		"authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIn0.abc"}},
	{"browser", []string{":method: GET", ":authority: www.example.com", ":scheme: https", ":path: /api/v1/users/1234567?fields=name,email",
		`sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"`, "sec-ch-ua-mobile: ?0", `sec-ch-ua-platform: "Linux"`, "upgrade-insecure-requests: 1",
		"user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
		"accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
		"sec-fetch-site: none", "sec-fetch-mode: navigate", "sec-fetch-dest: document", "accept-encoding: gzip, deflate, br, zstd",
		"accept-language: en-US,en;q=0.9", "cookie: session=8e6dd1bba29b5a0dd0d12a06ef7b3cf5", "cookie: _ga=GA1.2.1234567890.1700000000"}},
	{"response", []string{":status: 200", "server: b", "date: Mon, 23 Nov 2026 01:00:00 GMT", "content-type: text/plain", "content-length: 128",
		"x-backend: one", "cache-control: private, max-age=60", "vary: accept-encoding"}},
}

func headerFields(lines []string) (fields []hpack.HeaderField) {
	for _, line := range lines {
		name, value, _ := strings.Cut(line[1:], ": ")
		fields = append(fields, hpack.HeaderField{Name: line[:1] + name, Value: value})
	}
	return fields
}

// indexedBlocks are the head for the first time on a connection and again.
func indexedBlocks(lines []string) (first, again []byte) {
	var buf bytes.Buffer
	enc := hpack.NewEncoder(&buf)
	for _, out := range []*[]byte{&first, &again} {
		buf.Reset()
		for _, f := range headerFields(lines) {
			_ = enc.WriteField(f) // to a buffer
		}
		*out = bytes.Clone(buf.Bytes())
	}
	return first, again
}

// huffmanBlock is the head of a client that puts nothing into the table.
func huffmanBlock(lines []string) (p []byte) {
	for _, f := range headerFields(lines) {
		p = append(p, 0)
		for _, s := range []string{f.Name, f.Value} {
			p = appendInt(p, huffmanCoded, 7, uint32(hpack.HuffmanEncodeLength(s)))
			p = hpack.AppendHuffmanString(p, s)
		}
	}
	return p
}

// decodeWith returns a function that decodes p, a request or a response, after first.
func decodeWith(first, p []byte) func() error {
	var d Decoder
	var q message.Request
	var r message.Response
	room := make([]byte, 0, 4096)
	method := []byte("GET")
	decode := func(p []byte) (err error) {
		room, err = d.Request(room[:0], p, true, &q)
		return err
	}
	if _, err := new(Decoder).Request(nil, first, true, &q); err != nil {
		decode = func(p []byte) (err error) {
			room, err = d.Response(room[:0], p, false, method, &r)
			return err
		}
	}
	if err := decode(first); err != nil {
		panic(err)
	}
	return func() error { return decode(p) }
}

// TestNothingAllocates: once there is room, neither side makes garbage.
func TestNothingAllocates(t *testing.T) {
	for _, h := range benchHeads {
		first, again := indexedBlocks(h.lines)
		for name, p := range map[string][]byte{"indexed": again, "literal": huffmanBlock(h.lines)} {
			decode := decodeWith(first, p)
			if n := testing.AllocsPerRun(100, func() {
				if err := decode(); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%s, %s: %v allocations", h.name, name, n)
			}
		}
	}
	r := benchResponse()
	q := message.Request{Method: []byte("GET"), Path: []byte("/a"), Query: []byte("b"), Host: []byte("a"), Fields: r.Fields, Body: message.Length, TrailersOK: true}
	e, plain := Encoder{Indexing: true}, Encoder{}
	out := make([]byte, 0, 4096)
	date := r.Fields[1].Value
	i := byte(0)
	if n := testing.AllocsPerRun(1000, func() {
		i++
		date[len(date)-1] = '0' + i/2%10 // so that the table turns over
		out = FinishHeaders(e.Response(BeginHeaders(out[:0]), &r, false), 0, 1, false, FrameSizeMin)
		out = plain.Request(out, &q, "https")
		out = e.Trailers(out, r.Fields)
		out = AppendData(out, 1, date, true)
		if _, _, err := Next(out, FrameSizeMin); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations in writing", n)
	}
}

func benchResponse() message.Response {
	r := message.Response{Status: 200, Body: message.Length, Length: 128}
	for _, line := range benchHeads[3].lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		r.Fields = append(r.Fields, message.NewField(name, value))
	}
	return r
}

func BenchmarkDecode(b *testing.B) {
	for _, h := range benchHeads {
		first, again := indexedBlocks(h.lines)
		for _, c := range []struct {
			name string
			p    []byte
		}{{"indexed", again}, {"literal", huffmanBlock(h.lines)}} {
			b.Run(h.name+"/"+c.name+"/message", func(b *testing.B) {
				decode := decodeWith(first, c.p)
				b.ReportAllocs()
				for b.Loop() {
					if err := decode(); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(h.name+"/"+c.name+"/fields", func(b *testing.B) {
				var d Decoder
				room, _ := d.block(nil, first)
				b.ReportAllocs()
				for b.Loop() {
					room, _ = d.block(room[:0], c.p)
				}
			})
			b.Run(h.name+"/"+c.name+"/xnet", func(b *testing.B) {
				d := hpack.NewDecoder(TableSize, func(hpack.HeaderField) {})
				write := func(p []byte) {
					if _, err := d.Write(p); err != nil {
						b.Fatal(err)
					}
					_ = d.Close() // p is whole
				}
				write(first)
				b.ReportAllocs()
				for b.Loop() {
					write(c.p)
				}
			})
		}
	}
}

func BenchmarkEncodeResponse(b *testing.B) {
	r := benchResponse()
	for _, indexing := range []bool{false, true} {
		b.Run(map[bool]string{false: "static", true: "table"}[indexing], func(b *testing.B) {
			e := Encoder{Indexing: indexing}
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				out = e.Response(out[:0], &r, false)
			}
			b.ReportMetric(float64(len(out)), "bytes")
		})
	}
	b.Run("xnet", func(b *testing.B) { // strings made of slices, as a neutral head needs them
		var buf bytes.Buffer
		enc := hpack.NewEncoder(&buf)
		b.ReportAllocs()
		for b.Loop() {
			buf.Reset()
			_ = enc.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			for i := range r.Fields {
				f := &r.Fields[i]
				_ = enc.WriteField(hpack.HeaderField{Name: string(bytes.ToLower(f.Name)), Value: string(f.Value)})
			}
		}
		b.ReportMetric(float64(buf.Len()), "bytes")
	})
}

func BenchmarkFrames(b *testing.B) {
	block := make([]byte, 20)
	content := make([]byte, 128)
	one := append(AppendHeader(nil, len(block), FrameHeaders, FlagEndHeaders, 1), block...)
	one = AppendData(one, 1, content, true)
	b.Run("read/own", func(b *testing.B) {
		for b.Loop() {
			for in := one; len(in) > 0; {
				_, n, err := Next(in, FrameSizeMin)
				if err != nil || n == 0 {
					b.Fatal(n, err)
				}
				in = in[n:]
			}
		}
	})
	b.Run("read/xnet", func(b *testing.B) {
		in := bytes.NewReader(nil)
		f := http2.NewFramer(io.Discard, in)
		f.SetReuseFrames()
		for b.Loop() {
			in.Reset(one)
			for range 2 {
				if _, err := f.ReadFrame(); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("write/own", func(b *testing.B) {
		var out []byte
		for b.Loop() {
			out = append(BeginHeaders(out[:0]), block...)
			out = FinishHeaders(out, 0, 1, false, FrameSizeMin)
			out = AppendData(out, 1, content, true)
		}
	})
	b.Run("write/xnet", func(b *testing.B) {
		var out bytes.Buffer
		f := http2.NewFramer(&out, nil)
		for b.Loop() {
			out.Reset()
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true})
			_ = f.WriteData(1, true, content)
		}
	})
}
