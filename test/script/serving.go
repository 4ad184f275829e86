package script

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// errDone ends a program and the connection with it, as the script wants.
var errDone = errors.New("done")

// A serving is one run of a program.
type serving struct {
	endpoint *endpointActor
	wire     *wire
	request  *message
	recorded bool
	chunked  bool // how head announced the pieces
	last     bool // the connection cannot be used again
}

// checkStep finds mistakes when the script is read rather than in the middle of it.
func checkStep(step statement) error {
	word, rest := step.words[0], step.words[1:]
	var err error
	switch word {
	case "reply", "head", "interim":
		if len(rest) == 0 {
			return errors.New("no status")
		}
		_, err = parseOptions(rest[1:])
	case "end":
		_, err = parseOptions(rest)
	case "wait":
		_, err = parseDuration(rest)
	case "piece":
		if len(rest) == 2 && rest[0] == "bytes" {
			_, err = strconv.Atoi(rest[1])
		}
	case "raw", "early", "read", "continue", "hang", "close", "reset", "echo", "close-at-once", "reset-at-once":
	default:
		err = fmt.Errorf("%s: an endpoint cannot do that", word)
	}
	return err
}

// do runs one step. The request's content is read before the first step that answers.
func (s *serving) do(step statement) error {
	word, rest := step.words[0], step.words[1:]
	switch word {
	case "wait":
		d, _ := parseDuration(rest)
		s.endpoint.stage.Sleep(d)
		return nil
	case "early":
		s.recordOnce()
		return nil
	case "read":
		if err := s.wire.rest(s.request); err != nil {
			return err
		}
		s.endpoint.record(s.request)
		return nil
	case "continue":
		return s.write("HTTP/1.1 100 Continue\r\n\r\n", "")
	case "interim":
		o, _ := parseOptions(rest[1:])
		return s.write(encode("HTTP/1.1 "+rest[0]+" Interim", nil, o, true))
	}
	if !s.recorded {
		if err := s.wire.rest(s.request); err != nil {
			return err
		}
		s.recordOnce()
	}
	switch word {
	case "reply", "head":
		return s.reply(word, rest)
	case "piece":
		text := strings.Join(rest, "")
		if len(rest) == 2 && rest[0] == "bytes" {
			n, _ := strconv.Atoi(rest[1])
			text = pattern(n)
		}
		if s.chunked {
			text = encodeChunk(text)
		}
		return s.write("", text)
	case "raw":
		return s.write("", strings.Join(rest, ""))
	case "end":
		o, _ := parseOptions(rest)
		return s.write("", encodeEnd(o.trailers))
	case "hang", "echo":
		return s.listenOn(word == "echo")
	case "reset":
		s.wire.Abort()
	}
	return errDone // close, too
}

func (s *serving) recordOnce() {
	if !s.recorded {
		s.recorded = true
		s.endpoint.record(s.request)
	}
}

// pieceBytes is how much of a response is written at once: of one that the proxy does not take, only
// what it takes is worth copying.
const pieceBytes = 256 << 10

// write writes a head and its content, as much as fits with the head.
func (s *serving) write(head, content string) error {
	piece := content[:min(pieceBytes, len(content))]
	_, err := s.wire.Write([]byte(head + piece))
	for err == nil && len(piece) < len(content) {
		content = content[len(piece):]
		piece = content[:min(pieceBytes, len(content))]
		_, err = s.wire.Write([]byte(piece))
	}
	return err
}

func (s *serving) reply(word string, rest []string) error {
	o, _ := parseOptions(rest[1:])
	status := rest[0]
	method, _, _ := strings.Cut(s.request.start, " ")
	contentless := word == "head" || method == "HEAD" || status == "204" || status == "304"
	silent := status < "200" || status == "204" || status == "304"
	if word == "reply" && o.content == nil && o.chunks == nil && o.length < 0 && !silent {
		o.content = new(string)
	}
	version := "HTTP/1.1 "
	if o.old {
		version = "HTTP/1.0 "
	}
	s.chunked = o.chunked
	s.last = o.untilClose || o.old && !slices.Contains(values(o.fields, "Connection"), "keep-alive") ||
		slices.Contains(values(o.fields, "Connection"), "close")
	return s.write(encode(version+status+" Status", []field{{endpointField, s.endpoint.name}}, o, contentless))
}

// listenOn reads until the peer ends its side, and may send back what it reads. An end
// is a hangup, except that a tunnel may end in good order.
func (s *serving) listenOn(echo bool) error {
	for {
		if len(s.wire.unread) == 0 {
			if err := s.wire.more(); err != nil {
				if echo && err == io.EOF {
					return errDone
				}
				return err
			}
		}
		if echo {
			if err := s.write("", string(s.wire.unread)); err != nil {
				return err
			}
		}
		s.wire.unread = nil
	}
}
