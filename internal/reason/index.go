package reason

// Reasons have numbers, so that they can be counted without a map. A number means the same
// reason within one run of the program only; what leaves the program is the word.

// all are the reasons above, by number. A test compares it with the constants.
var all = [...]string{
	NoRoute, MethodNotAllowed, BadPath, LastHop, UnknownService, TooManyServices, NoEndpoint,
	Overloaded, Exhausted, Stopping, InternalError, EndpointBusy, ConnectFailed, ConnectTimeout,
	EndpointTimeout, EndpointEjected, EndpointClosed, EndpointReset, Status, UnexpectedUpgrade,
	TooManyInterimResponses, ResponseHeadTooLarge, TunnelIdle, ClientGone, ClientTimeout,
	HeadTimeout, ContentTooLarge, BadContent, AmbiguousFraming, BadChunkEnd, BadChunkExtension,
	BadChunkSize, BadContentLength, BadFieldName, BadFieldValue, BadHost, BadLineEnd, BadMethod,
	BadStatusLine, BadTarget, BadTransferEncoding, BadUpgrade, BadVersion, ChunkExtensionsTooLarge,
	ChunkLineTooLong, ConnectNotSupported, HeadTooLarge, NoHost, ObsFold, SeveralContentLengths,
	SeveralHosts, TargetTooLong, TooManyConnectionOptions, TooManyEmptyLines, TooManyFields,
	TrailersTooLarge, TransferEncodingInHTTP10, UnknownMethod, UnknownTransferCoding,
	VersionNotSupported, EndpointRefused, Overtaken, NoTunnel, GRPCUnavailable, DeadlineExceeded,
	BadGRPCTimeout, OriginNotAllowed, ServiceFull, QueueTimeout,
}

// Count is how many reasons there are.
const Count = len(all)

// Index is the number of a reason, from 0; Count for a word that is none. It takes some tens
// of nanoseconds, which only exchanges and attempts that failed spend.
func Index(word string) int {
	for i, known := range all {
		if known == word {
			return i
		}
	}
	return Count
}

// At is the reason of that number; "other" for Count.
func At(i int) string {
	if i < Count {
		return all[i]
	}
	return "other"
}
