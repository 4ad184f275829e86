package http2

// What is wrong, and how far it reaches. An error of a stream ends one request; an error of
// the connection ends all of them, because the two sides no longer agree on where a frame
// ends or what is in a table.

import "github.com/poise-lb/poise/internal/reason"

// A Code says why a stream or a connection ends (RFC 9113 §7). Codes above HTTP11Required
// mean nothing special and count as InternalError.
type Code uint32

// The codes of RFC 9113 §7.
const (
	NoError            Code = 0x0
	ProtocolError      Code = 0x1
	InternalError      Code = 0x2
	FlowControlError   Code = 0x3
	SettingsTimeout    Code = 0x4
	StreamClosed       Code = 0x5
	FrameSizeError     Code = 0x6
	RefusedStream      Code = 0x7
	Cancel             Code = 0x8
	CompressionError   Code = 0x9
	ConnectError       Code = 0xa
	EnhanceYourCalm    Code = 0xb
	InadequateSecurity Code = 0xc
	HTTP11Required     Code = 0xd
)

var codeNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
	"REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// String is the name of c in RFC 9113.
func (c Code) String() string {
	if int(c) >= len(codeNames) {
		return "unknown code"
	}
	return codeNames[c]
}

// An Error says what is wrong with a frame or a head. Its values are never modified.
type Error struct {
	// Code is what to tell the peer in RST_STREAM or GOAWAY.
	Code Code
	// Connection: the connection ends, with GOAWAY. Otherwise one stream does, and what was
	// used up of the bytes stays used up.
	Connection bool
	// Status is what to answer a client with instead of RST_STREAM, for a request that is
	// understood but not served; 0: reset the stream. It is 502 for a response's error.
	Status int
	// Reason is for machines, of package reason; empty for an error of the connection.
	Reason string

	Text string // for people, with the section that was broken
}

// Error is for people; it names the section that was broken.
func (e *Error) Error() string { return e.Code.String() + ": " + e.Text }

// fromEndpoint is e as the error of a response.
func (e *Error) fromEndpoint() *Error {
	if e.Connection {
		return e
	}
	c := *e
	c.Status = 502
	if e == errHeadLarge {
		c.Reason = reason.ResponseHeadTooLarge // the client's head is another one
	}
	return &c
}

// fatal makes an error of the connection.
func fatal(code Code, text string) *Error { return &Error{Code: code, Connection: true, Text: text} }

// malformed makes the error of a message that RFC 9113 §8.1.1 calls so: of its stream.
func malformed(why, text string) *Error {
	return &Error{Code: ProtocolError, Reason: why, Text: text}
}

// refused makes the error of a request that is answered with status.
func refused(status int, why, text string) *Error {
	return &Error{Code: ProtocolError, Status: status, Reason: why, Text: text}
}

// Errors of frames. What may be of the stream by RFC 9113, but is no accident of honest
// peers, is of the connection here where that is simpler (§5.4.1 allows it).
var (
	errFrameSize      = fatal(FrameSizeError, "a frame longer than SETTINGS_MAX_FRAME_SIZE (RFC 9113 §4.2)")
	errStreamZero     = fatal(ProtocolError, "a frame of a stream on stream 0 (RFC 9113 §6)")
	errStreamNotZero  = fatal(ProtocolError, "SETTINGS, PING or GOAWAY on a stream (RFC 9113 §6.5, §6.7, §6.8)")
	errPadding        = fatal(ProtocolError, "padding as long as the payload or longer (RFC 9113 §6.1, §6.2)")
	errPaddingMissing = fatal(FrameSizeError, "a padded frame without room for the length of its padding (RFC 9113 §4.2, §6.1)")
	errHeadersShort   = fatal(FrameSizeError, "HEADERS without room for the priority that it announces (RFC 9113 §4.2, §6.2)")
	errHeadersItself  = fatal(ProtocolError, "HEADERS of a stream that depends on itself (RFC 7540 §5.3.1)")
	errPriorityItself = &Error{Code: ProtocolError, Text: "PRIORITY of a stream that depends on itself (RFC 7540 §5.3.1)"}
	errPrioritySize   = &Error{Code: FrameSizeError, Text: "PRIORITY has 5 bytes (RFC 9113 §6.3)"}
	errResetSize      = fatal(FrameSizeError, "RST_STREAM has 4 bytes (RFC 9113 §6.4)")
	errSettingsSize   = fatal(FrameSizeError, "SETTINGS has 6 bytes for each setting (RFC 9113 §6.5)")
	errSettingsAck    = fatal(FrameSizeError, "an acknowledgement of SETTINGS is empty (RFC 9113 §6.5)")
	errPush           = fatal(ProtocolError, "PUSH_PROMISE, although push is not enabled (RFC 9113 §6.6, §8.4)")
	errPingSize       = fatal(FrameSizeError, "PING has 8 bytes (RFC 9113 §6.7)")
	errGoAwaySize     = fatal(FrameSizeError, "GOAWAY has at least 8 bytes (RFC 9113 §6.8)")
	errUpdateSize     = fatal(FrameSizeError, "WINDOW_UPDATE has 4 bytes (RFC 9113 §6.9)")
	errUpdateZero     = &Error{Code: ProtocolError, Text: "WINDOW_UPDATE by 0 (RFC 9113 §6.9)"}
	errUpdateZeroConn = fatal(ProtocolError, "WINDOW_UPDATE of the connection by 0 (RFC 9113 §6.9)")
	errPreface        = fatal(ProtocolError, "not the preface that a client begins with (RFC 9113 §3.4)")
)

// Errors of settings.
var (
	errSettingsMany    = fatal(EnhanceYourCalm, "more settings in one frame than any peer needs")
	errSettingPush     = fatal(ProtocolError, "SETTINGS_ENABLE_PUSH is 0 or 1, and 0 from a server (RFC 9113 §6.5.2)")
	errSettingWindow   = fatal(FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE is below 2^31 (RFC 9113 §6.5.2)")
	errSettingFrame    = fatal(ProtocolError, "SETTINGS_MAX_FRAME_SIZE is between 2^14 and 2^24-1 (RFC 9113 §6.5.2)")
	errSettingConnect  = fatal(ProtocolError, "SETTINGS_ENABLE_CONNECT_PROTOCOL is 0 or 1 (RFC 8441 §3)")
	errSettingTakeBack = fatal(ProtocolError, "SETTINGS_ENABLE_CONNECT_PROTOCOL is not taken back (RFC 8441 §3)")
)

// Errors of HPACK: the tables of both sides differ from here on (RFC 9113 §4.3).
var (
	errTruncated    = fatal(CompressionError, "a field block ends within a field (RFC 7541 §5)")
	errInteger      = fatal(CompressionError, "an integer of more than 28 bits (RFC 7541 §5.1)")
	errIndex        = fatal(CompressionError, "an index of no entry (RFC 7541 §2.3.3)")
	errSizeLate     = fatal(CompressionError, "a table's size changes within a field block (RFC 7541 §4.2)")
	errSizeAbove    = fatal(CompressionError, "a table larger than SETTINGS_HEADER_TABLE_SIZE (RFC 7541 §6.3)")
	errHuffman      = fatal(CompressionError, "a string that is no Huffman code, or has the wrong padding (RFC 7541 §5.2)")
	errHeadEnormous = fatal(EnhanceYourCalm, "a head of more than four times limits.head (RFC 9113 §10.5.1)")
)

// Errors of requests, responses and trailers alike.
var (
	errFieldName    = malformed(reason.BadFieldName, "a field name is a token in small letters (RFC 9113 §8.2.1)")
	errFieldValue   = malformed(reason.BadFieldValue, "a field value has a control byte, or whitespace around it (RFC 9113 §8.2.1)")
	errConnection   = malformed(reason.BadFieldName, "a field of the connection: Connection, Keep-Alive, Proxy-Connection, Transfer-Encoding or Upgrade (RFC 9113 §8.2.2)")
	errTE           = malformed(reason.BadFieldValue, "TE says trailers and nothing else, in requests only (RFC 9113 §8.2.2)")
	errPseudoLate   = malformed(reason.BadFieldName, "a pseudo-field behind a field (RFC 9113 §8.3)")
	errPseudoTwice  = malformed(reason.BadFieldName, "a pseudo-field stands twice (RFC 9113 §8.3)")
	errPseudo       = malformed(reason.BadFieldName, "a pseudo-field that is not of this kind of message (RFC 9113 §8.3)")
	errLength       = malformed(reason.BadContentLength, "Content-Length is one number below 2^63 (RFC 9110 §8.6)")
	errLengthTwice  = malformed(reason.SeveralContentLengths, "more than one Content-Length (RFC 9110 §8.6)")
	errLengthNot    = malformed(reason.BadContentLength, "content is announced, but the stream ends with the head (RFC 9113 §8.1.1)")
	errHeadLarge    = refused(431, reason.HeadTooLarge, "a head longer than limits.head (RFC 6585 §5)")
	errFieldsMany   = refused(431, reason.TooManyFields, "more fields than limits.fields (RFC 6585 §5)")
	errTrailerBytes = malformed(reason.TrailersTooLarge, "a trailer section longer than limits.head (RFC 9113 §10.5.1)")
)

// Errors of requests.
var (
	errMethodMissing = malformed(reason.BadMethod, "no :method (RFC 9113 §8.3.1)")
	errMethod        = malformed(reason.BadMethod, "a method is a token (RFC 9110 §9.1)")
	errMethodLong    = refused(501, reason.UnknownMethod, "no method is that long (RFC 9110 §9.1)")
	errSchemeMissing = malformed(reason.BadTarget, "no :scheme (RFC 9113 §8.3.1)")
	errScheme        = refused(400, reason.BadTarget, "a :scheme other than http and https (RFC 9113 §8.3.1)")
	errPathMissing   = malformed(reason.BadTarget, "no :path, or an empty one (RFC 9113 §8.3.1)")
	errPath          = refused(400, reason.BadTarget, "a :path that is neither an absolute path nor the * of OPTIONS (RFC 9113 §8.3.1)")
	errPathLong      = refused(414, reason.TargetTooLong, "a :path longer than limits.target (RFC 9110 §15.5.15)")
	errHostMissing   = refused(400, reason.NoHost, "neither :authority nor Host (RFC 9113 §8.3.1)")
	errHostEmpty     = malformed(reason.BadHost, "an :authority or Host that is empty (RFC 9113 §8.3.1)")
	errHostTwice     = malformed(reason.SeveralHosts, "more than one Host (RFC 9110 §7.2)")
	errHostDiffers   = malformed(reason.SeveralHosts, "Host differs from :authority (RFC 9113 §8.3.1)")
	errHost          = refused(400, reason.BadHost, ":authority or Host is not a host name or address with an optional port (RFC 9113 §8.3.1)")
	errConnect       = refused(501, reason.ConnectNotSupported, "CONNECT: this proxy opens no tunnels for clients (RFC 9110 §9.3.6)")
	errConnectTarget = malformed(reason.BadTarget, "CONNECT with :scheme or :path, or without :authority (RFC 9113 §8.5)")
	errProtocol      = malformed(reason.BadTarget, ":protocol that was not offered, without CONNECT, or no token (RFC 8441 §4)")
)

// Errors of responses.
var (
	errStatus        = malformed(reason.BadStatusLine, "a :status is three digits from 100 (RFC 9113 §8.3.2)")
	errStatusMissing = malformed(reason.BadStatusLine, "no :status (RFC 9113 §8.3.2)")
	errSwitching     = malformed(reason.BadUpgrade, "101, which HTTP/2 does not have (RFC 9113 §8.6)")
	errInterimEnd    = malformed(reason.BadStatusLine, "an interim response ends the stream (RFC 9113 §8.1)")
)
