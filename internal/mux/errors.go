package mux

// What peers do wrong that package http2 cannot see, since it takes the state of the connection.

import (
	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/reason"
)

var (
	errContinuation = fatal(http2.ProtocolError, "CONTINUATION follows HEADERS of its stream, and nothing else does (RFC 9113 §6.10)")
	errUnsettled    = fatal(http2.ProtocolError, "the first frame is SETTINGS (RFC 9113 §3.4)")
	errIdleStream   = fatal(http2.ProtocolError, "a frame of a stream that was never opened (RFC 9113 §5.1)")
	errClosedStream = fatal(http2.StreamClosed, "a head on a stream that is closed (RFC 9113 §5.1)")
	errStreamID     = fatal(http2.ProtocolError, "clients open streams of odd numbers (RFC 9113 §5.1.1)")
	errCalm         = fatal(http2.EnhanceYourCalm, "too many frames that cost more than they ask for (RFC 9113 §10.5)")
	errSlow         = fatal(http2.EnhanceYourCalm, "a head that has begun does not come")
	errFlow         = fatal(http2.FlowControlError, "more than the window, or a window above 2^31-1 (RFC 9113 §6.9)")

	errContentLength = malformed(reason.BadContentLength, "content-length is not the length of the content (RFC 9113 §8.1.1)")
	errTrailers      = malformed(reason.BadFieldName, "a trailer section that is none, or does not end the stream (RFC 9113 §8.1)")
	errInterims      = malformed(reason.TooManyInterimResponses, "more interim responses than can wait")
	errEarlyData     = malformed(reason.BadStatusLine, "content before the final head of a response (RFC 9113 §8.1)")
)

func fatal(code http2.Code, text string) *http2.Error {
	return &http2.Error{Code: code, Connection: true, Text: text}
}

func malformed(why, text string) *http2.Error {
	return &http2.Error{Code: http2.ProtocolError, Reason: why, Text: text}
}
