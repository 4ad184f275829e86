package grpc

// The status of a call: seventeen numbers, each with a name.

import "strconv"

// A Code is a status of gRPC.
type Code uint8

// The codes of gRPC (grpc/grpc, doc/statuscodes.md).
const (
	OK Code = iota
	Cancelled
	Unknown
	InvalidArgument
	DeadlineExceeded
	NotFound
	AlreadyExists
	PermissionDenied
	ResourceExhausted
	FailedPrecondition
	Aborted
	OutOfRange
	Unimplemented
	Internal
	Unavailable
	DataLoss
	Unauthenticated

	Codes // how many there are
)

var codeNames = [Codes]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// String is the name as the documents of gRPC have it, "UNAVAILABLE" for instance; for a
// number that is none of gRPC, the number.
func (c Code) String() string {
	if c >= Codes {
		return strconv.Itoa(int(c))
	}
	return codeNames[c]
}

// Plus is c in a byte whose zero value means that there is none: its number plus one.
func (c Code) Plus() uint8 { return uint8(c) + 1 }

// Minus is the code of a byte that Plus has made; it is not zero.
func Minus(b uint8) Code { return Code(b - 1) }

// ParseCode reads a value of grpc-status: a number without leading zeros, at most 16.
func ParseCode(v []byte) (c Code, ok bool) {
	switch len(v) {
	case 1:
		c = Code(v[0] - '0')
		return c, c <= 9
	case 2:
		ones := v[1] - '0'
		return 10 + Code(ones), v[0] == '1' && 10+Code(ones) < Codes && ones <= 9
	}
	return 0, false
}

// AppendCode appends c as grpc-status has it.
func AppendCode(dst []byte, c Code) []byte { return strconv.AppendUint(dst, uint64(c), 10) }

// OfForeign is the code that clients see in a response without one, by its status in HTTP
// (grpc/grpc, doc/http-grpc-status-mapping.md).
func OfForeign(status int) Code {
	switch status {
	case 400:
		return Internal
	case 401:
		return Unauthenticated
	case 403:
		return PermissionDenied
	case 404:
		return Unimplemented
	case 429, 502, 503, 504:
		return Unavailable
	}
	return Unknown
}

// OfHTTP is the code of a response of this proxy that has this status in HTTP.
//
// For the statuses of other intermediaries, which know nothing of gRPC, clients have a table
// (grpc/grpc, doc/http-grpc-status-mapping.md). It is followed where it says the same; as this
// proxy knows more of its own responses, it says more:
//
//	status              here                  that table
//	504, 408            DEADLINE_EXCEEDED     UNAVAILABLE, UNKNOWN: time is over, so nobody repeats it
//	429, 413, 414, 431  RESOURCE_EXHAUSTED    UNAVAILABLE, UNKNOWN: to repeat it at once would be wrong
//	405, 501            UNIMPLEMENTED         UNKNOWN: there is no such method here, as with 404
//	all others          INTERNAL              UNKNOWN
func OfHTTP(status int) Code {
	switch status {
	case 401:
		return Unauthenticated
	case 403:
		return PermissionDenied
	case 404, 405, 501:
		return Unimplemented
	case 408, 504:
		return DeadlineExceeded
	case 413, 414, 429, 431:
		return ResourceExhausted
	case 502, 503:
		return Unavailable
	}
	return Internal
}
