// Package http1 is the HTTP/1.1 codec of both sides: heads, and the framing of content.
//
// It is stricter than RFC 9112 asks where leniency is what smuggling lives on: lines end
// in CRLF and nothing else, obs-fold is an error in both directions, a message whose
// length could be read in two ways is refused. It does no I/O, keeps no state but the
// Decoder's, and neither locks nor allocates; what it returns are slices of what it was
// given.
package http1

import "github.com/poise-lb/poise/internal/reason"

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
		c.Reason = reason.ResponseHeadTooLarge // the client's head is another one
	}
	return &c
}

// Errors of lines and fields, for requests and responses alike.
var (
	errLineEnd      = &Error{400, reason.BadLineEnd, "a line ends in CRLF, and neither byte stands alone (RFC 9112 §2.2)"}
	errFold         = &Error{400, reason.ObsFold, "a line starts with whitespace (RFC 9112 §2.2, §5.2)"}
	errFieldName    = &Error{400, reason.BadFieldName, "a field line is a token and a colon, with nothing between (RFC 9112 §5.1)"}
	errFieldValue   = &Error{400, reason.BadFieldValue, "a field value has a control byte (RFC 9110 §5.5)"}
	errFieldsMany   = &Error{431, reason.TooManyFields, "more fields than limits.fields (RFC 6585 §5)"}
	errHeadBytes    = &Error{431, reason.HeadTooLarge, "a head longer than limits.head (RFC 6585 §5)"}
	errOptionsMany  = &Error{400, reason.TooManyConnectionOptions, "Connection nominates more fields than there can be (RFC 9110 §7.6.1)"}
	errVersion      = &Error{400, reason.BadVersion, "not HTTP/DIGIT.DIGIT (RFC 9112 §2.3)"}
	errMajor        = &Error{505, reason.VersionNotSupported, "not HTTP/1 (RFC 9112 §2.3)"}
	errLength       = &Error{400, reason.BadContentLength, "Content-Length is one number below 2^63 (RFC 9110 §8.6)"}
	errLengthTwice  = &Error{400, reason.SeveralContentLengths, "more than one Content-Length (RFC 9112 §6.3)"}
	errAmbiguous    = &Error{400, reason.AmbiguousFraming, "Content-Length and Transfer-Encoding together (RFC 9112 §6.1)"}
	errCoding       = &Error{501, reason.UnknownTransferCoding, "the only transfer coding known is chunked (RFC 9112 §6.1)"}
	errCodingTwice  = &Error{400, reason.BadTransferEncoding, "chunked is applied once and last (RFC 9112 §6.1)"}
	errCodingOld    = &Error{400, reason.TransferEncodingInHTTP10, "HTTP/1.0 knows no transfer codings (RFC 9112 §6.1)"}
	errEmptyLines   = &Error{400, reason.TooManyEmptyLines, "more empty lines than limits.IdleInBufferMax before a request (RFC 9112 §2.2)"}
	errMethod       = &Error{400, reason.BadMethod, "a method is a token and one space (RFC 9112 §3.1)"}
	errMethodLong   = &Error{501, reason.UnknownMethod, "no method is that long (RFC 9112 §3)"}
	errConnect      = &Error{501, reason.ConnectNotSupported, "CONNECT: this proxy opens no tunnels for clients (RFC 9110 §9.3.6)"}
	errTarget       = &Error{400, reason.BadTarget, "the request-target is none of the forms of RFC 9112 §3.2"}
	errTargetLong   = &Error{414, reason.TargetTooLong, "a request-target longer than limits.target (RFC 9112 §3)"}
	errHostMissing  = &Error{400, reason.NoHost, "an HTTP/1.1 request without Host (RFC 9112 §3.2)"}
	errHostTwice    = &Error{400, reason.SeveralHosts, "more than one Host (RFC 9112 §3.2)"}
	errHost         = &Error{400, reason.BadHost, "Host or authority is not a host name or address with an optional port (RFC 9112 §3.2)"}
	errStatusLine   = &Error{502, reason.BadStatusLine, "a status line is HTTP-version SP 3DIGIT SP reason (RFC 9112 §4)"}
	errNotUpgraded  = &Error{502, reason.BadUpgrade, "101 without Connection: upgrade and Upgrade (RFC 9110 §7.8)"}
	errChunkSize    = &Error{400, reason.BadChunkSize, "a chunk size is 1 to 16 hexadecimal digits, below 2^63 (RFC 9112 §7.1)"}
	errChunkLine    = &Error{400, reason.ChunkLineTooLong, "a chunk-size line longer than limits.ChunkLineMax (RFC 9112 §7.1.1)"}
	errChunkExt     = &Error{400, reason.BadChunkExtension, "a chunk extension starts with a semicolon and has no control bytes (RFC 9112 §7.1.1)"}
	errChunkExtMany = &Error{400, reason.ChunkExtensionsTooLarge, "more chunk extensions than content (RFC 9112 §7.1.1)"}
	errChunkEnd     = &Error{400, reason.BadChunkEnd, "chunk data is followed by CRLF (RFC 9112 §7.1)"}
	errTrailerBytes = &Error{400, reason.TrailersTooLarge, "a trailer section longer than limits.head (RFC 9112 §7.1.2)"}
)
