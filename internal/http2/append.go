package http2

// Frames as they are written. Everything is appended to a buffer of the caller's; nothing is
// checked: streams, windows and the size of content are the caller's to know.

import "encoding/binary"

// AppendHeader appends the header of a frame with a payload of n bytes, which the caller
// appends behind it.
func AppendHeader(dst []byte, n int, t FrameType, flags Flags, stream uint32) []byte {
	return append(dst, byte(n>>16), byte(n>>8), byte(n), byte(t), byte(flags),
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

// AppendData appends content as one FrameData; it is at most as long as the peer's frames may
// be. end: it is the last of the stream.
func AppendData(dst []byte, stream uint32, content []byte, end bool) []byte {
	dst = AppendHeader(dst, len(content), FrameData, endFlag(end), stream)
	return append(dst, content...)
}

func endFlag(end bool) Flags {
	if end {
		return FlagEndStream
	}
	return 0
}

// SetEndStream sets the flag of the FrameData or FrameHeaders whose header is at b[at:], which was
// meant not to be the last of its stream and turned out to be. A FrameContinuation never has it.
func SetEndStream(b []byte, at int) { b[at+4] |= byte(FlagEndStream) }

// BeginHeaders appends room for the header of a FrameHeaders. What is appended behind
// it is a field block, until FinishHeaders is called with len(dst) of before.
func BeginHeaders(dst []byte) []byte { return append(dst, make([]byte, HeaderLen)...) }

// FinishHeaders makes frames of the field block at dst[at+HeaderLen:]: FrameHeaders, and
// FrameContinuation where it is longer than most, the longest payload that the peer takes. They
// stand together, as RFC 9113 §4.3 demands, so nothing may be put between them.
func FinishHeaders(dst []byte, at int, stream uint32, end bool, most int) []byte {
	size := len(dst) - at - HeaderLen
	first := min(size, most)
	flags := endFlag(end)
	if first == size {
		flags |= FlagEndHeaders
	}
	AppendHeader(dst[:at], first, FrameHeaders, flags, stream)
	if first == size {
		return dst
	}
	// Rare: the block moves apart, from its end, so that no fragment is written over.
	more := (size - 1) / most // FrameContinuation
	dst = append(dst, make([]byte, more*HeaderLen)...)
	block := dst[at+HeaderLen:]
	for i := more; i > 0; i-- {
		from, to := i*most, min((i+1)*most, size)
		flags := Flags(0)
		if i == more {
			flags = FlagEndHeaders
		}
		copy(block[from+i*HeaderLen:], block[from:to])
		AppendHeader(block[:from+(i-1)*HeaderLen], to-from, FrameContinuation, flags, stream)
	}
	return dst
}

// AppendReset appends FrameReset.
func AppendReset(dst []byte, stream uint32, code Code) []byte {
	dst = AppendHeader(dst, 4, FrameReset, 0, stream)
	return binary.BigEndian.AppendUint32(dst, uint32(code))
}

// AppendPing appends FramePing, or with ack the answer to one, whose payload is returned. data has
// 8 bytes.
func AppendPing(dst, data []byte, ack bool) []byte {
	flags := Flags(0)
	if ack {
		flags = FlagAck
	}
	dst = AppendHeader(dst, 8, FramePing, flags, 0)
	return append(dst, data[:8]...)
}

// AppendGoAway appends FrameGoAway: streams of the peer above last are not processed. debug is for
// people and may be empty; nothing secret belongs there.
func AppendGoAway(dst []byte, last uint32, code Code, debug string) []byte {
	dst = AppendHeader(dst, 8+len(debug), FrameGoAway, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, last)
	dst = binary.BigEndian.AppendUint32(dst, uint32(code))
	return append(dst, debug...)
}

// AppendWindowUpdate appends FrameWindowUpdate: n bytes more, from 1 to WindowMax, of the stream,
// or of the connection if it is 0.
func AppendWindowUpdate(dst []byte, stream, n uint32) []byte {
	dst = AppendHeader(dst, 4, FrameWindowUpdate, 0, stream)
	return binary.BigEndian.AppendUint32(dst, n)
}
