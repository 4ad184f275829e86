// Package limits names every fixed bound of the data path in one place.
package limits

// Bounds of one connection and one exchange.
const (
	HeadBytesMax    = 64 << 10 // a request or response head; above: 431, or 502 from an endpoint
	FieldsMax       = 128      // fields of one head or trailer section
	TargetBytesMax  = 32 << 10 // a request-target; above: 414
	ChunkLineMax    = 4 << 10  // a chunk-size line with its extensions (RFC 9112 §7.1.1)
	RelayBytes      = 16 << 10 // one buffer of a relay, and the first one for a response
	ReplayBytesMax  = 64 << 10 // request content kept so that an attempt can be repeated
	InterimMax      = 8        // interim (1xx) responses before a final one
	IdleInBufferMax = 4        // empty lines skipped before a request line (RFC 9112 §2.2)
)
