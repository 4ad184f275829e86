package policy

import (
	"bytes"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// TestHashPinned: several proxies, of several versions, must agree.
func TestHashPinned(t *testing.T) {
	for key, want := range pinned {
		if got := Hash([]byte(key)); got != want {
			t.Errorf("Hash(%q) = %#x, want %#x: it must never change", key, got, want)
		}
	}
}

// TestHashSpreads hashes keys of the kinds there are: by upper and by lower bits they fall
// into cells evenly, and never together.
func TestHashSpreads(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const n, cells = 1 << 15, 256
	for name, key := range map[string]func(i int) string{
		"numbers":   func(i int) string { return fmt.Sprint(i) },
		"users":     func(i int) string { return fmt.Sprintf("user-%08d", i) },
		"addresses": func(i int) string { return fmt.Sprintf("192.168.%d.%d", i>>8, i&255) },
		"paths":     func(i int) string { return fmt.Sprintf("/api/v1/carts/%d/items", i) },
		"binary":    func(i int) string { return string([]byte{byte(i), byte(i >> 8)}) },
		"long":      func(i int) string { return fmt.Sprintf("%0100d", i) },
		"zeros":     func(i int) string { return string(make([]byte, i%4096)) + fmt.Sprint(i/4096) },
		"random":    func(i int) string { return fmt.Sprintf("%x-%d", r.Uint64(), i) },
	} {
		seen := make(map[uint64]bool, n)
		var upper, lower [cells]float64
		for i := range n {
			h := Hash([]byte(key(i)))
			if seen[h] || h == 0 {
				t.Fatalf("%s: %q collides or is 0", name, key(i))
			}
			seen[h] = true
			upper[h>>56]++
			lower[h&(cells-1)]++
		}
		for part, counts := range map[string]*[cells]float64{"upper": &upper, "lower": &lower} {
			chi := 0.0
			for _, c := range counts {
				chi += (c - n/cells) * (c - n/cells) / (n / cells)
			}
			if chi < 140 || chi > 390 { // 255 degrees of freedom: six sigma
				t.Errorf("%s: chi square of the %s bits is %.0f", name, part, chi)
			}
		}
	}
}

// TestHashAvalanche: one bit of the key flips every bit of the hash half of the time.
func TestHashAvalanche(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	const rounds = 2000
	for _, n := range []int{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100} {
		var flips [64]float64
		key := make([]byte, n)
		for range rounds {
			for i := range key {
				key[i] = byte(r.Uint32())
			}
			before := Hash(key)
			bit := r.IntN(8 * n)
			key[bit/8] ^= 1 << (bit % 8)
			for d := before ^ Hash(key); d != 0; d &= d - 1 {
				flips[bits.TrailingZeros64(d)]++
			}
		}
		for bit, f := range flips {
			if math.Abs(f-rounds/2) > 6*math.Sqrt(rounds)/2 {
				t.Errorf("keys of %d bytes: bit %d flips %v times of %d", n, bit, f, rounds)
			}
		}
	}
}

// FuzzHash: the hash is a function of the key's bytes alone, changes with every bit and
// with the length, and is never 0.
func FuzzHash(f *testing.F) {
	for _, n := range []int{0, 1, 3, 4, 7, 8, 15, 16, 17, 40} {
		f.Add(bytes.Repeat([]byte{'k'}, n), uint(n))
	}
	f.Fuzz(func(t *testing.T, key []byte, bit uint) {
		h := Hash(key)
		padded := append(append([]byte("before"), key...), "after"...)
		if got := Hash(padded[6 : 6+len(key)]); got != h || h == 0 {
			t.Fatalf("%x elsewhere in memory: %#x and %#x", key, h, got)
		}
		if Hash(append(bytes.Clone(key), 0)) == h {
			t.Fatalf("%x: a zero byte more changes nothing", key)
		}
		if len(key) > 0 {
			bit %= uint(8 * len(key))
			padded[6+bit/8] ^= 1 << (bit % 8)
			if Hash(padded[6:6+len(key)]) == h {
				t.Fatalf("%x: bit %d changes nothing", key, bit)
			}
		}
	})
}

var pinned = map[string]uint64{
	"":                         0x54ccf1d172f57066,
	"a":                        0xa7a99a4d721b43a4,
	"192.0.2.1":                0x97ec60e343ee351,
	"user-00001234":            0xe2a1fa32b443432b,
	"0123456789abcdef":         0x9085fc696b342bdc,
	"0123456789abcdef01234567": 0xf4828982fe0f8dfa,
	"a key that takes more than two steps of sixteen bytes": 0x13cd1363dc13f68b,
}
