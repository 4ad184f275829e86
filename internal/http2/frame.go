package http2

// Frames as they are read (RFC 9113 §4 and §6). All that can be judged without the state of
// the connection is judged here: lengths, padding, which frames belong to a stream. Whether a
// stream is open is for the caller.

import "encoding/binary"

// A FrameType says what a frame is. Frames of types above FrameContinuation are to be
// ignored (RFC 9113 §4.1).
type FrameType uint8

// The types of RFC 9113 §6.
const (
	FrameData         FrameType = 0x0
	FrameHeaders      FrameType = 0x1
	FramePriority     FrameType = 0x2
	FrameReset        FrameType = 0x3
	FrameSettings     FrameType = 0x4
	FramePushPromise  FrameType = 0x5
	FramePing         FrameType = 0x6
	FrameGoAway       FrameType = 0x7
	FrameWindowUpdate FrameType = 0x8
	FrameContinuation FrameType = 0x9
)

// Flags are the flags of a frame; what a bit means depends on the type.
type Flags uint8

// The flags of RFC 9113 §6.
const (
	FlagEndStream  Flags = 0x1  // FrameData, FrameHeaders
	FlagAck        Flags = 0x1  // FrameSettings, Ping
	FlagEndHeaders Flags = 0x4  // FrameHeaders, FrameContinuation
	FlagPadded     Flags = 0x8  // FrameData, FrameHeaders
	FlagPriority   Flags = 0x20 // FrameHeaders
)

// Sizes that RFC 9113 fixes.
const (
	HeaderLen     = 9         // of every frame, before its payload (§4.1)
	FrameSizeMin  = 1 << 14   // the least SETTINGS_MAX_FRAME_SIZE, and its default (§6.5.2)
	FrameSizeMax  = 1<<24 - 1 // the greatest (§6.5.2)
	WindowMax     = 1<<31 - 1 // of a stream or a connection (§6.9.1)
	WindowDefault = 1<<16 - 1 // of a stream, until SETTINGS say otherwise, and of a connection (§6.9.2)
)

// Preface is what a client's connection begins with, before SETTINGS (RFC 9113 §3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// HasPreface looks for the preface at the start of b. ok: it is there, all of it. The error
// is an *Error: something else is there, however much of b has come.
func HasPreface(b []byte) (ok bool, err error) {
	n := min(len(b), len(Preface))
	if string(b[:n]) != Preface[:n] {
		return false, errPreface
	}
	return n == len(Preface), nil
}

// A Frame is one frame. Its payload is a slice of what it was read from.
type Frame struct {
	Type   FrameType
	Flags  Flags
	Stream uint32 // 0: the connection
	// Payload is what the frame is for: content, a fragment of a field block, else all of it.
	// Padding and priority are cut off.
	Payload []byte
	// Size is the length on the wire, with padding: what flow control counts (RFC 9113 §6.9.1).
	Size int
}

// EndStream reports whether f, of type FrameData or FrameHeaders, is the last of its sender on
// the stream.
func (f *Frame) EndStream() bool { return f.Flags&FlagEndStream != 0 }

// EndHeaders reports whether the field block of f, of type FrameHeaders or FrameContinuation,
// ends with it.
func (f *Frame) EndHeaders() bool { return f.Flags&FlagEndHeaders != 0 }

// Ack reports whether f, of type FrameSettings or FramePing, acknowledges ours.
func (f *Frame) Ack() bool { return f.Flags&FlagAck != 0 }

// Code is why the stream of f, of type FrameReset, ends.
func (f *Frame) Code() Code { return Code(binary.BigEndian.Uint32(f.Payload)) }

// Increment is what f, of type FrameWindowUpdate, adds to the window, from 1 to WindowMax.
func (f *Frame) Increment() uint32 { return binary.BigEndian.Uint32(f.Payload) & WindowMax }

// Last is what f, of type FrameGoAway, says: our streams above last were not processed, and may
// be sent again whatever their method. debug is text for people, and of the peer's choice.
func (f *Frame) Last() (last uint32, code Code, debug []byte) {
	return binary.BigEndian.Uint32(f.Payload) & WindowMax, Code(binary.BigEndian.Uint32(f.Payload[4:])), f.Payload[8:]
}

// Next reads the frame at the start of b. n is its length with its header; 0 without an
// error: b does not hold all of it, read more and call again. If b has HeaderLen bytes, f then
// has what they say, and no payload. most is the longest payload that our SETTINGS allow, so
// that HeaderLen+most bytes hold any frame.
//
// The error is an *Error. One of the connection comes as soon as b shows it. One of the stream
// comes with f and n, for a frame that is to be skipped.
func Next(b []byte, most int) (f Frame, n int, err error) {
	f, n, e := next(b, most)
	if e != nil {
		return f, n, e
	}
	return f, n, nil
}

func next(b []byte, most int) (f Frame, n int, _ *Error) {
	if len(b) < HeaderLen {
		return f, 0, nil
	}
	f.Size = int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	f.Type, f.Flags = FrameType(b[3]), Flags(b[4])
	f.Stream = binary.BigEndian.Uint32(b[5:]) & WindowMax // the highest bit is reserved (§4.1)
	if f.Size > most {
		return f, 0, errFrameSize
	}
	if f.Type != FrameData {
		if err := f.checkHeader(); err != nil {
			return f, 0, err
		}
	} else if f.Stream == 0 {
		return f, 0, errStreamZero
	}
	if n = HeaderLen + f.Size; len(b) < n {
		return f, 0, nil
	}
	f.Payload = b[HeaderLen:n:n]
	switch f.Type {
	case FrameData:
		if f.Flags&FlagPadded == 0 {
			return f, n, nil
		}
		return f, n, f.unpad()
	case FrameHeaders:
		return f, n, f.cutHeaders()
	case FramePriority, FrameWindowUpdate:
		return f, n, f.checkPayload()
	}
	return f, n, nil
}

// checkHeader judges the frame by its header alone: errors of the connection.
func (f *Frame) checkHeader() *Error {
	switch f.Type {
	case FrameHeaders, FramePriority, FrameReset, FrameContinuation:
		if f.Stream == 0 {
			return errStreamZero
		}
	case FrameSettings, FramePing, FrameGoAway:
		if f.Stream != 0 {
			return errStreamNotZero
		}
	}
	switch {
	case f.Type == FramePushPromise:
		return errPush
	case f.Type == FrameReset && f.Size != 4:
		return errResetSize
	case f.Type == FrameSettings && f.Ack() && f.Size != 0:
		return errSettingsAck
	case f.Type == FrameSettings && f.Size%settingLen != 0:
		return errSettingsSize
	case f.Type == FramePing && f.Size != 8:
		return errPingSize
	case f.Type == FrameGoAway && f.Size < 8:
		return errGoAwaySize
	case f.Type == FrameWindowUpdate && f.Size != 4:
		return errUpdateSize
	}
	return nil
}

// checkPayload judges what is in a FramePriority or a FrameWindowUpdate.
func (f *Frame) checkPayload() *Error {
	switch {
	case f.Type == FramePriority && f.Size != priorityLen:
		return errPrioritySize
	case f.Type == FramePriority && f.itself(f.Payload):
		return errPriorityItself
	case f.Type == FrameWindowUpdate && f.Increment() == 0 && f.Stream == 0:
		return errUpdateZeroConn
	case f.Type == FrameWindowUpdate && f.Increment() == 0:
		return errUpdateZero
	}
	return nil
}

// priorityLen is the length of a priority: the stream it depends on, and a weight.
const priorityLen = 5

// itself reports whether the priority p has the stream depend on itself. Otherwise priorities
// are ignored, as RFC 9113 §5.3.2 advises.
func (f *Frame) itself(p []byte) bool {
	return binary.BigEndian.Uint32(p)&WindowMax == f.Stream
}

// cutHeaders cuts padding and priority off a FrameHeaders.
func (f *Frame) cutHeaders() *Error {
	if f.Flags&FlagPadded != 0 {
		if err := f.unpad(); err != nil {
			return err
		}
	}
	if f.Flags&FlagPriority == 0 {
		return nil
	}
	if len(f.Payload) < priorityLen {
		return errHeadersShort
	}
	if f.itself(f.Payload) {
		return errHeadersItself
	}
	f.Payload = f.Payload[priorityLen:]
	return nil
}

// unpad cuts the padding off, and the byte before the payload that says how much there is.
func (f *Frame) unpad() *Error {
	p := f.Payload
	if len(p) == 0 {
		return errPaddingMissing
	}
	pad := int(p[0])
	if p = p[1:]; pad > len(p) {
		return errPadding
	}
	f.Payload = p[: len(p)-pad : len(p)-pad]
	return nil
}
