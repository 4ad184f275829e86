// Package reason names every reason why an exchange or an attempt did not go well. Clients
// find it in the field Poise-Reason, operators in the access log, so a word never changes
// its meaning. docs/life-of-a-request.md says what each means and whose fault it is.
package reason

// The request cannot be routed or served.
const (
	NoRoute          = "no-route"
	MethodNotAllowed = "method-not-allowed"
	BadPath          = "bad-path"
	OriginNotAllowed = "origin-not-allowed"
	LastHop          = "last-hop"
	UnknownService   = "unknown-service"
	TooManyServices  = "too-many-services"
	NoEndpoint       = "no-endpoint"
	Overloaded       = "overloaded"
	ServiceFull      = "service-full"
	QueueTimeout     = "queue-timeout"
	Exhausted        = "exhausted"
	Stopping         = "stopping"
	InternalError    = "internal-error"
)

// The attempt at an endpoint failed.
const (
	EndpointBusy            = "endpoint-busy"
	ConnectFailed           = "connect-failed"
	ConnectTimeout          = "connect-timeout"
	EndpointTimeout         = "endpoint-timeout"
	EndpointEjected         = "endpoint-ejected"
	EndpointClosed          = "endpoint-closed"
	EndpointReset           = "endpoint-reset"
	EndpointRefused         = "endpoint-refused"
	Status                  = "status"
	Overtaken               = "overtaken"
	UnexpectedUpgrade       = "unexpected-upgrade"
	NoTunnel                = "no-tunnel"
	TooManyInterimResponses = "too-many-interim-responses"
	ResponseHeadTooLarge    = "response-head-too-large"
	TunnelIdle              = "tunnel-idle"
	GRPCUnavailable         = "grpc-unavailable"
	DeadlineExceeded        = "deadline-exceeded"
)

// The client left, was too slow, or has sent too much.
const (
	ClientGone      = "client-gone"
	ClientTimeout   = "client-timeout"
	HeadTimeout     = "head-timeout"
	ContentTooLarge = "content-too-large"
	BadContent      = "bad-content"
	BadGRPCTimeout  = "bad-grpc-timeout"
)

// The codec refuses the message.
const (
	AmbiguousFraming         = "ambiguous-framing"
	BadChunkEnd              = "bad-chunk-end"
	BadChunkExtension        = "bad-chunk-extension"
	BadChunkSize             = "bad-chunk-size"
	BadContentLength         = "bad-content-length"
	BadFieldName             = "bad-field-name"
	BadFieldValue            = "bad-field-value"
	BadHost                  = "bad-host"
	BadLineEnd               = "bad-line-end"
	BadMethod                = "bad-method"
	BadStatusLine            = "bad-status-line"
	BadTarget                = "bad-target"
	BadTransferEncoding      = "bad-transfer-encoding"
	BadUpgrade               = "bad-upgrade"
	BadVersion               = "bad-version"
	ChunkExtensionsTooLarge  = "chunk-extensions-too-large"
	ChunkLineTooLong         = "chunk-line-too-long"
	ConnectNotSupported      = "connect-not-supported"
	HeadTooLarge             = "head-too-large"
	NoHost                   = "no-host"
	ObsFold                  = "obs-fold"
	SeveralContentLengths    = "several-content-lengths"
	SeveralHosts             = "several-hosts"
	TargetTooLong            = "target-too-long"
	TooManyConnectionOptions = "too-many-connection-options"
	TooManyEmptyLines        = "too-many-empty-lines"
	TooManyFields            = "too-many-fields"
	TrailersTooLarge         = "trailers-too-large"
	TransferEncodingInHTTP10 = "transfer-encoding-in-http-1.0"
	UnknownMethod            = "unknown-method"
	UnknownTransferCoding    = "unknown-transfer-coding"
	VersionNotSupported      = "version-not-supported"
)
