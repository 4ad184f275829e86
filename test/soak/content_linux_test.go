package soak

import (
	"bytes"
	"encoding/binary"
)

// content is a stream of bytes that no other content has: it is made from a token and a
// direction, and every byte depends on its place.
type content struct {
	seed uint64
	at   int
}

// The directions of content.
const (
	upwards   = 0x75
	downwards = 0x64
	padding   = 0x70
)

func contentOf(token string, direction uint64) *content {
	h := uint64(14695981039346656037) // FNV-1a
	for _, b := range []byte(token) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return &content{seed: mix(h ^ direction<<56)}
}

// mix is the finaliser of SplitMix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// read makes the next bytes.
func (c *content) read(p []byte) {
	for len(p) > 0 {
		word := mix(c.seed + uint64(c.at/8)*0x9e3779b97f4a7c15)
		skip := c.at % 8
		if skip == 0 && len(p) >= 8 {
			binary.LittleEndian.PutUint64(p, word)
			p, c.at = p[8:], c.at+8
			continue
		}
		var eight [8]byte
		binary.LittleEndian.PutUint64(eight[:], word)
		n := copy(p, eight[skip:])
		p, c.at = p[n:], c.at+n
	}
}

// has reports whether p is what comes next.
func (c *content) has(p []byte) bool {
	var want [4 << 10]byte
	for len(p) > 0 {
		n := min(len(p), len(want))
		c.read(want[:n])
		if !bytes.Equal(want[:n], p[:n]) {
			return false
		}
		p = p[n:]
	}
	return true
}

// text is n visible characters made from a token, for fields.
func text(token string, n int) string {
	b := make([]byte, n)
	contentOf(token, padding).read(b)
	for i := range b {
		b[i] = 'a' + b[i]%26
	}
	return string(b)
}
