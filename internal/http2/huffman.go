package http2

// The Huffman code of RFC 7541 §5.2 and Appendix B. It is canonical: codes of one length are
// consecutive and in the order of their symbols, and longer ones follow shorter ones, so
// that the lengths alone make the code. It is decoded only; what we send is either in a table
// or not worth the time.

import (
	"encoding/binary"
	"slices"
)

// huffmanLen is the number of bits of each symbol; the last is EOS, which is never sent.
var huffmanLen = [257]uint8{
	13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
	28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
	6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
	5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
	13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
	7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
	15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
	6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
	20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
	24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
	22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
	21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
	26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
	19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
	20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
	26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
	30,
}

const (
	huffmanLeast = 5 // bits of the shortest code
	huffmanMost  = 30
	huffmanEOS   = 256
	fastBits     = 9 // of the table that finds a symbol in one step
)

// huffman is the code in the form that decoding uses.
var huffman = makeHuffman()

type huffmanCode struct {
	// fast has for the next fastBits bits the symbol<<8 | its length; 0: the code is longer. It
	// knows letters, digits and most signs.
	fast [1 << fastBits]uint16
	// Of each length: where its codes end, left-aligned in 32 bits, and what to subtract from
	// a code to find its symbol in symbols.
	end    [huffmanMost + 1]uint64
	offset [huffmanMost + 1]uint32
	// symbols in the order of their codes.
	symbols [len(huffmanLen)]uint16
}

func makeHuffman() *huffmanCode {
	h := &huffmanCode{}
	code, at := uint32(0), 0
	for n := uint(1); n <= huffmanMost; n++ {
		code <<= 1
		h.offset[n] = code - uint32(at)
		for symbol, bits := range huffmanLen {
			if uint(bits) != n {
				continue
			}
			if n <= fastBits {
				from := code << (fastBits - n)
				for i := range uint32(1) << (fastBits - n) {
					h.fast[from+i] = uint16(symbol)<<8 | uint16(n)
				}
			}
			h.symbols[at] = uint16(symbol)
			at++
			code++
		}
		h.end[n] = uint64(code) << (32 - n)
	}
	return h
}

// appendHuffman appends what src stands for to dst. ok is false if src has the symbol EOS, or
// does not end in up to 7 bits of ones.
func appendHuffman(dst, src []byte) (_ []byte, ok bool) {
	dst = slices.Grow(dst, len(src)*8/huffmanLeast)
	var bits uint64 // those not decoded yet, left-aligned
	have := uint(0) // how many
	for {
		if have < 32 {
			if len(src) >= 4 {
				bits |= uint64(binary.BigEndian.Uint32(src)) << (32 - have)
				have, src = have+32, src[4:]
			} else {
				for _, c := range src {
					bits |= uint64(c) << (56 - have)
					have += 8
				}
				src = nil
			}
		}
		e := huffman.fast[bits>>(64-fastBits)]
		if n := uint(e & 0xff); n != 0 && n <= have {
			dst = append(dst, byte(e>>8))
			bits, have = bits<<n, have-n
			continue
		}
		if have < 8 { // src has ended, for it would have been taken
			return dst, bits>>(64-have) == 1<<have-1
		}
		symbol, n := longSymbol(uint32(bits >> 32))
		if n > have || symbol == huffmanEOS {
			return dst, false
		}
		dst = append(dst, byte(symbol))
		bits, have = bits<<n, have-n
	}
}

// longSymbol decodes a code that is longer than fastBits, left-aligned.
func longSymbol(code uint32) (symbol uint16, n uint) {
	n = fastBits + 1
	for uint64(code) >= huffman.end[n] {
		n++ // the codes of huffmanMost bits end at 2^32
	}
	return huffman.symbols[code>>(32-n)-huffman.offset[n]], n
}
