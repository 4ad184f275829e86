package http2

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/limits"
	"github.com/poise-lb/poise/internal/message"
)

// unhex reads the hexadecimal bytes of s, with any spaces.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// list decodes a block and returns its fields as lines, whatever a message would say of them.
func (d *Decoder) list(p []byte) ([]string, error) {
	room, err := d.block(nil, p)
	if err != nil {
		return nil, err
	}
	var lines []string
	for i := range d.spans {
		var f message.Field
		d.spans[i].field(room, &f)
		lines = append(lines, fmt.Sprintf("%s: %s", f.Name, f.Value))
	}
	return lines, nil
}

// tableLines are the entries of t, the newest first.
func tableLines(t *table) (lines []string) {
	for i := range t.n {
		e := t.newest(i)
		name, value := t.bytesOf(e)
		if e.meta.static != 0 {
			name = statics[e.meta.static].name
		}
		lines = append(lines, fmt.Sprintf("%s: %s", name, value))
	}
	return lines
}

// rfcCases are the examples of RFC 7541, Appendix C. Those of one group share a table.
var rfcCases = []struct {
	name  string
	max   uint32 // of the table
	block string
	want  string // fields, separated by " | "
	table string // the newest first
	size  uint32
}{
	{"C.2.1", 4096, "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key: custom-header", "custom-key: custom-header", 55},
	{"C.2.2", 4096, "040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path", "", 0},
	{"C.2.3", 4096, "1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret", "", 0},
	{"C.2.4", 4096, "82", ":method: GET", "", 0},

	{"C.3.1", 4096, "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", ":method: GET | :scheme: http | :path: / | :authority: www.example.com", ":authority: www.example.com", 57},
	{"C.3.2", 0, "8286 84be 5808 6e6f 2d63 6163 6865", ":method: GET | :scheme: http | :path: / | :authority: www.example.com | cache-control: no-cache", "cache-control: no-cache | :authority: www.example.com", 110},
	{"C.3.3", 0, "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", ":method: GET | :scheme: https | :path: /index.html | :authority: www.example.com | custom-key: custom-value", "custom-key: custom-value | cache-control: no-cache | :authority: www.example.com", 164},

	{"C.4.1", 4096, "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", ":method: GET | :scheme: http | :path: / | :authority: www.example.com", ":authority: www.example.com", 57},
	{"C.4.2", 0, "8286 84be 5886 a8eb 1064 9cbf", ":method: GET | :scheme: http | :path: / | :authority: www.example.com | cache-control: no-cache", "cache-control: no-cache | :authority: www.example.com", 110},
	{"C.4.3", 0, "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", ":method: GET | :scheme: https | :path: /index.html | :authority: www.example.com | custom-key: custom-value", "custom-key: custom-value | cache-control: no-cache | :authority: www.example.com", 164},

	{"C.5.1", 256, "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
		":status: 302 | cache-control: private | date: Mon, 21 Oct 2013 20:13:21 GMT | location: https://www.example.com",
		"location: https://www.example.com | date: Mon, 21 Oct 2013 20:13:21 GMT | cache-control: private | :status: 302", 222},
	{"C.5.2", 0, "4803 3330 37c1 c0bf", ":status: 307 | cache-control: private | date: Mon, 21 Oct 2013 20:13:21 GMT | location: https://www.example.com",
		":status: 307 | location: https://www.example.com | date: Mon, 21 Oct 2013 20:13:21 GMT | cache-control: private", 222},
	{"C.5.3", 0, "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
		":status: 200 | cache-control: private | date: Mon, 21 Oct 2013 20:13:22 GMT | location: https://www.example.com | content-encoding: gzip | set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
		"set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1 | content-encoding: gzip | date: Mon, 21 Oct 2013 20:13:22 GMT", 215},

	{"C.6.1", 256, "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
		":status: 302 | cache-control: private | date: Mon, 21 Oct 2013 20:13:21 GMT | location: https://www.example.com",
		"location: https://www.example.com | date: Mon, 21 Oct 2013 20:13:21 GMT | cache-control: private | :status: 302", 222},
	{"C.6.2", 0, "4883 640e ffc1 c0bf", ":status: 307 | cache-control: private | date: Mon, 21 Oct 2013 20:13:21 GMT | location: https://www.example.com",
		":status: 307 | location: https://www.example.com | date: Mon, 21 Oct 2013 20:13:21 GMT | cache-control: private", 222},
	{"C.6.3", 0, "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
		":status: 200 | cache-control: private | date: Mon, 21 Oct 2013 20:13:22 GMT | location: https://www.example.com | content-encoding: gzip | set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
		"set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1 | content-encoding: gzip | date: Mon, 21 Oct 2013 20:13:22 GMT", 215},
}

func TestRFC7541AppendixC(t *testing.T) {
	var d *Decoder
	for _, c := range rfcCases {
		if c.max != 0 {
			d = &Decoder{started: true}
			d.table.max = c.max
		}
		got, err := d.list(unhex(t, c.block))
		if err != nil || strings.Join(got, " | ") != c.want {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		if lines := strings.Join(tableLines(&d.table), " | "); lines != c.table || d.table.size != c.size {
			t.Errorf("%s: the table has %q, size %d", c.name, lines, d.table.size)
		}
	}
}

func TestIntegersRFC7541AppendixC1(t *testing.T) {
	for _, c := range []struct {
		prefix uint
		n      uint32
		want   string
	}{{5, 10, "0a"}, {5, 1337, "1f9a0a"}, {8, 42, "2a"}, {7, 127, "7f00"}, {7, 126, "7e"}, {4, 15, "0f00"}, {6, 63 + 128, "3f8001"}, {7, 1<<28 - 1 + 127, "7fffffff7f"}} {
		if got := hex.EncodeToString(appendInt(nil, 0, c.prefix, c.n)); got != c.want {
			t.Errorf("%d in %d bits: %s, want %s", c.n, c.prefix, got, c.want)
		}
		if n, rest, err := readInt(unhex(t, c.want+"99"), c.prefix); err != nil || n != c.n || len(rest) != 1 {
			t.Errorf("%s in %d bits: %d, %v", c.want, c.prefix, n, err)
		}
	}
}

// TestCompressionErrors: what ends the connection, with the section that says so.
func TestCompressionErrors(t *testing.T) {
	long := strings.Repeat("ff", 4)
	for _, c := range []struct {
		why, block string
		want       *Error
	}{
		{"RFC 7541 §2.3.3: index 0", "80", errIndex},
		{"RFC 7541 §2.3.3: index beyond both tables", "be", errIndex},
		{"RFC 7541 §2.3.3: name's index beyond both tables", "7e 01 61", errIndex},
		{"RFC 7541 §5.1: an integer without an end", "ff 80 80", errTruncated},
		{"RFC 7541 §5.1: an integer that overflows", "ff" + long + "00", errInteger},
		{"RFC 7541 §5.1: leading zeros without end", "ff 80 80 80 80 80 00", errInteger},
		{"RFC 7541 §5.1: a length that overflows", "00 7f" + long + "00", errInteger},
		{"RFC 7541 §5.1: a size that overflows", "3f" + long + "00", errInteger},
		{"RFC 7541 §5.2: a string longer than the block", "00 05 61", errTruncated},
		{"RFC 7541 §5.2: a name without a value", "00 01 61", errTruncated},
		{"RFC 7541 §5.2: a literal without anything", "40", errTruncated},
		{"RFC 7541 §5.2: EOS in a string", "00 01 61 84 ff ff ff ff", errHuffman},
		{"RFC 7541 §5.2: EOS behind a symbol", "00 01 61 85 1f ff ff ff ff", errHuffman},
		{"RFC 7541 §5.2: eight bits of padding", "00 01 61 82 f8 ff", errHuffman},
		{"RFC 7541 §5.2: padding longer than a byte", "00 01 61 82 1f ff", errHuffman},
		{"RFC 7541 §5.2: padding that is not of ones", "00 01 61 81 18", errHuffman},
		{"RFC 7541 §4.2: a size within the block", "82 20", errSizeLate},
		{"RFC 7541 §6.3: a size above the limit", "3f e2 1f", errSizeAbove},
	} {
		var d Decoder
		_, err := d.block(nil, unhex(t, c.block))
		if err != c.want || err == nil || !err.Connection {
			t.Errorf("%s: %v, want %v", c.why, err, c.want)
		}
	}
}

func TestSizeUpdates(t *testing.T) {
	var d Decoder
	add := unhex(t, "40 01 61 01 62") // a: b, 34 bytes
	if _, err := d.list(bytes.Repeat(add, 3)); err != nil || d.table.n != 3 {
		t.Fatal(err, d.table.n)
	}
	if got, err := d.list(unhex(t, "3f 25 be")); err != nil || d.table.n != 2 || len(got) != 1 { // 68
		t.Errorf("68 bytes: %q, %v, %d entries", got, err, d.table.n)
	}
	if _, err := d.list(unhex(t, "20 3f e1 1f")); err != nil || d.table.n != 0 || d.table.max != TableSize {
		t.Errorf("0, then 4096: %v, %d entries, size %d", err, d.table.n, d.table.max)
	}
	if _, err := d.list(unhex(t, "be")); !errors.Is(err, errIndex) {
		t.Errorf("an evicted entry: %v", err)
	}
}

// TestLargeEntryEmptiesTheTable: RFC 7541 §4.4, and it is no error.
func TestLargeEntryEmptiesTheTable(t *testing.T) {
	var d Decoder
	p := unhex(t, "40 01 61 01 62")
	p = append(p, 0x40, 1, 'c')
	p = appendString(p, bytes.Repeat([]byte{'d'}, TableSize))
	if got, err := d.list(p); err != nil || len(got) != 2 || d.table.n != 0 || d.table.size != 0 {
		t.Errorf("%d fields, %v; %d entries of %d bytes", len(got), err, d.table.n, d.table.size)
	}
	// An entry that fits exactly.
	p = append(p[:0], 0x40, 1, 'c')
	p = appendString(p, bytes.Repeat([]byte{'d'}, TableSize-33))
	if _, err := d.list(p); err != nil || d.table.n != 1 || d.table.size != TableSize {
		t.Errorf("%v; %d entries of %d bytes", err, d.table.n, d.table.size)
	}
}

// TestTooLargeKeepsTheTable: what a message does not keep goes into the table nevertheless,
// and far beyond the limit the connection ends.
func TestTooLargeKeepsTheTable(t *testing.T) {
	small := limits.Head{Bytes: 100, Fields: 3, Target: 50}
	d := Decoder{Limits: &small}
	p := unhex(t, "40 01 61 01 31 40 01 62 01 32 40 01 63 01 33")
	var fields []message.Field
	if _, _, err := d.Trailers(nil, p, fields); !errors.Is(err, errTrailerBytes) {
		t.Errorf("102 bytes of 100: %v", err)
	}
	if got, err := d.list(unhex(t, "be c0")); err != nil || strings.Join(got, " ") != "c: 3 a: 1" {
		t.Errorf("after it: %q, %v", got, err)
	}
	if _, err := d.list(bytes.Repeat([]byte{0xbe}, 12)); !errors.Is(err, errHeadEnormous) {
		t.Errorf("408 bytes of 4 × 100: %v", err)
	}
	if _, err := d.list(bytes.Repeat([]byte{0xbe}, 11)); err != nil {
		t.Errorf("374 bytes of 4 × 100: %v", err)
	}
}

// TestBombs: small blocks that are large when they are decoded, and what they take.
func TestBombs(t *testing.T) {
	entry := appendString([]byte{0x40, 1, 'a'}, bytes.Repeat([]byte{'b'}, TableSize-33))
	for _, c := range []struct {
		name  string
		block []byte
		want  *Error
	}{
		{"one byte for 4 KiB", append(entry, bytes.Repeat([]byte{0xbe}, 60<<10)...), errHeadEnormous},
		{"one byte for an empty field", append(unhex(t, "40 01 61 00"), bytes.Repeat([]byte{0xbe}, 60<<10)...), errHeadEnormous},
		{"pseudo-fields", bytes.Repeat([]byte{0x82}, 60<<10), errHeadEnormous},
		{"Huffman code of 5 bits", append(appendInt([]byte{0, 1, 'a'}, huffmanCoded, 7, 60<<10), make([]byte, 60<<10)...), nil},
		{"changes of the size", bytes.Repeat([]byte{0x20, 0x3f, 0xe1, 0x1f}, 15<<10), nil},
	} {
		var d Decoder
		room, err := d.block(nil, c.block)
		if err != c.want || len(room) > limits.HeadBytesMax || cap(room) > 4*limits.HeadBytesMax || len(d.table.bytes) > 2*TableSize || len(d.spans) > 1<<8 {
			t.Errorf("%s: %v; room of %d, table of %d, %d fields", c.name, err, cap(room), len(d.table.bytes), len(d.spans))
		}
	}
}

// TestConnectionsAreSmall: what a connection keeps after a head of a browser and a response,
// between requests.
func TestConnectionsAreSmall(t *testing.T) {
	var d Decoder
	e := Encoder{Indexing: true}
	first, again := indexedBlocks(benchHeads[2].lines)
	for _, p := range [][]byte{first, again} {
		if _, err := d.block(nil, p); err != nil {
			t.Fatal(err)
		}
	}
	r := benchResponse()
	for range 3 {
		e.Response(nil, &r, false)
	}
	size := func(t *table) int { return cap(t.bytes) + len(t.ring)*int(reflect.TypeFor[entry]().Size()) }
	own := int(reflect.TypeFor[Decoder]().Size() + reflect.TypeFor[Encoder]().Size() + reflect.TypeFor[index]().Size())
	spans := cap(d.spans) * int(reflect.TypeFor[span]().Size())
	if sum := own + spans + size(&d.table) + size(&e.index.table); sum > 4<<10 {
		t.Errorf("%d bytes: structs %d, spans %d, tables %d and %d", sum, own, spans, size(&d.table), size(&e.index.table))
	} else {
		t.Logf("%d bytes: structs %d, spans %d, tables %d and %d", sum, own, spans, size(&d.table), size(&e.index.table))
	}
}
