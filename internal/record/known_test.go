package record

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
)

// TestLinesDoNotDependOnEarlierOnes writes lines that displace each other's texts, with one pen
// and with a new one each.
func TestLinesDoNotDependOnEarlierOnes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	words := []string{"", "a", "shop", "with \"quotes\"", "line\nbreak", "10.0.0.1:80", "10.0.0.11:80", "[fe80::1]:8080", "x.example:443"}
	word := func() string { return words[random.IntN(len(words))] }
	for _, format := range []*Format{&plain, Compile(config.AccessLog{Format: "ecs"})} {
		var used pen
		for range 20_000 {
			l := &slot{at: time.Second, route: random.IntN(130), service: word(), routeName: word(), status: random.IntN(3) * 200}
			for range random.IntN(3) {
				l.attempts = append(l.attempts, Attempt{
					Scheme: word(), Address: word(), Zone: word(), Reason: word(), Status: random.IntN(600), Time: time.Duration(random.IntN(1e9)),
				})
			}
			got, want := format.line(format, &used, nil, l), format.line(format, new(pen), nil, l)
			if string(got) != string(want) {
				t.Fatalf("got  %s\nwant %s", got, want)
			}
		}
	}
}

// TestPlainBytes compares the search by eight bytes with that by one, for each byte at each place.
func TestPlainBytes(t *testing.T) {
	for size := range 20 {
		for at := range size {
			for c := range 256 {
				text := make([]byte, size)
				for i := range text {
					text[i] = '~' - byte(i) // the one before borrows nothing
				}
				text[at] = byte(c)
				want := size
				if !ordinary[c] {
					want = at
				}
				if got := plainPrefix(text); got != want {
					t.Fatalf("%q: %d bytes are plain, want %d", text, got, want)
				}
			}
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, n := range []int64{-5, 0, 9, 10, 99, 100, 101, 999, 1000, 12345, -1 << 63, 1<<63 - 1} {
		if got := string(appendNumber(nil, n)); got != strconv.FormatInt(n, 10) {
			t.Errorf("%d is written %s", n, got)
		}
	}
}
