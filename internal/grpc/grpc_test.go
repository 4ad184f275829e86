package grpc

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/message"
)

func TestIs(t *testing.T) {
	for v, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "Application/GRPC+json": true,
		"application/grpc;charset=utf-8": true, "application/grpc ; x=y": true,
		"application/grpc\t; charset=utf-8": true, "application/grpc-base64": false,
		"application/grpc-web": false, "application/grpc-web+proto": false, "application/grpc-web-text": false,
		"application/grpcx": false, "application/grp": false, "": false, "text/plain": false, "application/json": false,
	} {
		if got := Is([]byte(v)); got != want {
			t.Errorf("Is(%q) = %v", v, got)
		}
		fields := []message.Field{message.NewField("X-A", "application/grpc"), message.NewField("content-type", v)}
		if got := Asks(fields); got != want {
			t.Errorf("Asks with content-type %q = %v", v, got)
		}
	}
	if Asks(nil) {
		t.Error("no content type is gRPC")
	}
}

func TestCodes(t *testing.T) {
	for c := range Codes {
		if got, ok := ParseCode(AppendCode(nil, c)); !ok || got != c {
			t.Errorf("%d comes back as %d, %v", c, got, ok)
		}
		if name := c.String(); name == "" || name != strings.ToUpper(name) {
			t.Errorf("code %d is called %q", c, name)
		}
	}
	for _, bad := range []string{"", "17", "-1", "00", "01", "1a", "a", "100", " 1", "20", ":", "1:", "1/", "256"} {
		if c, ok := ParseCode([]byte(bad)); ok {
			t.Errorf("%q is code %v", bad, c)
		}
	}
	if Unavailable != 14 || Unauthenticated.String() != "UNAUTHENTICATED" || Code(99).String() != "99" {
		t.Error("a code has another number or name than gRPC's")
	}
}

func TestOfHTTP(t *testing.T) {
	for status, want := range map[int]Code{
		400: 13, 401: 16, 403: 7, 404: 12, 405: 12, 408: 4, 413: 8, 414: 8, 429: 8, 431: 8, 500: 13, 501: 12, 502: 14, 503: 14, 504: 4, 505: 13, 418: 13,
	} {
		if got := OfHTTP(status); got != want {
			t.Errorf("%d becomes %v, want %v", status, got, want)
		}
	}
}

func TestStatusOf(t *testing.T) {
	dropped := message.NewField("grpc-status", "5")
	dropped.Drop = true
	fields := []message.Field{message.NewField("x", "1"), dropped, message.NewField("Grpc-Status", "14"), message.NewField("grpc-status", "0")}
	if c, ok := StatusOf(fields); !ok || c != Unavailable {
		t.Errorf("%v, %v", c, ok)
	}
	if c, ok := StatusOf(fields[:2]); ok {
		t.Errorf("a dropped field has status %v", c)
	}
	if c, ok := StatusOf([]message.Field{message.NewField("grpc-status", "nonsense")}); ok {
		t.Errorf("nonsense is %v", c)
	}
}

func TestParseTimeout(t *testing.T) {
	for v, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "10S": 10 * time.Second, "1500m": 1500 * time.Millisecond, "7u": 7 * time.Microsecond,
		"99999999n": 99999999, "0S": 0, "00000001m": time.Millisecond, "99999999H": math.MaxInt64,
	} {
		if got, ok := ParseTimeout([]byte(v)); !ok || got != want {
			t.Errorf("%q is %v, %v", v, got, ok)
		}
	}
	for _, bad := range []string{"", "S", "1", "1s", "1h", "-1S", "+1S", "1.5S", "123456789S", " 1S", "1S ", "1 S", "1ms", "\xb2S"} {
		if got, ok := ParseTimeout([]byte(bad)); ok {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

// TestAppendTimeout: what is written is read as no less, and as little more as eight digits allow.
func TestAppendTimeout(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-5: "1n", 0: "1n", 99_999_999: "99999999n", 100_000_000: "100000u", 100_000_001: "100001u", time.Second: "1000000u",
		100 * time.Second: "100000m", math.MaxInt64: "2562048H", // 153,722,868 minutes have nine digits
	} {
		if got := string(AppendTimeout(nil, d)); got != want {
			t.Errorf("%v is written as %q, want %q", d, got, want)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		d := time.Duration(r.Uint64()>>1) >> r.IntN(63)
		v := AppendTimeout(nil, d)
		got, ok := ParseTimeout(v)
		if !ok || got < d || got != math.MaxInt64 && float64(got-d) > 1e-3*float64(d)+1 {
			t.Fatalf("%d is written as %q, which is %d, %v", d, v, got, ok)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{"", "no endpoint", "100 % ü \x00\r\n\x7f~", "%41", "\xff\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v := AppendMessage(nil, s)
		if n := message.ValueLen(v); n != len(v) {
			t.Errorf("%q becomes %q, which no field may have", s, v)
		}
		if got := Message(v); got != s {
			t.Errorf("%q comes back as %q by way of %q", s, got, v)
		}
	})
}

func TestMessageKeepsWhatIsNoEscape(t *testing.T) {
	for v, want := range map[string]string{"%": "%", "%4": "%4", "100% sure": "100% sure", "%zz%41%c3%BC": "%zzAü", "a%2": "a%2"} {
		if got := Message([]byte(v)); got != want {
			t.Errorf("%q is %q, want %q", v, got, want)
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	fields := []message.Field{message.NewField("content-type", "application/grpc"), message.NewField("grpc-status", "14")}
	buf := make([]byte, 0, 64)
	value := []byte("1500m")
	if n := testing.AllocsPerRun(100, func() {
		Asks(fields)
		StatusOf(fields)
		d, _ := ParseTimeout(value)
		AppendTimeout(buf, d)
		AppendMessage(buf, "a % b")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
