package http1

// Writing heads and chunks. Everything is appended to a buffer of the caller's; nothing is
// checked, because what goes into a head has been checked when it was parsed or configured.

import (
	"strconv"

	"github.com/poise-lb/poise/internal/message"
)

// written are the fields that AppendRequest and AppendResponse write themselves. It is read
// only.
var written = [256]bool{
	message.Host: true, message.ContentLength: true, message.TransferEncoding: true,
	message.Connection: true, message.Upgrade: true, message.TE: true,
}

// AppendRequest appends the head of r, as HTTP/1.1 and in origin form (or asterisk form,
// if that is the path). It writes Host first, then the fields that are not dropped, then
// its own: the framing by Body and Length, Connection with Upgrade if r.Upgrade is not
// nil, TE: trailers if TrailersOK, Connection: close unless KeepAlive. KeepAlive means the
// connection written to: set it before, what was parsed is the client's wish.
//
// Trailer goes on only with chunked content. Nothing is checked: what is put into a head
// must have been checked before (message.ValidName, ValidValue).
func AppendRequest(dst []byte, r *message.Request) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	if len(r.Path) == 0 {
		dst = append(dst, '/')
	}
	dst = append(dst, r.Path...)
	if r.Query != nil {
		dst = append(dst, '?')
		dst = append(dst, r.Query...)
	}
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, r.Host...)
	dst = append(dst, "\r\n"...)
	dst = appendFields(dst, r.Fields, r.Body == message.Chunked)
	switch r.Body {
	case message.Length:
		dst = appendLength(dst, r.Length)
	case message.Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	upgrade := r.Upgrade != nil
	if upgrade || r.TrailersOK || !r.KeepAlive {
		dst = append(dst, "Connection: "...)
		dst = appendOption(dst, !r.KeepAlive, "close")
		dst = appendOption(dst, upgrade, "Upgrade")
		dst = appendOption(dst, r.TrailersOK, "TE")
		dst = append(dst[:len(dst)-2], "\r\n"...)
	}
	if upgrade {
		dst = appendField(dst, "Upgrade", r.Upgrade)
	}
	if r.TrailersOK {
		dst = append(dst, "TE: trailers\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// ResponseTo is what AppendResponse needs to know of the client's side.
type ResponseTo struct {
	Minor uint8 // of the client's request: HTTP/1.Minor
	Close bool  // the connection is closed after this response
	Head  bool  // the request was HEAD
}

// AppendResponse appends the head of r, as HTTP/1.1. It writes the fields that are not
// dropped, then its own: the framing by Body and Length, Connection, and Upgrade with
// status 101 and 426 (elsewhere it would advertise what this proxy does not do).
//
// Chunked must not be asked of it for a client of HTTP/1.0, nor an interim response.
// Content until the end of the connection implies Close. In answer to HEAD, and with 304,
// Content-Length is passed on as the fields tell it, else as Body and Length do. A final
// response with NoBody gets Content-Length: 0 where the client would wait for content.
func AppendResponse(dst []byte, r *message.Response, to ResponseTo) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = append(dst, '0'+byte(r.Status/100%10), '0'+byte(r.Status/10%10), '0'+byte(r.Status%10), ' ')
	dst = append(dst, r.Reason...)
	dst = append(dst, "\r\n"...)
	dst = appendFields(dst, r.Fields, r.Body == message.Chunked)
	interim := r.Status < 200
	untilClose := false
	switch {
	case interim || r.Status == 204:
	case to.Head || r.Status == 304:
		dst = appendTold(dst, r)
	case r.Body == message.NoBody:
		dst = appendLength(dst, 0)
	case r.Body == message.Length:
		dst = appendLength(dst, r.Length)
	case r.Body == message.Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	default:
		untilClose = true
	}
	upgrade := r.Upgrade != nil && (r.Status == 101 || r.Status == 426)
	shut := !interim && (to.Close || untilClose)
	stay := !interim && !shut && to.Minor == 0
	if upgrade || shut || stay {
		dst = append(dst, "Connection: "...)
		dst = appendOption(dst, shut, "close")
		dst = appendOption(dst, stay, "keep-alive")
		dst = appendOption(dst, upgrade, "Upgrade")
		dst = append(dst[:len(dst)-2], "\r\n"...)
	}
	if upgrade {
		dst = appendField(dst, "Upgrade", r.Upgrade)
	}
	return append(dst, "\r\n"...)
}

// appendTold writes the length of content that is not sent (RFC 9110 §8.6).
func appendTold(dst []byte, r *message.Response) []byte {
	if told, ok := message.GetKind(r.Fields, message.ContentLength); ok {
		return appendField(dst, "Content-Length", told)
	}
	if r.Body == message.Length {
		return appendLength(dst, r.Length)
	}
	return dst
}

func appendFields(dst []byte, fields []message.Field, trailers bool) []byte {
	for i := range fields {
		f := &fields[i]
		if f.Drop || written[f.Kind] || f.Kind == message.Trailer && !trailers {
			continue
		}
		dst = append(dst, f.Name...)
		dst = append(dst, ": "...)
		dst = append(dst, f.Value...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

func appendField(dst []byte, name string, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

func appendLength(dst []byte, n int64) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, "\r\n"...)
}

// appendOption appends an element of a list, with the separator after it.
func appendOption(dst []byte, yes bool, option string) []byte {
	if !yes {
		return dst
	}
	dst = append(dst, option...)
	return append(dst, ", "...)
}

// ChunkOverhead is the most that a chunk adds to its data: a size in hex and two line ends.
const ChunkOverhead = 32

// AppendChunk appends data as one chunk (RFC 9112 §7.1). Without data it appends nothing,
// for an empty chunk would be the last.
func AppendChunk(dst, data []byte) []byte {
	if len(data) == 0 {
		return dst
	}
	dst = AppendChunkSize(dst, len(data))
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}

// AppendChunkSize appends the line before a chunk of n > 0 bytes, for a caller that writes the
// data and the CRLF after it from elsewhere.
func AppendChunkSize(dst []byte, n int) []byte {
	dst = strconv.AppendUint(dst, uint64(n), 16)
	return append(dst, "\r\n"...)
}

// AppendLastChunk appends the end of chunked content, with the trailers that are not
// dropped.
func AppendLastChunk(dst []byte, trailers []message.Field) []byte {
	dst = append(dst, "0\r\n"...)
	for i := range trailers {
		if f := &trailers[i]; !f.Drop {
			dst = append(dst, f.Name...)
			dst = append(dst, ": "...)
			dst = append(dst, f.Value...)
			dst = append(dst, "\r\n"...)
		}
	}
	return append(dst, "\r\n"...)
}
