// Package message is the neutral form of an HTTP head: what every engine reads into
// and writes from, whatever the wire looked like. Names and values are slices of
// bytes that belong to the buffer (or the http.Header) they were read from, so a head
// is valid only as long as its exchange holds that buffer.
package message

// A Field is one header or trailer field, in the order of arrival.
type Field struct {
	Name  []byte
	Value []byte // without surrounding whitespace
	Kind  Kind   // which field the proxy itself knows; Other for the rest
	Drop  bool   // true: not forwarded (hop-by-hop, or replaced by us)

	// NeverIndex: the sender wants no compressing hop to keep the value in a table, because it
	// is a secret that could be guessed from what compresses well (RFC 7541 §7.1.3).
	NeverIndex bool
}

// Body says how a message's content is delimited (RFC 9112 §6.3).
type Body uint8

// The framings of a message's content.
const (
	NoBody     Body = iota // no content at all
	Length                 // exactly Request.Length or Response.Length bytes
	Chunked                // the chunked transfer coding
	UntilClose             // response only: until the connection ends
)

// Request is the head of a request.
type Request struct {
	Method []byte
	Target []byte // the request-target as received, in any of its four forms
	Path   []byte // the raw path of Target: "/" if empty, "*" in asterisk form
	Query  []byte // what follows the first '?', without it; nil if there was no '?'
	Host   []byte // the authority: of an absolute target, else of the Host field
	Fields []Field

	Length int64 // content length if Body is Length
	Body   Body

	Minor          uint8  // HTTP/1.Minor
	KeepAlive      bool   // the peer lets the connection persist (RFC 9112 §9.3)
	ExpectContinue bool   // Expect: 100-continue
	TrailersOK     bool   // TE: trailers
	Upgrade        []byte // value of Upgrade when Connection nominates it, else nil
}

// Response is the head of a response, interim (1xx) or final.
type Response struct {
	Status int
	Reason []byte // may be empty
	Fields []Field

	Length int64 // content length if Body is Length; for a HEAD or 304 it stands in the fields only
	Body   Body

	Minor     uint8
	KeepAlive bool
	Upgrade   []byte // as in Request; meaningful with status 101
}
