package route

// The host of an authority, in the form the tree has its keys in.

import "bytes"

// hostMax is the longest host name there is (RFC 1035 §2.3.4).
const hostMax = 253

// HostOnly returns the host of an authority (host[:port]), as a part of it: without the
// port and without the dot that may end a fully qualified name. An IPv6 address keeps its
// brackets. Case stays as it is: Match does not mind it.
func HostOnly(authority []byte) []byte {
	if len(authority) > 0 && authority[0] == '[' {
		return authority[:bytes.IndexByte(authority, ']')+1]
	}
	if i := bytes.IndexByte(authority, ':'); i >= 0 {
		authority = authority[:i]
	}
	return bytes.TrimSuffix(authority, []byte("."))
}

// lower writes host in lower case into buf and returns it. Of a host that is longer than
// any name, only the end is kept, for the wildcards, with whole reported as false.
func lower(buf *[hostMax]byte, host []byte) (lowered []byte, whole bool) {
	cut := max(0, len(host)-len(buf))
	n := copy(buf[:], host[cut:])
	for i, c := range buf[:n] {
		if 'A' <= c && c <= 'Z' {
			buf[i] = c + 'a' - 'A'
		}
	}
	return buf[:n], cut == 0
}
