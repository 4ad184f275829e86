package proxyproto

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

func header(source, destination string) Header {
	if source == "" {
		return Header{}
	}
	return Header{netip.MustParseAddrPort(source), netip.MustParseAddrPort(destination)}
}

const v2 = signature

var good = []struct {
	text string
	want Header
}{
	{"PROXY TCP4 203.0.113.9 10.0.0.1 50000 443\r\n", header("203.0.113.9:50000", "10.0.0.1:443")},
	{"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n", header("1.1.1.1:1", "1.1.1.1:1")},
	{"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", header("255.255.255.255:65535", "255.255.255.255:65535")},
	{"PROXY TCP6 :: :: 1 1\r\n", header("[::]:1", "[::]:1")},
	{"PROXY TCP6 2001:db8::1 2001:db8::2 50000 443\r\n", header("[2001:db8::1]:50000", "[2001:db8::2]:443")},
	{"PROXY TCP6 ::ffff:203.0.113.9 ::ffff:10.0.0.1 5 443\r\n", header("203.0.113.9:5", "10.0.0.1:443")},
	{"PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 1 1\r\n", Header{}}, // filled in below
	{"PROXY UNKNOWN\r\n", Header{}},
	{"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Header{}},
	{v2 + "\x20\x00\x00\x00", Header{}},
	{v2 + "\x20\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02", Header{}}, // LOCAL: to be ignored
	{v2 + "\x21\x00\x00\x00", Header{}},
	{v2 + "\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\xc3\x50\x01\xbb", header("1.2.3.4:50000", "5.6.7.8:443")},
	{v2 + "\x21\x11\x00\x10\x01\x02\x03\x04\x05\x06\x07\x08\xc3\x50\x01\xbb\x04\x00\x01\x00", header("1.2.3.4:50000", "5.6.7.8:443")},
	{v2 + "\x21\x21\x00\x24" + strings.Repeat("\x01", 16) + strings.Repeat("\x02", 16) + "\x00\x01\x00\x02", header("[101:101:101:101:101:101:101:101]:1", "[202:202:202:202:202:202:202:202]:2")},
	{v2 + "\x21\x31\x00\xd8" + strings.Repeat("\x00", 216), Header{}},
	{v2 + "\x21\x11\x0f\xf0" + "\x01\x02\x03\x04\x05\x06\x07\x08\xc3\x50\x01\xbb" + strings.Repeat("\x04", 4080-12), header("1.2.3.4:50000", "5.6.7.8:443")},
}

func init() {
	long := "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
	good[6].text = "PROXY TCP6 " + long + " " + long + " 65535 65535\r\n"
	good[6].want = header("["+long+"]:65535", "["+long+"]:65535")
}

// A header is read whole, in any pieces, and nothing behind it is.
func TestRead(t *testing.T) {
	const rest = "GET / HTTP/1.1\r\n\r\n"
	for _, c := range good {
		r := strings.NewReader(c.text + rest)
		for _, in := range []io.Reader{r, iotest.OneByteReader(r)} {
			r.Reset(c.text + rest)
			h, err := Read(in)
			left, _ := io.ReadAll(r)
			if err != nil || h != c.want || string(left) != rest {
				t.Errorf("%.120q: %v, %v, left %.40q", c.text, h, err, left)
			}
		}
		for n := range len(c.text) {
			if _, err := Read(strings.NewReader(c.text[:n])); err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Errorf("%.120q cut to %d: %v", c.text, n, err)
			}
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03............",
		"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
		"PROXY\r\n\r\n\r\n\r\n\r\n\r\n",
		"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n\r\n",
		"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
		"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n",
		"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
		"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
		"PROXY TCP4 1.1.1.1 1.1.1.1 -1 1\r\n",
		"PROXY TCP4 1.1.1.1 1.1.1.01 1 1\r\n",
		"PROXY TCP4 ::1 ::1 1111111111 1\r\n",
		"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
		"PROXY TCP6 fe80::1%eth0 fe80::1 1 1\r\n",
		"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
		"PROXY TCP4 a b 1 1\r\n.............",
		"PROXY UNKNOWN " + strings.Repeat("x", 200),
		"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n" + strings.Repeat("x", 200),
		v2 + "\x11\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02",
		v2 + "\x22\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02",
		v2 + "\x21\x12\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02",
		v2 + "\x21\x41\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02",
		v2 + "\x21\x11\x00\x0b\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00",
		v2 + "\x21\x21\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02",
		v2 + "\x21\x11\x0f\xf1" + strings.Repeat("\x00", 5000),
		"\r\n\r\n\x00\r\nQUIX\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08",
	} {
		if h, err := Read(strings.NewReader(text)); err == nil || err == io.EOF || err == io.ErrUnexpectedEOF {
			t.Errorf("%.120q: %v, %v", text, h, err)
		}
	}
}

func TestAppend(t *testing.T) {
	for _, h := range []Header{
		{}, header("203.0.113.9:50000", "10.0.0.1:443"), header("[2001:db8::1]:0", "[::1]:443"), header("203.0.113.9:1", "[2001:db8::1]:2"),
	} {
		for i, b := range [][]byte{Append1([]byte("x"), h), Append2([]byte("x"), h)} {
			got, err := Read(bytes.NewReader(b[1:]))
			if err != nil || got != h {
				t.Errorf("version %d: %q: %v, %v, want %v", i+1, b, got, err, h)
			}
		}
	}
	if got := string(Append1(nil, header("203.0.113.9:50000", "10.0.0.1:443"))); got != good[0].text {
		t.Errorf("%q", got)
	}
}

// FuzzRead: whatever comes in, nothing panics and no more than a header is read; what is accepted
// can be written and read again.
func FuzzRead(f *testing.F) {
	for _, c := range good {
		f.Add([]byte(c.text))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := Read(r)
		read := len(b) - r.Len()
		if read > v2Max {
			t.Fatalf("%d bytes were read", read)
		}
		if err != nil {
			return
		}
		if again, need, err := Parse(b[:read]); err != nil || need != 0 || again != h {
			t.Errorf("%q: %v, %d, %v, want %v", b[:read], again, need, err, h)
		}
		if _, err := Read(bytes.NewReader(b[:read-1])); err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Errorf("%q without its last byte: %v", b[:read], err)
		}
		for _, out := range [][]byte{Append1(nil, h), Append2(nil, h)} {
			if again, err := Read(bytes.NewReader(out)); err != nil || again != h {
				t.Errorf("%q: %v, %v, want %v", out, again, err, h)
			}
		}
	})
}
