package message

// Names that matter to the proxy have a Kind, found once when a head is parsed by a perfect
// hash; after that a comparison of numbers takes the place of a comparison of names.

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// A Kind is a field name the proxy itself reads, replaces or removes, so that the
// hot path never compares names. Everything else is Other and passes as it came.
type Kind uint8

// The fields the proxy knows.
const (
	Other Kind = iota
	Host
	ContentLength
	TransferEncoding
	Connection
	KeepAlive
	ProxyConnection
	ProxyAuthenticate
	ProxyAuthorization
	TE
	Trailer
	Upgrade
	Expect
	Forwarded
	XForwardedFor
	XForwardedProto
	XForwardedHost
	XForwardedPort
	XForwardedPrefix
	XRealIP
	Via
	MaxForwards
	Accept
	Authorization
	CacheControl
	ClientCert
	ClientCertChain
	ContentType
	ContentEncoding
	Cookie
	SetCookie
	Date
	Location
	Referer
	RetryAfter
	Server
	UserAgent

	kinds // how many there are
)

// kindNames holds each name twice, as most clients write it and in lower case, so
// that nearly every comparison is one of whole strings.
var kindNames = [kinds]struct{ canonical, lower string }{
	Host:               {"Host", "host"},
	ContentLength:      {"Content-Length", "content-length"},
	TransferEncoding:   {"Transfer-Encoding", "transfer-encoding"},
	Connection:         {"Connection", "connection"},
	KeepAlive:          {"Keep-Alive", "keep-alive"},
	ProxyConnection:    {"Proxy-Connection", "proxy-connection"},
	ProxyAuthenticate:  {"Proxy-Authenticate", "proxy-authenticate"},
	ProxyAuthorization: {"Proxy-Authorization", "proxy-authorization"},
	TE:                 {"TE", "te"},
	Trailer:            {"Trailer", "trailer"},
	Upgrade:            {"Upgrade", "upgrade"},
	Expect:             {"Expect", "expect"},
	Forwarded:          {"Forwarded", "forwarded"},
	XForwardedFor:      {"X-Forwarded-For", "x-forwarded-for"},
	XForwardedProto:    {"X-Forwarded-Proto", "x-forwarded-proto"},
	XForwardedHost:     {"X-Forwarded-Host", "x-forwarded-host"},
	XForwardedPort:     {"X-Forwarded-Port", "x-forwarded-port"},
	XForwardedPrefix:   {"X-Forwarded-Prefix", "x-forwarded-prefix"},
	XRealIP:            {"X-Real-IP", "x-real-ip"},
	Via:                {"Via", "via"},
	MaxForwards:        {"Max-Forwards", "max-forwards"},
	Accept:             {"Accept", "accept"},
	Authorization:      {"Authorization", "authorization"},
	CacheControl:       {"Cache-Control", "cache-control"},
	ClientCert:         {"Client-Cert", "client-cert"},
	ClientCertChain:    {"Client-Cert-Chain", "client-cert-chain"},
	ContentType:        {"Content-Type", "content-type"},
	ContentEncoding:    {"Content-Encoding", "content-encoding"},
	Cookie:             {"Cookie", "cookie"},
	SetCookie:          {"Set-Cookie", "set-cookie"},
	Date:               {"Date", "date"},
	Location:           {"Location", "location"},
	Referer:            {"Referer", "referer"},
	RetryAfter:         {"Retry-After", "retry-after"},
	Server:             {"Server", "server"},
	UserAgent:          {"User-Agent", "user-agent"},
}

// String is the name in its usual spelling; empty for Other.
func (k Kind) String() string {
	if k >= kinds {
		return ""
	}
	return kindNames[k].canonical
}

// kindSlots is a hash table without collisions (a test watches over that), so that a
// name is compared with at most one known name.
var kindSlots = func() (slots [1 << slotBits]Kind) {
	for k := Other + 1; k < kinds; k++ {
		slots[slot([]byte(kindNames[k].lower))] = k
	}
	return slots
}()

const (
	slotBits   = 8
	slotFactor = 0xa7a14d13 // found by trying
)

// slot hashes length, first and last letter but one, whatever their case. name has at
// least two.
func slot(name []byte) uint32 {
	h := uint32(len(name)) | uint32(name[0]|0x20)<<8 | uint32(name[len(name)-2]|0x20)<<16
	return h * slotFactor >> (32 - slotBits)
}

// Name finds the name at the start of b, a field line: how long it is, and which it is. That
// a colon follows is for the caller to see. A name that is known needs no look at each byte.
func Name(b []byte) (n int, k Kind) {
	if n = colon(b); n > 0 {
		if k = KindOf(b[:n]); k != Other {
			return n, k
		}
	}
	return NameLen(b), Other
}

// colon is the place of the first ':' in b, or anything else if no name that is known ends there. It
// looks at eight bytes at a time, as ValueLen does.
func colon(b []byte) int {
	if len(b) < colonWithin { // near the end of a head
		return bytes.IndexByte(b, ':')
	}
	if m := colons(b[0:8]); m != 0 {
		return bits.TrailingZeros64(m) >> 3
	}
	if m := colons(b[8:16]); m != 0 {
		return 8 + bits.TrailingZeros64(m)>>3
	}
	return 16 + bits.TrailingZeros64(colons(b[16:24]))>>3
}

// colons marks the bytes of a word that are ':'. The lowest mark is always right.
func colons(b []byte) uint64 {
	word := binary.LittleEndian.Uint64(b) ^ ':'*each
	return (word - each) &^ word & highs
}

// colonWithin is above the length of every name that is known; the longest is Proxy-Authorization.
const colonWithin = 24

// KindOf returns which known field name is, in any case; Other if none. It does not allocate.
func KindOf(name []byte) Kind {
	if len(name) < 2 {
		return Other
	}
	k := kindSlots[slot(name)]
	known := &kindNames[k]
	if len(name) != len(known.lower) {
		return Other
	}
	if string(name) == known.canonical || string(name) == known.lower || EqualFold(name, known.lower) {
		return k
	}
	return Other
}
