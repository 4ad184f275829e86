package filter

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/message"
)

// named returns a filter that notes its calls in log.
func named(name string, slot Slot, log *[]string) Filter {
	return Filter{
		Name: name, Slot: slot,
		Request:  func(*Exchange) *message.Reply { *log = append(*log, name); return nil },
		Response: func(*Exchange, *message.Response) { *log = append(*log, "response "+name) },
	}
}

func TestFiltersRunInTheOrderOfTheirSlots(t *testing.T) {
	var log []string
	c, err := Compile([]Filter{
		named("gzip", Compress, &log), named("split", Split, &log), named("second", Auth, &log),
		named("access", Access, &log), named("third", Auth, &log), {Name: "silent", Slot: CORS},
	})
	if err != nil {
		t.Fatal(err)
	}
	var x Exchange
	c.Begin(&x)
	if n, reply := c.Request(&x, 0, Rewrite); n != 4 || reply != nil {
		t.Errorf("%d filters before Rewrite, reply %v", n, reply)
	}
	n, _ := c.Request(&x, Rewrite, slots)
	c.Response(&x, new(message.Response), n)
	want := []string{"access", "second", "third", "split", "gzip",
		"response access", "response second", "response third", "response split", "response gzip"}
	if !slices.Equal(log, want) {
		t.Errorf("called %q, want %q", log, want)
	}
}

func TestAReplyEndsTheChain(t *testing.T) {
	var log []string
	c, err := Compile([]Filter{
		named("access", Access, &log), named("split", Split, &log), named("late", Compress, &log),
		{Name: "auth", Slot: Auth, Request: func(x *Exchange) *message.Reply { return &message.Reply{Status: 401} }},
	})
	if err != nil {
		t.Fatal(err)
	}
	var x Exchange
	c.Begin(&x)
	n, reply := c.Request(&x, 0, slots)
	if n != 2 || reply == nil || reply.Status != 401 {
		t.Errorf("%d filters, reply %v", n, reply)
	}
	c.Response(&x, new(message.Response), n)
	if want := []string{"access", "response access"}; !slices.Equal(log, want) {
		t.Errorf("called %q, want %q", log, want)
	}
}

func TestStateBelongsToOneFilterOfOneExchange(t *testing.T) {
	keeps := func(name string) Filter {
		return Filter{Name: name, Slot: Auth,
			Request:  func(x *Exchange) *message.Reply { x.SetState(name); return nil },
			Response: func(x *Exchange, r *message.Response) { r.Reason = append(r.Reason, x.State().(string)...) }}
	}
	c, err := Compile([]Filter{keeps("a"), keeps("b")})
	if err != nil {
		t.Fatal(err)
	}
	var x Exchange
	for range 2 {
		c.Begin(&x)
		if x.states[0] != nil || x.states[1] != nil {
			t.Errorf("state of another exchange: %v", x.states)
		}
		n, _ := c.Request(&x, 0, slots)
		var r message.Response
		if c.Response(&x, &r, n); string(r.Reason) != "ab" {
			t.Errorf("got %q", r.Reason)
		}
		c.End(&x)
	}
}

func TestCompileRefusesWhatHasNoPlace(t *testing.T) {
	if c, err := Compile(nil); c != nil || err != nil {
		t.Errorf("no filters: %v, %v", c, err)
	}
	for _, bad := range []Filter{{Name: "x", Slot: slots}, {Slot: Auth}} {
		if _, err := Compile([]Filter{bad}); err == nil || !strings.Contains(err.Error(), "filters[0]") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// suffix appends a text to each piece and at the end; nothing is made of "drop".
type suffix string

func (s suffix) Piece(p []byte) ([]byte, error) {
	switch string(p) {
	case "drop":
		return nil, nil
	case "fail":
		return nil, errors.New("failed")
	}
	return append(slices.Clone(p), s...), nil
}

func (s suffix) End(trailers []message.Field) ([]byte, []message.Field, error) {
	return []byte("end" + s), append(trailers, message.NewField("By", string(s))), nil
}

// holder holds the last byte of what came back until there is more, in a room that it uses again.
type holder struct{ room, last []byte }

func (h *holder) Piece(p []byte) ([]byte, error) {
	h.room = append(append(h.room[:0], h.last...), p...)
	n := len(h.room) - 1
	h.last = append(h.last[:0], h.room[n])
	return h.room[:n], nil
}

func (h *holder) Flush() ([]byte, error) {
	if string(h.last) == "!" {
		return nil, errors.New("failed")
	}
	h.room = append(h.room[:0], h.last...)
	h.last = h.last[:0]
	return h.room, nil
}

func (h *holder) End(trailers []message.Field) ([]byte, []message.Field, error) {
	return h.last, trailers, nil
}

func TestWhatIsHeldBackIsFlushed(t *testing.T) {
	for _, ts := range []Transforms{{new(holder)}, {new(holder), new(holder)}, {suffix(""), new(holder), new(holder), suffix("")}, {new(holder), suffix(""), new(holder)}} {
		var got string
		for _, p := range []string{"abc", "d", "efgh"} {
			out, err := ts.Piece([]byte(p))
			if err != nil {
				t.Fatal(err)
			}
			got += string(out)
			if out, err = ts.Flush(); err != nil {
				t.Fatal(err)
			}
			if got += string(out); !strings.HasSuffix(got, p) {
				t.Errorf("%d transforms: after %q all there is is %q", len(ts), p, got)
			}
			if out, err = ts.Flush(); err != nil || len(out) > 0 {
				t.Errorf("a second flush gives %q, %v", out, err)
			}
		}
		if got != "abcdefgh" {
			t.Errorf("%d transforms make %q", len(ts), got)
		}
	}
	ts := Transforms{new(holder), suffix("")}
	ts.Piece([]byte("a!"))
	if _, err := ts.Flush(); err == nil {
		t.Error("no error of a flush")
	}
	ts = Transforms{new(holder), suffix("")}
	ts.Piece([]byte("afail"))
	ts[0].(*holder).last = []byte("fail")
	if _, err := ts.Flush(); err == nil {
		t.Error("no error of what is behind a flush")
	}
}

func TestTransformsFollowEachOther(t *testing.T) {
	ts := Transforms{suffix("1"), suffix("2")}
	for p, want := range map[string]string{"a": "a12", "drop": ""} {
		if got, err := ts.Piece([]byte(p)); string(got) != want || err != nil {
			t.Errorf("%s: %q, %v", p, got, err)
		}
	}
	if _, err := ts.Piece([]byte("fail")); err == nil {
		t.Error("no error of a piece")
	}
	rest, trailers, err := ts.End(nil)
	if string(rest) != "end12end2" || len(trailers) != 2 || err != nil {
		t.Errorf("%q, %v, %v", rest, trailers, err)
	}
}
