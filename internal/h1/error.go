// Package h1 is the HTTP/1.1 codec of both sides: heads, and the framing of content.
//
// It is stricter than RFC 9112 asks where leniency is what smuggling lives on: lines end
// in CRLF and nothing else, obs-fold is an error in both directions, a message whose
// length could be read in two ways is refused. It does no I/O, keeps no state but the
// Decoder's, and neither locks nor allocates; what it returns are slices of what it was
// given.
package h1

// An Error says why a message is not accepted. What remains of its connection cannot be
// trusted.
type Error struct {
	// Status is what to answer a client with. For a response's error it is 502; for a
	// Decoder's it is 400, and 502 is right if the content came from an endpoint.
	Status int
	// Reason is for machines: stable words in kebab-case.
	Reason string

	text string
}

// Error is for people; it names the section that was broken.
func (e *Error) Error() string { return e.Reason + ": " + e.text }

// fromEndpoint is e as the error of a response.
func (e *Error) fromEndpoint() *Error {
	c := *e
	c.Status = 502
	if e == errHeadBytes {
		c.Reason = "response-head-too-large" // the client's head is another one
	}
	return &c
}

// Errors of lines and fields, for requests and responses alike.
var (
	errLineEnd      = &Error{400, "bad-line-end", "a line ends in CRLF, and neither byte stands alone (RFC 9112 §2.2)"}
	errFold         = &Error{400, "obs-fold", "a line starts with whitespace (RFC 9112 §2.2, §5.2)"}
	errFieldName    = &Error{400, "bad-field-name", "a field line is a token and a colon, with nothing between (RFC 9112 §5.1)"}
	errFieldValue   = &Error{400, "bad-field-value", "a field value has a control byte (RFC 9110 §5.5)"}
	errFieldsMany   = &Error{431, "too-many-fields", "more fields than limits.fields (RFC 6585 §5)"}
	errHeadBytes    = &Error{431, "head-too-large", "a head longer than limits.head (RFC 6585 §5)"}
	errOptionsMany  = &Error{400, "too-many-connection-options", "Connection nominates more fields than there can be (RFC 9110 §7.6.1)"}
	errVersion      = &Error{400, "bad-version", "not HTTP/DIGIT.DIGIT (RFC 9112 §2.3)"}
	errMajor        = &Error{505, "version-not-supported", "not HTTP/1 (RFC 9112 §2.3)"}
	errLength       = &Error{400, "bad-content-length", "Content-Length is one number below 2^63 (RFC 9110 §8.6)"}
	errLengthTwice  = &Error{400, "several-content-lengths", "more than one Content-Length (RFC 9112 §6.3)"}
	errAmbiguous    = &Error{400, "ambiguous-framing", "Content-Length and Transfer-Encoding together (RFC 9112 §6.1)"}
	errCoding       = &Error{501, "unknown-transfer-coding", "the only transfer coding known is chunked (RFC 9112 §6.1)"}
	errCodingTwice  = &Error{400, "bad-transfer-encoding", "chunked is applied once and last (RFC 9112 §6.1)"}
	errCodingOld    = &Error{400, "transfer-encoding-in-http-1.0", "HTTP/1.0 knows no transfer codings (RFC 9112 §6.1)"}
	errEmptyLines   = &Error{400, "too-many-empty-lines", "more empty lines than limits.IdleInBufferMax before a request (RFC 9112 §2.2)"}
	errMethod       = &Error{400, "bad-method", "a method is a token and one space (RFC 9112 §3.1)"}
	errMethodLong   = &Error{501, "unknown-method", "no method is that long (RFC 9112 §3)"}
	errConnect      = &Error{501, "connect-not-supported", "CONNECT: this proxy opens no tunnels for clients (RFC 9110 §9.3.6)"}
	errTarget       = &Error{400, "bad-target", "the request-target is none of the forms of RFC 9112 §3.2"}
	errTargetLong   = &Error{414, "target-too-long", "a request-target longer than limits.target (RFC 9112 §3)"}
	errHostMissing  = &Error{400, "no-host", "an HTTP/1.1 request without Host (RFC 9112 §3.2)"}
	errHostTwice    = &Error{400, "several-hosts", "more than one Host (RFC 9112 §3.2)"}
	errHost         = &Error{400, "bad-host", "Host or authority is not a host name or address with an optional port (RFC 9112 §3.2)"}
	errStatusLine   = &Error{502, "bad-status-line", "a status line is HTTP-version SP 3DIGIT SP reason (RFC 9112 §4)"}
	errNotUpgraded  = &Error{502, "bad-upgrade", "101 without Connection: upgrade and Upgrade (RFC 9110 §7.8)"}
	errChunkSize    = &Error{400, "bad-chunk-size", "a chunk size is 1 to 16 hexadecimal digits, below 2^63 (RFC 9112 §7.1)"}
	errChunkLine    = &Error{400, "chunk-line-too-long", "a chunk-size line longer than limits.ChunkLineMax (RFC 9112 §7.1.1)"}
	errChunkExt     = &Error{400, "bad-chunk-extension", "a chunk extension starts with a semicolon and has no control bytes (RFC 9112 §7.1.1)"}
	errChunkExtMany = &Error{400, "chunk-extensions-too-large", "more chunk extensions than content (RFC 9112 §7.1.1)"}
	errChunkEnd     = &Error{400, "bad-chunk-end", "chunk data is followed by CRLF (RFC 9112 §7.1)"}
	errTrailerBytes = &Error{400, "trailers-too-large", "a trailer section longer than limits.head (RFC 9112 §7.1.2)"}
)
