package rewrite

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/route"
)

// TestTheRestGoesOutByteForByte: however the prefix is written, what stands behind it is
// what goes out, and for an endpoint that normalises it is what was matched.
func TestTheRestGoesOutByteForByte(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	some := func(n int, words ...string) string {
		var b strings.Builder
		for range random.IntN(n) {
			b.WriteString(words[random.IntN(len(words))])
		}
		return b.String()
	}
	strip := mustCompile(t, config.Rewrite{StripPrefix: "/api/v1"}, config.Headers{})
	replace := mustCompile(t, config.Rewrite{Replace: &config.Replace{Prefix: "/api/v1", With: "/new"}, AddPrefix: "/base"}, config.Headers{})
	tried := 0
	for range 20_000 {
		detour := func() string { return some(3, "/", "/.", "/%2e", "/x/..", "/%2E./x/y/..", "/a/b/../..", "/api/%2e.") }
		prefix := detour() + "/%61pi" + some(3, "/", "/.", "/x/..", "/q/r/../%2e%2E") + "/v1"
		// Pieces of which none climbs out of what stands before it.
		rest := some(6, "/a", "//", "/%7Ex", "/~", "/a%2fb", "/a%2Fb", "/.", "/b/..", "/c/d/%2E%2e", "/\xc3\xa9", "/%c3%A9{}", "/%5C", "/x\\y", "/...", "/..;p")
		if rest != "" && rest[0] != '/' {
			rest = "/" + rest
		}
		raw := prefix + rest
		norm, err := route.Normalize(nil, []byte(raw))
		if err != nil && err != route.Backslash || !strings.HasPrefix(string(norm)+"/", "/api/v1/") {
			continue // a detour above the root
		}
		tried++
		q := &message.Request{Path: []byte(raw)}
		strip.Request(q, norm, nil)
		want := rest
		if want == "" {
			want = "/"
		}
		if string(q.Path) != want {
			t.Fatalf("strip makes %q of %q, want %q", q.Path, raw, want)
		}
		q = &message.Request{Path: []byte(raw)}
		replace.Request(q, norm, nil)
		if want := "/base/new" + rest; string(q.Path) != want {
			t.Fatalf("replace and add make %q of %q, want %q", q.Path, raw, want)
		}
		if got, _ := route.Normalize(nil, q.Path); string(got) != "/base/new"+strings.TrimPrefix(string(norm), "/api/v1") {
			t.Fatalf("%q was matched as %q and goes out as %q", raw, norm, got)
		}
	}
	if tried < 5000 {
		t.Errorf("only %d paths were tried", tried)
	}
}
