package grpc

// grpc-message: text in UTF-8 of which a field keeps printable ASCII, and the rest, '%' included,
// as %XX.

const upperHex = "0123456789ABCDEF"

// AppendMessage appends text as grpc-message has it.
func AppendMessage(dst []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c >= ' ' && c <= '~' && c != '%' {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// Message is the text that a value of grpc-message stands for. As the protocol asks, what is no
// escape stays as it is: a message that is spoiled is better than none.
func Message(v []byte) string {
	out := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			if high, low := nibble(v[i+1]), nibble(v[i+2]); high <= 15 && low <= 15 {
				out = append(out, high<<4|low)
				i += 2
				continue
			}
		}
		out = append(out, v[i])
	}
	return string(out)
}

// nibble is the number of a hexadecimal digit; above 15: it is none.
func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
