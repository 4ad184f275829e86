package http2

// Heads as they are written. What belongs to the connection of the other side does not go on:
// those fields are dropped by message.DropHopByHop, or written anew from the head's flags.

import (
	"strconv"

	"github.com/poise-lb/poise/internal/message"
)

// written are the fields that are written anew, or that HTTP/2 does not have.
var written = [256]bool{
	message.Host: true, message.ContentLength: true, message.TransferEncoding: true, message.Connection: true,
	message.KeepAlive: true, message.ProxyConnection: true, message.Upgrade: true, message.TE: true,
}

// Request appends the block of a request's head: the pseudo-fields, content-length if Body is
// message.Length, te: trailers if TrailersOK, and the fields that are not dropped, with their
// names in small letters. schemeName is http or https. With the method CONNECT and an
// Upgrade, which is then :protocol, it is an extended CONNECT (RFC 8441 §4).
func (e *Encoder) Request(dst []byte, r *message.Request, schemeName string) []byte {
	dst = e.begin(dst)
	switch string(r.Method) {
	case "GET":
		dst = append(dst, indexed|staticGet)
	case "POST":
		dst = append(dst, indexed|staticPost)
	default:
		dst = appendString(append(dst, staticGet), r.Method)
	}
	if r.Upgrade != nil && string(r.Method) == "CONNECT" {
		dst = append(dst, notIndexed, byte(len(":protocol")))
		dst = append(dst, ":protocol"...)
		dst = appendString(dst, r.Upgrade)
	}
	if schemeName == "https" {
		dst = append(dst, indexed|staticHTTPS)
	} else {
		dst = append(dst, indexed|staticHTTP)
	}
	if len(r.Host) > 0 { // a client of HTTP/1.1 may leave it empty, which :authority may not be
		dst = appendString(append(dst, staticAuthority), r.Host)
	}
	dst = appendPath(dst, r)
	if r.Body == message.Length {
		dst = appendLength(dst, r.Length)
	}
	if r.TrailersOK {
		dst = append(dst, "\x00\x02te\x08trailers"...)
	}
	return e.fields(dst, r.Fields)
}

// appendPath appends :path: Path and Query as one string.
func appendPath(dst []byte, r *message.Request) []byte {
	if len(r.Path) <= 1 && r.Query == nil && (len(r.Path) == 0 || r.Path[0] == '/') {
		return append(dst, indexed|staticPath)
	}
	dst = append(dst, staticPath)
	size := max(len(r.Path), 1)
	if r.Query != nil {
		size += 1 + len(r.Query)
	}
	dst = appendInt(dst, 0, 7, uint32(size))
	if len(r.Path) == 0 {
		dst = append(dst, '/')
	}
	dst = append(dst, r.Path...)
	if r.Query != nil {
		dst = append(dst, '?')
		dst = append(dst, r.Query...)
	}
	return dst
}

// Response appends the block of a response's head: :status, content-length, and the fields
// that are not dropped, with their names in small letters. A reason phrase gets lost; 101
// must not be asked for. head: the request was HEAD.
//
// In answer to HEAD, and with 304, content-length is passed on as the fields tell it, else as
// Body and Length do. An interim response and 204 have none.
func (e *Encoder) Response(dst []byte, r *message.Response, head bool) []byte {
	dst = e.begin(dst)
	dst = appendStatus(dst, r.Status)
	switch {
	case r.Status < 200 || r.Status == 204:
	case head || r.Status == 304:
		if told, ok := message.GetKind(r.Fields, message.ContentLength); ok {
			dst = appendString(appendInt(dst, notIndexed, 4, uint32(staticOf[message.ContentLength])), told)
		} else if r.Body == message.Length {
			dst = appendLength(dst, r.Length)
		}
	case r.Body == message.Length:
		dst = appendLength(dst, r.Length)
	}
	return e.fields(dst, r.Fields)
}

// Trailers appends the block of a trailer section: the fields that are not dropped. Without
// one the block is empty, which no frame should carry: end the stream with FrameData then.
func (e *Encoder) Trailers(dst []byte, fields []message.Field) []byte {
	return e.fields(e.begin(dst), fields)
}

func (e *Encoder) fields(dst []byte, fields []message.Field) []byte {
	for i := range fields {
		if f := &fields[i]; !f.Drop && !written[f.Kind] {
			dst = e.field(dst, f)
		}
	}
	return dst
}

// appendStatus appends :status, by its index if it is one of the seven that have one.
func appendStatus(dst []byte, code int) []byte {
	switch code {
	case 200:
		return append(dst, indexed|staticStatus)
	case 204:
		return append(dst, indexed|(staticStatus+1))
	case 206:
		return append(dst, indexed|(staticStatus+2))
	case 304:
		return append(dst, indexed|(staticStatus+3))
	case 400:
		return append(dst, indexed|(staticStatus+4))
	case 404:
		return append(dst, indexed|(staticStatus+5))
	case 500:
		return append(dst, indexed|(staticStatus+6))
	}
	return append(dst, staticStatus, 3, '0'+byte(code/100%10), '0'+byte(code/10%10), '0'+byte(code%10))
}

func appendLength(dst []byte, n int64) []byte {
	var room [20]byte
	digits := strconv.AppendInt(room[:0], n, 10)
	return appendString(appendInt(dst, notIndexed, 4, uint32(staticOf[message.ContentLength])), digits)
}
