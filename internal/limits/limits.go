// Package limits names the bounds of the data path in one place: those that are fixed, and
// the defaults of those that a configuration may change.
package limits

// Bounds of one connection and one exchange.
const (
	ChunkLineMax    = 4 << 10  // a chunk-size line with its extensions (RFC 9112 §7.1.1)
	RelayBytes      = 16 << 10 // one buffer of a relay, and the first one for a response
	ReplayBytesMax  = 64 << 10 // request content kept so that an attempt can be repeated
	IdleInBufferMax = 4        // empty lines skipped before a request line (RFC 9112 §2.2)
	OptionsMax      = 128      // options of Connection that are obeyed (RFC 9110 §7.6.1)
)

// Defaults of Head.
const (
	HeadBytesMax   = 64 << 10
	FieldsMax      = 128
	TargetBytesMax = 32 << 10
)

// Head bounds a request or response head. It is not modified after it has been published.
type Head struct {
	Bytes  int // start line, fields and line ends; a trailer section is held to it, too
	Fields int // of a head or of a trailer section
	Target int // bytes of a request-target; at most Bytes
}

// Default returns the bounds that hold where no configuration says others.
func Default() Head {
	return Head{Bytes: HeadBytesMax, Fields: FieldsMax, Target: TargetBytesMax}
}
