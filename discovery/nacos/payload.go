package nacos

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A payload is the only message of the interface, in both directions:
//
//	message Payload  { Metadata metadata = 2; google.protobuf.Any body = 3; }
//	message Metadata { string type = 3; map<string, string> headers = 7; string clientIp = 8; }
//
// where the body's value is the JSON of what type names.
type payload struct {
	kind     string            // the type
	headers  map[string]string // sent only
	clientIP string            // sent only
	body     []byte
}

// messageMax bounds a message: about 100,000 instances.
const messageMax = 64 << 20

var errWire = errors.New("a message that is not Nacos's")

// Protocol buffers, as far as they are used here: a field is a varint of number and type,
// and, of type 2, a length and that many bytes.
func appendField(b []byte, number int, value []byte) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|2)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// frame returns p as gRPC sends it: after a byte that says that it is not compressed, and
// its length.
func (p payload) frame() []byte {
	meta := appendField(nil, 3, []byte(p.kind))
	for name, value := range p.headers {
		entry := appendField(nil, 1, []byte(name))
		meta = appendField(meta, 7, appendField(entry, 2, []byte(value)))
	}
	if p.clientIP != "" {
		meta = appendField(meta, 8, []byte(p.clientIP))
	}
	out := make([]byte, 5, 5+len(meta)+len(p.body)+32)
	out = appendField(out, 2, meta)
	out = appendField(out, 3, appendField(nil, 2, p.body))
	binary.BigEndian.PutUint32(out[1:], uint32(len(out)-5))
	return out
}

// readPayload reads one framed message. At the end of the stream the error is io.EOF.
func readPayload(r io.Reader) (payload, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return payload{}, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	switch {
	case head[0] != 0:
		return payload{}, fmt.Errorf("%w: compressed", errWire)
	case size > messageMax:
		return payload{}, fmt.Errorf("%w: %d bytes", errWire, size)
	}
	var message bytes.Buffer // grows with what arrives, not with what was promised
	if _, err := io.CopyN(&message, r, int64(size)); err != nil {
		return payload{}, io.ErrUnexpectedEOF
	}
	return parsePayload(message.Bytes())
}

// parsePayload reads a message; the result shares its bytes.
func parsePayload(message []byte) (p payload, err error) {
	err = fields(message, func(number uint64, value []byte) error {
		switch number {
		case 2:
			return fields(value, func(number uint64, value []byte) error {
				if number == 3 {
					p.kind = string(value)
				}
				return nil
			})
		case 3:
			return fields(value, func(number uint64, value []byte) error {
				if number == 2 {
					p.body = value
				}
				return nil
			})
		}
		return nil
	})
	if err == nil && p.kind == "" {
		err = fmt.Errorf("%w: without a type", errWire)
	}
	return p, err
}

// fields calls f for each field that is a string of bytes and skips the others.
func fields(b []byte, f func(number uint64, value []byte) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return errWire
		}
		b = b[n:]
		size := uint64(0)
		switch tag & 7 {
		case 0:
			_, n = binary.Uvarint(b)
			if n <= 0 {
				return errWire
			}
			size = uint64(n)
		case 1:
			size = 8
		case 2:
			size, n = binary.Uvarint(b)
			if n <= 0 {
				return errWire
			}
			b = b[n:]
		case 5:
			size = 4
		default:
			return errWire
		}
		if size > uint64(len(b)) {
			return errWire
		}
		if tag&7 == 2 {
			if err := f(tag>>3, b[:size]); err != nil {
				return err
			}
		}
		b = b[size:]
	}
	return nil
}
