package http1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// A decoded is everything a Decoder said about a stream.
type decoded struct {
	data     string
	used     int
	done     bool
	reason   string
	trailers string
}

// decode feeds stream to d in pieces of the sizes that next gives, as a relay would:
// what Next leaves stays at the front of the buffer.
func decode(t *testing.T, d *Decoder, stream []byte, next func() int) (got decoded) {
	t.Helper()
	var data []byte
	have := 0 // bytes of stream that have arrived
	for {
		src := bytes.Clone(stream[got.used:have]) // a clone: data may not be kept
		for !d.Done() {
			part, n, err := d.Next(src)
			if n < len(part) || n > len(src) {
				t.Fatalf("used %d of %d for %d of data", n, len(src), len(part))
			}
			data = append(data, part...)
			src, got.used = src[n:], got.used+n
			if err != nil {
				got.reason = err.(*Error).Reason
				if _, n, again := d.Next(src); n != 0 || again != err {
					t.Fatalf("the error does not stay: %d, %v", n, again)
				}
				got.data = string(data)
				return got
			}
			if n == 0 {
				break
			}
		}
		if d.Done() || have == len(stream) {
			break
		}
		have = min(have+next(), len(stream))
	}
	got.data, got.done = string(data), d.Done()
	for _, f := range d.Trailers() {
		got.trailers += fmt.Sprintf("%s=%s;", f.Name, f.Value)
	}
	if (d.EOF() == nil) != (got.done || d.kind == message.UntilClose) || d.EOF() != nil && d.EOF() != io.ErrUnexpectedEOF {
		t.Fatalf("EOF: %v, done %v", d.EOF(), got.done)
	}
	if data, n, err := d.Next(nil); len(data) != 0 || n != 0 || err != nil {
		t.Fatalf("out of nothing: %q %d %v", data, n, err)
	}
	return got
}

func whole() int { return 1 << 30 }

func TestChunked(t *testing.T) {
	for _, c := range []struct {
		section, stream string
		want            decoded // used 0: all
	}{
		{"RFC 9112 §7.1", "5\r\nhello\r\n0\r\n\r\n", decoded{data: "hello", done: true}},
		{"RFC 9112 §7.1: hex, zeros", "00A\r\n0123456789\r\n1\r\nx\r\n0000\r\n\r\n", decoded{data: "0123456789x", done: true}},
		{"RFC 9112 §7.1: the next message stays", "0\r\n\r\nGET /", decoded{used: 5, done: true}},
		{"RFC 9112 §7.1.1", "1;a\r\nx\r\n1 ; a=\"b;c\"\r\ny\r\n0\t;end\r\n\r\n", decoded{data: "xy", done: true}},
		{"RFC 9112 §7.1.2", "0\r\nX-Sum: 1 \r\nx-b:2\r\n\r\n", decoded{done: true, trailers: "X-Sum=1;x-b=2;"}},
		{"RFC 9110 §6.5.1", "0\r\nContent-Length: 9\r\nX: 1\r\nTransfer-Encoding: chunked\r\nHost: b\r\nX-Forwarded-For: c\r\nCookie: d\r\n\r\n", decoded{done: true, trailers: "X=1;"}},
		{"not done", "5\r\nhel", decoded{data: "hel"}},
		{"not done", "5\r\nhello\r\n", decoded{data: "hello"}},
		{"not done", "0\r\nX: 1\r\n", decoded{}},
		{"not done", "0\r\n", decoded{}},
		{"RFC 9112 §7.1: sizes", "\r\n", decoded{reason: "bad-chunk-size", used: 1}},
		{"RFC 9112 §7.1: sizes", ";a\r\n", decoded{reason: "bad-chunk-size", used: 1}},
		{"RFC 9112 §7.1: sizes", "0x5\r\n", decoded{reason: "bad-chunk-size", used: 2}},
		{"RFC 9112 §7.1: sizes", "-5\r\n", decoded{reason: "bad-chunk-size", used: 1}},
		{"RFC 9112 §7.1: sizes", "+5\r\n", decoded{reason: "bad-chunk-size", used: 1}},
		{"RFC 9112 §7.1: sizes", " 5\r\n", decoded{reason: "bad-chunk-size", used: 1}},
		{"RFC 9112 §7.1: sizes", "5_0\r\n", decoded{reason: "bad-chunk-size", used: 2}},
		{"RFC 9112 §7.1: overflow", "8000000000000000\r\n", decoded{reason: "bad-chunk-size", used: 16}},
		{"RFC 9112 §7.1: overflow", "10000000000000005\r\n", decoded{reason: "bad-chunk-size", used: 17}},
		{"RFC 9112 §7.1: sizes", "00000000000000001\r\n", decoded{reason: "bad-chunk-size", used: 17}},
		{"RFC 9112 §7.1.1: padding", "5 \r\nhello\r\n", decoded{reason: "bad-chunk-extension", used: 3}},
		{"RFC 9112 §7.1.1", "5 a\r\nhello\r\n", decoded{reason: "bad-chunk-extension", used: 3}},
		{"RFC 9112 §7.1.1", "5;\x00\r\nhello\r\n", decoded{reason: "bad-chunk-extension", used: 3}},
		{"RFC 9112 §2.2: bare LF", "5\nhello\r\n", decoded{reason: "bad-line-end", used: 2}},
		{"RFC 9112 §2.2: bare LF", "5;a\nhello\r\n", decoded{reason: "bad-line-end", used: 4}},
		{"RFC 9112 §2.2: bare CR", "5\rhello\r\n", decoded{reason: "bad-line-end", used: 3}},
		{"RFC 9112 §2.2: bare CR", "5;a\rb\r\nhello\r\n", decoded{reason: "bad-line-end", used: 5}},
		{"RFC 9112 §7.1: too long", "1\r\nxy\r\n", decoded{data: "x", reason: "bad-chunk-end", used: 5}},
		{"RFC 9112 §7.1: bare LF", "1\r\nx\n0\r\n\r\n", decoded{data: "x", reason: "bad-chunk-end", used: 5}},
		{"RFC 9112 §7.1: bare CR", "1\r\nx\r0\r\n\r\n", decoded{data: "x", reason: "bad-chunk-end", used: 6}},
		{"RFC 9112 §7.1.2: bare LF", "0\r\n\n", decoded{reason: "bad-line-end", used: 4}},
		{"RFC 9112 §7.1.2: bare LF", "0\r\nX: 1\n\r\n", decoded{reason: "bad-line-end", used: 8}},
		{"RFC 9112 §7.1.2", "0\r\nX : 1\r\n\r\n", decoded{reason: "bad-field-name", used: 12}},
		{"RFC 9112 §7.1.2", "0\r\n X: 1\r\n\r\n", decoded{reason: "obs-fold", used: 12}},
		{"RFC 9112 §7.1.2", "0\r\nX: \x01\r\n\r\n", decoded{reason: "bad-field-value", used: 11}},
	} {
		if c.want.used == 0 {
			c.want.used = len(c.stream)
		}
		var d Decoder
		d.Reset(message.Chunked, 0)
		got := decode(t, &d, []byte(c.stream), whole)
		if got != c.want {
			t.Errorf("%s: %q:\n got %+v\nwant %+v", c.section, c.stream, got, c.want)
		}
		// Every pair of split points gives the same.
		for a := range len(c.stream) {
			for b := range len(c.stream) - a {
				cuts := []int{a, b, 1 << 30}
				d.Reset(message.Chunked, 0)
				again := decode(t, &d, []byte(c.stream), func() int { n := cuts[0]; cuts = cuts[1:]; return n })
				if again != got {
					t.Fatalf("%q cut after %d and %d: %+v", c.stream, a, b, again)
				}
			}
		}
	}
}

// One call gives data and the framing behind it, so that the end is seen with the last data.
func TestEndIsSeenWithTheData(t *testing.T) {
	var d Decoder
	d.Reset(message.Chunked, 0)
	stream := []byte("5\r\nhello\r\n0\r\nX: 1\r\n\r\n")
	data, n, err := d.Next(stream)
	if string(data) != "hello" || n != len(stream) || err != nil || !d.Done() || len(d.Trailers()) != 1 {
		t.Errorf("%q %d %v %v", data, n, err, d.Done())
	}
	stream[bytes.IndexByte(stream, 'X')] = 'Y'
	if string(d.Trailers()[0].Name) != "X" {
		t.Error("trailers lie in the caller's buffer")
	}
}

func TestChunkBounds(t *testing.T) {
	ext := func(n int) string { return "1;" + strings.Repeat("e", n) + "\r\nx\r\n" }
	const end = "0\r\n\r\n"
	for _, c := range []struct{ why, stream, reason string }{
		{"longest line", ext(limits.ChunkLineMax-2) + end, ""},
		{"one more", ext(limits.ChunkLineMax-1) + end, "chunk-line-too-long"},
		{"whitespace counts, too", "1" + strings.Repeat(" ", limits.ChunkLineMax) + ";\r\nx\r\n" + end, "chunk-line-too-long"},
		{"free extensions", strings.Repeat(ext(1000), 16) + end, ""},
		{"too many for so little data", strings.Repeat(ext(1000), 17) + end, "chunk-extensions-too-large"},
		{"few per byte for ever", strings.Repeat("40;"+strings.Repeat("e", 120)+"\r\n"+strings.Repeat("x", 64)+"\r\n", 2000) + end, ""},
		{"small chunks without extensions are fine", strings.Repeat("1\r\nx\r\n", 100000) + end, ""},
		{"largest trailers", "0\r\nX: " + strings.Repeat("a", limits.HeadBytesMax-7) + "\r\n\r\n", ""},
		{"one more", "0\r\nX: " + strings.Repeat("a", limits.HeadBytesMax-6) + "\r\n\r\n", "trailers-too-large"},
		{"trailers without end", "0\r\nX: " + strings.Repeat("a", 10*limits.HeadBytesMax), "trailers-too-large"},
		{"most trailers", "0\r\n" + strings.Repeat("X: a\r\n", limits.FieldsMax) + "\r\n", ""},
		{"one more", "0\r\n" + strings.Repeat("X: a\r\n", limits.FieldsMax+1) + "\r\n", "too-many-fields"},
	} {
		for name, step := range map[string]func() int{"whole": whole, "4093": func() int { return 4093 }} {
			var d Decoder
			d.Reset(message.Chunked, 0)
			got := decode(t, &d, []byte(c.stream), step)
			if got.reason != c.reason || c.reason == "" && (!got.done || got.used != len(c.stream)) {
				t.Errorf("%s, %s: %q, done %v", c.why, name, got.reason, got.done)
			}
		}
	}
}

func TestLengthAndUntilClose(t *testing.T) {
	var d Decoder
	if !d.Done() || d.EOF() != nil || d.Remaining() != 0 {
		t.Error("the zero Decoder expects content")
	}
	d.Reset(message.Length, 5)
	if d.Done() || d.Remaining() != 5 || d.EOF() != io.ErrUnexpectedEOF {
		t.Errorf("%+v", d)
	}
	if data, n, err := d.Next([]byte("he")); string(data) != "he" || n != 2 || err != nil || d.Remaining() != 3 {
		t.Errorf("%q %d %v", data, n, err)
	}
	if data, n, err := d.Next([]byte("lloGET /")); string(data) != "llo" || n != 3 || err != nil || !d.Done() || d.EOF() != nil {
		t.Errorf("%q %d %v", data, n, err)
	}
	if data, n, err := d.Next([]byte("GET /")); len(data) != 0 || n != 0 || err != nil {
		t.Errorf("after the end: %q %d %v", data, n, err)
	}
	d.Reset(message.Length, 0)
	if !d.Done() {
		t.Error("nothing of nothing is missing")
	}
	d.Reset(message.UntilClose, 0)
	if data, n, err := d.Next([]byte("abc")); string(data) != "abc" || n != 3 || err != nil || d.Done() || d.EOF() != nil || d.Remaining() != -1 {
		t.Errorf("%q %d %v", data, n, err)
	}
	d.Reset(message.NoBody, 0)
	if data, n, err := d.Next([]byte("abc")); len(data) != 0 || n != 0 || err != nil || !d.Done() {
		t.Errorf("%q %d %v", data, n, err)
	}
	d.Reset(message.Chunked, 0)
	if d.Remaining() != -1 {
		t.Error("chunked content has no length")
	}
}

// TestSkip: what is skipped is missing from the rest, wherever it is, and nothing behind
// the content can be.
func TestSkip(t *testing.T) {
	chance := rand.New(rand.NewPCG(9, 1))
	for range 300 {
		content := make([]byte, 1+chance.IntN(1000))
		for i := range content {
			content[i] = byte(chance.Uint32())
		}
		stream := append(bytes.Clone(content), "GET / HTTP/1.1"...)
		var d Decoder
		d.Reset(message.Length, int64(len(content)))
		at := 0
		for !d.Done() {
			if d.Remaining() != int64(len(content)-at) || d.EOF() == nil {
				t.Fatalf("%d remain of %d after %d, %v", d.Remaining(), len(content), at, d.EOF())
			}
			if chance.IntN(2) == 0 {
				n := chance.Int64N(d.Remaining() + 1)
				d.Skip(n)
				at += int(n)
				continue
			}
			end := min(len(stream), at+chance.IntN(400))
			data, n, err := d.Next(stream[at:end])
			if err != nil || n != len(data) || !bytes.Equal(data, content[at:min(end, len(content))]) {
				t.Fatalf("%d used, %v", n, err)
			}
			at += n
		}
		if at != len(content) || d.EOF() != nil {
			t.Fatalf("done at %d of %d", at, len(content))
		}
	}
	for _, c := range []struct {
		kind message.Body
		n    int64
	}{{message.Length, 11}, {message.Length, -1}, {message.Chunked, 0}, {message.UntilClose, 1}, {message.NoBody, 0}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d bytes of kind %d were skipped", c.n, c.kind)
				}
			}()
			var d Decoder
			d.Reset(c.kind, 10)
			d.Skip(c.n)
		}()
	}
}

// A Decoder is used for one message after another: nothing of the last one shows.
func TestResetForgets(t *testing.T) {
	var d Decoder
	for _, before := range []string{"0\r\nX: 1\r\n\r\n", "zz", "5\r\nab", "0\r\nX: " + strings.Repeat("a", 50000), "1;" + strings.Repeat("e", 4000) + "\r\n"} {
		d.Reset(message.Chunked, 0)
		decode(t, &d, []byte(before), whole)
		d.Reset(message.Chunked, 0)
		want := decoded{data: "x", used: 16, done: true, trailers: "Y=2;"}
		if got := decode(t, &d, []byte("1\r\nx\r\n0\r\nY:2\r\n\r\n"), whole); got != want {
			t.Errorf("after %.20q: %+v", before, got)
		}
	}
	if cap(d.held) > heldMax {
		t.Errorf("%d bytes are kept for trailers", cap(d.held))
	}
}

func TestChunksRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		var stream, want []byte
		for range r.IntN(6) {
			data := bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(300))
			want = append(want, data...)
			stream = AppendChunk(stream, data)
		}
		trailers := []message.Field{message.NewField("X-A", "1"), message.NewField("X-B", ""), message.NewField("X-C", "no")}
		trailers[2].Drop = true
		stream = AppendLastChunk(stream, trailers)
		var d Decoder
		d.Reset(message.Chunked, 0)
		got := decode(t, &d, stream, func() int { return r.IntN(40) })
		if got.data != string(want) || !got.done || got.used != len(stream) || got.trailers != "X-A=1;X-B=;" {
			t.Fatalf("%q: %+v", stream, got)
		}
	}
	if got := AppendChunk([]byte("a"), nil); string(got) != "a" {
		t.Errorf("an empty chunk is the last: %q", got)
	}
	if got := string(AppendChunk(nil, make([]byte, 255))[:4]); got != "ff\r\n" {
		t.Errorf("%q", got)
	}
}

func TestErrorsNameTheirSection(t *testing.T) {
	var r message.Request
	_, err := ParseRequest([]byte("GET / HTTP/1.1\r\n\r\n"), 0, &r, nil)
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(err.Error(), e.Reason) || !strings.Contains(err.Error(), "RFC 9112 §3.2") {
		t.Errorf("%v", err)
	}
}
