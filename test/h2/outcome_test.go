package h2

// What the proxy may do about what a case has sent. Afterwards a connection that goes on has to
// answer a PING and a request, and one that does not has to be closed.

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/http2"
)

// A rule is one case: what RFC 9113 (or RFC 9110, 7541, 8441, where it says so) has of it.
type rule struct {
	section string
	name    string
	send    func(c *peer)
	want    outcome
}

// An outcome is nil, or what is wrong.
type outcome func(c *peer) error

// probed is a stream that no case uses.
const probed = 0x1001

// goesOn: nothing happens, and the connection lives.
func goesOn(c *peer) error { return c.alive(probed) }

// answered: stream 1 is answered in full with that status, and has that in its content.
func answered(status string, contains ...string) outcome {
	return func(c *peer) error {
		a := c.finished(1)
		if a.status != status || !a.over {
			return fmt.Errorf("stream 1: %s; want status %s; %s", a, status, c)
		}
		for _, text := range contains {
			if !strings.Contains(string(a.content), text) {
				return fmt.Errorf("stream 1: %q does not contain %q", a.content, text)
			}
		}
		return c.alive(probed)
	}
}

// echoed is answered, and the content is exactly that.
func echoed(content string) outcome {
	return func(c *peer) error {
		if a := c.finished(1); string(a.content) != content || a.status != "200" {
			return fmt.Errorf("stream 1: %s; want %q; %s", a, content, c)
		}
		return c.alive(probed)
	}
}

// without is answered by 200 and a content in which a text is not.
func without(text string) outcome {
	return func(c *peer) error {
		if a := c.finished(1); a.status != "200" || strings.Contains(strings.ToLower(string(a.content)), text) {
			return fmt.Errorf("stream 1: %s; %s", a, c)
		}
		return c.alive(probed)
	}
}

// refused: the request is malformed, which RFC 9113 §8.1.1 has be reset with PROTOCOL_ERROR, or
// answered with 400. It never reaches the endpoint.
func refused(c *peer) error {
	a := c.finished(1)
	if a.status != "400" && !(a.reset && a.code == http2.ErrCodeProtocol && a.status == "") {
		return c.closed(a.status == "", fmt.Errorf("stream 1: %s; want reset or 400; %s", a, c))
	}
	return c.closed(true, c.alive(probed))
}

// merelyClosed is the error of a case in which the connection has ended, where that is no harm, but
// otherwise than Poise ends it.
type merelyClosed struct{ error }

// closed is err, as merelyClosed if the connection is over and that is harmless.
func (c *peer) closed(harmless bool, err error) error {
	if err != nil && c.ended != nil && harmless {
		return merelyClosed{err}
	}
	return err
}

// ends: GOAWAY with one of the codes, and then the end of the connection.
func ends(codes ...http2.ErrCode) outcome {
	return func(c *peer) error {
		if !c.over(patience) {
			return fmt.Errorf("the connection goes on: %s", c)
		}
		if !c.saidGoAway(codes...) {
			return merelyClosed{fmt.Errorf("%s; want GOAWAY with %v", c, codes)}
		}
		return nil
	}
}

// closes: the end of the connection, whatever is said before.
func closes(c *peer) error {
	if !c.over(patience) {
		return fmt.Errorf("the connection goes on: %s", c)
	}
	return nil
}

// resetsOrEnds: stream 1 is reset with one of the codes and the connection goes on, or the
// connection ends with one of them. RFC 9113 leaves that to us (§5.4.2).
func resetsOrEnds(codes ...http2.ErrCode) outcome {
	return func(c *peer) error {
		a := c.answer(1)
		c.read(patience, func() bool { return a.reset || len(c.goAways) > 0 })
		if a.reset && slices.Contains(codes, a.code) {
			return c.closed(true, c.alive(probed))
		}
		return ends(codes...)(c)
	}
}
