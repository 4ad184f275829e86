// Package http2 is the HTTP/2 codec of both sides: frames, settings, HPACK, and heads from bytes to
// a message.Request or message.Response and back. It is to HTTP/2 what package http1 is to
// HTTP/1.1: it does no I/O, has no clock, and neither locks nor waits. Which streams are open,
// and who may send how much, is for the multiplexer above it.
//
// A client that asks for https://a.example/ begins its first stream with these 23 bytes:
//
//	00 00 0e             a payload of 14 bytes
//	01                   HEADERS
//	05                   END_STREAM (no content follows) and END_HEADERS (the block is whole)
//	00 00 00 01          stream 1
//	82                   :method: GET         entry 2 of the static table
//	87                   :scheme: https       entry 7
//	84                   :path: /             entry 4
//	41                   :authority:          the name of entry 1, and the value that follows;
//	                                          both go into the table, as entry 62
//	   09 61 2e 65 78 61 6d 70 6c 65          9 bytes: a.example
//
// The next such request needs four bytes after its header: 82 87 84 be, where be is entry 62. So
// a block can be read only by who has read all blocks before it. That is why a block is always
// decoded to its end, even for a request that is refused, and why an error in it ends the
// connection.
//
// Reading goes like this. Next cuts a frame off what was read. The payload of HEADERS, with
// those of the CONTINUATION frames behind it, is a block. A Decoder makes a head of it:
//
//	f, n, err := http2.Next(in, http2.FrameSizeMin)
//	...
//	room, err = decoder.Request(room[:0], f.Payload, f.EndStream(), &request)
//
// Writing begins with BeginHeaders, lets an Encoder append the block, and ends with
// FinishHeaders, which cuts it where it is too long for one frame.
//
// Like http1 it refuses what two readers could understand in two ways; what RFC 9113 calls
// malformed is the fault of the stream, and the connection goes on.
package http2
