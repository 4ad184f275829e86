package policy

// The hash of keys, and the mixing of random numbers. Several proxies must agree on it, so its
// constants are part of what a release promises.

import (
	"encoding/binary"
	"math/bits"
)

// Odd constants with about as many ones as zeros; arbitrary, but never to be changed:
// several proxies must send a key to the same endpoint.
const (
	hashSeed  = 0x8b3f61d4c7a92e55
	hashLeft  = 0x9e6c63d0a54f8d13
	hashRight = 0xb1c9e37f2d846a9b
	golden    = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
)

// Hash is the hash of an affinity key, for Attempt.Key. It is the same in every process
// and on every machine, and never 0. It is made for speed and even spread, not to
// withstand keys that were chosen to collide. Any goroutine may call it.
func Hash(key []byte) uint64 {
	h := hashSeed ^ uint64(len(key))*golden
	rest := key
	for len(rest) > 16 {
		h = fold(binary.LittleEndian.Uint64(rest)^hashLeft^h, binary.LittleEndian.Uint64(rest[8:])^hashRight^h)
		rest = rest[16:]
	}
	var a, b uint64
	switch n := len(rest); {
	case n >= 8: // two words that overlap
		a = binary.LittleEndian.Uint64(rest)
		b = binary.LittleEndian.Uint64(rest[n-8:])
	case n >= 4:
		a = uint64(binary.LittleEndian.Uint32(rest))
		b = uint64(binary.LittleEndian.Uint32(rest[n-4:]))
	case n > 0: // first, middle and last byte: all there are
		a = uint64(rest[0])<<16 | uint64(rest[n/2])<<8 | uint64(rest[n-1])
	}
	h = mix(fold(a^hashLeft^h, b^hashRight^bits.RotateLeft64(h, 32)))
	return h | (1 - (h|-h)>>63) // 0 becomes 1
}

// fold multiplies to 128 bits and folds the halves together.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// mix spreads every bit of x over all bits of the result; it is a permutation.
func mix(x uint64) uint64 {
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	x = (x ^ x>>29) * 0x94d049bb133111eb
	return x ^ x>>32
}

// next is the random number after r: callers draw one per attempt, and pickers that need
// more make them from it.
func next(r uint64) uint64 { return mix(r + golden) }
