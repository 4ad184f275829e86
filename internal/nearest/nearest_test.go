package nearest

import (
	"math/rand/v2"
	"testing"
)

func TestWord(t *testing.T) {
	policies := []string{"p2c", "round_robin", "weighted_round_robin", "least_connections", "random", "peak_ewma", "consistent_hash"}
	keys := []string{"header", "cookie", "query", "path", "path_segment", "client_ip"}
	for _, c := range []struct {
		got   string
		valid []string
		want  string
	}{
		{"raund_robin", policies, "round_robin"},
		{"RoundRobin", policies, "round_robin"},
		{"round-robin", policies, "round_robin"},
		{"least_conn", policies, "least_connections"},
		{"leastconn", policies, "least_connections"},
		{"peak", policies, "peak_ewma"},
		{"p2x", policies, "p2c"},
		{"p2", policies, "p2c"},
		{"rnadom", policies, "random"},
		{"headr", keys, "header"},
		{"haeder", keys, "header"},
		{"patch", keys, "path"},
		{"pathsegment", keys, "path_segment"},
		{"clientip", keys, "client_ip"},
		{"pa", keys, ""},
		{"ip", keys, ""},
		{"x", keys, ""},
		{"", keys, ""},
		{"___", keys, ""},
		{"banana", keys, ""},
		{"head", []string{"head_bytes", "head_time"}, ""}, // ambiguous
		{"header", keys, "header"},
		{"größe", []string{"groesse", "größen"}, "größen"},
		{"a", []string{"b"}, ""}, // nothing in common is not near
		{"abc", nil, ""},
	} {
		if got := Word(c.got, c.valid); got != c.want {
			t.Errorf("Word(%q) = %q, want %q", c.got, got, c.want)
		}
	}
}

// naive is the definition of the distance, without a table.
func naive(a, b []rune) int {
	if len(a) == 0 || len(b) == 0 {
		return len(a) + len(b)
	}
	x, y := len(a)-1, len(b)-1
	cost := 1
	if a[x] == b[y] {
		cost = 0
	}
	d := min(naive(a[:x], b)+1, naive(a, b[:y])+1, naive(a[:x], b[:y])+cost)
	if x > 0 && y > 0 && a[x] == b[y-1] && a[x-1] == b[y] {
		d = min(d, naive(a[:x-1], b[:y-1])+1)
	}
	return d
}

func TestDistanceIsItsDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() []rune {
		w := make([]rune, r.IntN(7))
		for i := range w {
			w[i] = 'a' + rune(r.IntN(3))
		}
		return w
	}
	for range 2000 {
		a, b := word(), word()
		if got, want := distance(a, b), naive(a, b); got != want {
			t.Fatalf("distance(%q, %q) = %d, want %d", string(a), string(b), got, want)
		}
	}
}
