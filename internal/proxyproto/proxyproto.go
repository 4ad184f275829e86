// Package proxyproto is the PROXY protocol, versions 1 and 2: a header in front of a connection's
// own bytes by which a proxy below HTTP says who the client is.
//
//	version 1   PROXY TCP4 203.0.113.9 10.0.0.1 50000 443 CR LF
//	version 2   12 bytes of signature, version and command, family, length, addresses, TLVs
//
// Both are read by Parse, byte for byte: nothing behind the header is read, since it belongs to
// TLS or HTTP. A Parse that lacks bytes says how many there are at least:
//
//	read   b                      Parse says
//	       ""                     15 more: no header is shorter
//	15     "PROXY TCP4 10.0"      17 more: no header of TCP4 has less than 32
//	17     "… 10.0.0.1 50000 4"   2 more: CR LF are missing
//	2      "… 10.0.0.1 50000 443\r"   1 more
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
)

// A Header is what a proxy says of a connection.
type Header struct {
	// Source is the client's address, and Destination is where it connected to. Both are zero if
	// the proxy does not know them, or has connected for itself, as for a probe: then the client
	// is the peer. An IPv4 address is never in its IPv6 form.
	Source, Destination netip.AddrPort
}

// Bounds of a header in bytes. That of version 2 could have 64 KiB by its length; what proxies
// send in TLVs, which are not looked at, is far less.
const (
	v1Max = 107
	v2Max = 4096
)

const (
	shortest = len("PROXY UNKNOWN\r\n")
	fixed    = 16 // of version 2: what precedes the addresses
)

// signature begins each header of version 2.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

var (
	errNoHeader = errors.New("the connection does not begin with a header of the PROXY protocol")
	errLong     = errors.New("the header of the PROXY protocol is too long")
)

// Read reads a header from r, and nothing behind it. r may return less than it is asked for.
func Read(r io.Reader) (Header, error) {
	b := make([]byte, 0, 2*v1Max)
	for {
		h, need, err := Parse(b)
		if err != nil || need == 0 {
			return h, err
		}
		n := len(b)
		b = append(b, make([]byte, need)...)
		if _, err := io.ReadFull(r, b[n:]); err != nil {
			return h, err
		}
	}
}

// Parse reads the header b. need is how many bytes at least follow before Parse can be called
// again with all of them; 0: b is a whole header.
func Parse(b []byte) (h Header, need int, err error) {
	if n := min(len(b), len(signature)); string(b[:n]) == signature[:n] && n > 0 {
		return parse2(b)
	}
	const word = "PROXY "
	if n := min(len(b), len(word)); string(b[:n]) != word[:n] {
		return h, 0, errNoHeader
	}
	if len(b) < shortest {
		return h, shortest - len(b), nil
	}
	return parse1(b)
}

// parse1 reads a header of version 1, of which there are shortest bytes or more.
func parse1(b []byte) (h Header, need int, err error) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 {
		if need = least1(b) - len(b); len(b)+need > v1Max {
			return h, 0, errLong
		}
		return h, need, nil
	}
	if end+2 != len(b) {
		return h, 0, errNoHeader // Parse did not ask for that much: it is no header
	}
	parts := bytes.Split(b[:end], []byte(" "))
	family := string(parts[1])
	if family == "UNKNOWN" {
		return h, 0, nil // what follows is to be ignored
	}
	if family != "TCP4" && family != "TCP6" || len(parts) != 6 {
		return h, 0, fmt.Errorf("%q is no header of the PROXY protocol", b[:end])
	}
	source, okS := address1(parts[2], parts[4], family == "TCP4")
	destination, okD := address1(parts[3], parts[5], family == "TCP4")
	if !okS || !okD {
		return h, 0, fmt.Errorf("%q: an address or a port is wrong", b[:end])
	}
	return Header{source, destination}, 0, nil
}

// least1 is how many bytes a header of version 1 has at least which begins with b, and has no end
// in b.
func least1(b []byte) int {
	least := len(b) + 2
	if b[len(b)-1] == '\r' {
		least--
	}
	switch {
	case bytes.HasPrefix(b, []byte("PROXY TCP4 ")):
		least = max(least, len("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n"))
	case bytes.HasPrefix(b, []byte("PROXY TCP6 ")):
		least = max(least, len("PROXY TCP6 :: :: 1 1\r\n"))
	}
	return least
}

func address1(ip, port []byte, is4 bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(string(ip))
	n, bad := strconv.ParseUint(string(port), 10, 16)
	if err != nil || bad != nil || a.Is4() != is4 || a.Zone() != "" || strconv.FormatUint(n, 10) != string(port) {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), true
}

// parse2 reads a header of version 2, of which there is a byte or more.
func parse2(b []byte) (h Header, need int, err error) {
	if len(b) < shortest {
		return h, shortest - len(b), nil // as of version 1: more is asked for when it is clear
	}
	if len(b) < fixed {
		return h, fixed - len(b), nil
	}
	length := int(binary.BigEndian.Uint16(b[14:]))
	switch command := b[12]; {
	case command>>4 != 2:
		return h, 0, fmt.Errorf("version %d of the PROXY protocol is not known", command>>4)
	case command&0xf > 1:
		return h, 0, fmt.Errorf("command %d of the PROXY protocol is not known", command&0xf)
	case fixed+length > v2Max:
		return h, 0, errLong
	case len(b) < fixed+length:
		return h, fixed + length - len(b), nil
	case len(b) > fixed+length:
		return h, 0, errNoHeader
	case command&0xf == 0: // LOCAL
		return h, 0, nil
	}
	return addresses2(b[13], b[fixed:])
}

// Families with the transport protocol, of version 2.
const (
	unspecified = 0x00
	tcp4        = 0x11
	tcp6        = 0x21
	unixStream  = 0x31
)

func addresses2(family byte, b []byte) (h Header, need int, err error) {
	size := map[byte]int{tcp4: 4, tcp6: 16}[family]
	switch {
	case family == unspecified, family == unixStream:
		return h, 0, nil
	case size == 0:
		return h, 0, fmt.Errorf("family 0x%02x of the PROXY protocol is not that of a TCP connection", family)
	case len(b) < 2*size+4:
		return h, 0, errors.New("the header of the PROXY protocol is too short for its addresses")
	}
	source, _ := netip.AddrFromSlice(b[:size])
	destination, _ := netip.AddrFromSlice(b[size : 2*size])
	ports := b[2*size:]
	return Header{
		netip.AddrPortFrom(source.Unmap(), binary.BigEndian.Uint16(ports)),
		netip.AddrPortFrom(destination.Unmap(), binary.BigEndian.Uint16(ports[2:])),
	}, 0, nil
}

// Append1 appends a header of version 1 to b.
func Append1(b []byte, h Header) []byte {
	if !h.Source.IsValid() || !h.Destination.IsValid() {
		return append(b, "PROXY UNKNOWN\r\n"...)
	}
	source, destination, is4 := h.both()
	if b = append(b, "PROXY TCP6 "...); is4 {
		b[len(b)-2] = '4'
	}
	b = append(source.AppendTo(b), ' ')
	b = append(destination.AppendTo(b), ' ')
	b = append(strconv.AppendUint(b, uint64(h.Source.Port()), 10), ' ')
	return append(strconv.AppendUint(b, uint64(h.Destination.Port()), 10), "\r\n"...)
}

// Append2 appends a header of version 2 to b. Without addresses its command is LOCAL: the proxy
// has connected for itself.
func Append2(b []byte, h Header) []byte {
	b = append(b, signature...)
	if !h.Source.IsValid() || !h.Destination.IsValid() {
		return append(b, 0x20, unspecified, 0, 0)
	}
	source, destination, is4 := h.both()
	if is4 {
		b = append(b, 0x21, tcp4, 0, 12)
	} else {
		b = append(b, 0x21, tcp6, 0, 36)
	}
	b = append(append(b, source.AsSlice()...), destination.AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, h.Source.Port())
	return binary.BigEndian.AppendUint16(b, h.Destination.Port())
}

// both are the addresses in one family: if one of them is IPv6, so is the other.
func (h Header) both() (source, destination netip.Addr, is4 bool) {
	source, destination = h.Source.Addr().WithZone("").Unmap(), h.Destination.Addr().WithZone("").Unmap()
	if source.Is4() == destination.Is4() {
		return source, destination, source.Is4()
	}
	return netip.AddrFrom16(source.As16()), netip.AddrFrom16(destination.As16()), false
}
