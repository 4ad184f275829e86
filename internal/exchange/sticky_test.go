package exchange

import (
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/affinity"
	"github.com/poise-lb/poise/internal/message"
)

func stickyLB(t testing.TB) *Sticky {
	key, err := affinity.Parse("cookie(lb)")
	if err != nil {
		t.Fatal(err)
	}
	return &Sticky{Name: "lb", Key: key, Plain: "; Path=/; HttpOnly", Secure: "; Path=/; HttpOnly; Secure"}
}

func withCookie(value string) *message.Request {
	return &message.Request{Fields: []message.Field{message.NewField("Cookie", value)}}
}

// TestTokensComeBack: what a response sets is what the next request asks for, and nothing is allocated.
func TestTokensComeBack(t *testing.T) {
	s := stickyLB(t)
	for _, token := range []uint64{1, 0xff, 1 << 63, ^uint64(0), 0x0123456789abcdef} {
		set := string(s.AppendCookie(nil, token, token%2 == 0))
		pair, attributes, _ := strings.Cut(set, ";")
		if got := s.token(withCookie("a=b; " + pair)); got != token {
			t.Errorf("%q is read as %x, want %x", set, got, token)
		}
		if strings.Contains(attributes, "Secure") != (token%2 == 0) {
			t.Error(set)
		}
	}
	q, b := withCookie("lb=AQIDBAUGBwg"), make([]byte, 0, 128)
	if n := testing.AllocsPerRun(100, func() { b = s.AppendCookie(b[:0], s.token(q), true) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestForgedTokens: what no response has set names nothing, or a token that is looked up.
func TestForgedTokens(t *testing.T) {
	s := stickyLB(t)
	for _, value := range []string{"", "lb", "lb=", "lb=x", "lb=AAAAAAAAAAA", "lb=AQIDBAUGBwg=", "lb=AQIDBAUGBw+", "lb=AQIDBAUGBwgA", "LB=AQIDBAUGBwg", "lb=\"\"", "xlb=AQIDBAUGBwg"} {
		if got := s.token(withCookie(value)); got != 0 {
			t.Errorf("%q is read as %x", value, got)
		}
	}
	if s.token(&message.Request{}) != 0 {
		t.Error("no cookie is one")
	}
}

func TestSharedResponses(t *testing.T) {
	for value, want := range map[string]bool{
		"public": true, "max-age=1, PUBLIC": true, "s-maxage=5": true, "private": false, "max-age=60": false, "no-cache, no-store": false, "": false,
	} {
		if got := shared([]message.Field{message.NewField("Cache-Control", value)}); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
	if shared(nil) {
		t.Error("without the field")
	}
}
