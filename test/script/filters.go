package script

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/filter"
	"github.com/poise-lb/poise/internal/http1"
	head "github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/reason"
)

// Filters of scripts. The file "filters" of an archive gives routes some: lines of a route's
// index, a filter's name and its arguments, such as "0 wait 10ms". What each does is said in
// doc.go.

var filterMakers = map[string]func(args []string) (filter.Filter, error){
	"deny":   deny,
	"refuse": refuse,
	"wait":   waitFor,
	"count":  count,
	"upper":  upper,
	"limit":  limit,
	"hold":   hold,
	"mark":   mark,
	"panic":  panicIn,
}

// addFilters gives the routes of c what the file says.
func addFilters(c *config.Config, text string) error {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) < 2 {
			return fmt.Errorf("filters: %q: want: ROUTE NAME [ARGUMENT...]", line)
		}
		i, err := strconv.Atoi(words[0])
		maker := filterMakers[words[1]]
		if err != nil || i < 0 || i >= len(c.Routes) || maker == nil {
			return fmt.Errorf("filters: %q: there is no such route, or no such filter", line)
		}
		f, err := maker(words[2:])
		if err != nil {
			return fmt.Errorf("filters: %q: %w", line, err)
		}
		c.Routes[i].Filters = append(c.Routes[i].Filters, f)
	}
	return nil
}

// refuse answers 429 to every request, and leaves the words to the proxy.
func refuse([]string) (filter.Filter, error) {
	reply := &head.Reply{Status: 429, Reason: reason.Overloaded, Fields: []head.Field{head.NewField("Retry-After", "7")}}
	return filter.Filter{Name: "refuse", Slot: filter.IdentityLimit, Request: func(*filter.Exchange) *head.Reply { return reply }}, nil
}

// deny answers 401 to requests without Token: let-me-in, and closes their connections. It
// marks every response, its own ones too.
func deny([]string) (filter.Filter, error) {
	return filter.Filter{
		Name: "deny", Slot: filter.Auth,
		Request: func(x *filter.Exchange) *head.Reply {
			if token, _ := head.Get(x.Request.Fields, "Token"); string(token) == "let-me-in" {
				return nil
			}
			return &head.Reply{
				Status: 401, Close: true, Body: []byte("who are you?\n"),
				Fields: []head.Field{head.NewField("Content-Type", "text/plain"), head.NewField("WWW-Authenticate", "Token")},
			}
		},
		Response: func(x *filter.Exchange, r *head.Response) {
			r.Fields = append(r.Fields, head.NewField("X-Guarded", "yes"))
		},
	}, nil
}

// waitFor waits, and passes to the endpoint for how long at least.
func waitFor(args []string) (filter.Filter, error) {
	d, err := parseDuration(args)
	return filter.Filter{
		Name: "wait", Slot: filter.Access,
		Request: func(x *filter.Exchange) *head.Reply {
			began := x.Runtime.Now()
			if x.Runtime.Sleep(began+d) != nil {
				return &head.Reply{Status: 503}
			}
			if x.Runtime.Now() < began+d {
				return &head.Reply{Status: 500, Body: []byte("it did not wait")}
			}
			x.Request.Fields = append(x.Request.Fields, head.NewField("X-Waited", d.Round(time.Millisecond).String()))
			return nil
		},
	}, err
}

// A counter counts content, of which a response may come before all of it was sent.
type counter struct {
	n       atomic.Int64
	trailer string // its name; empty: none
}

func (c *counter) String() string { return strconv.FormatInt(c.n.Load(), 10) }

func (c *counter) Piece(p []byte) ([]byte, error) {
	c.n.Add(int64(len(p)))
	return p, nil
}

func (c *counter) End(trailers []head.Field) ([]byte, []head.Field, error) {
	if c.trailer != "" {
		trailers = append(trailers, head.NewField(c.trailer, c.String()))
	}
	return nil, trailers, nil
}

// count passes the length of the request's content to the client, by a field of the response, and
// how long the response's is, by a trailer.
func count([]string) (filter.Filter, error) {
	return filter.Filter{
		Name: "count", Slot: filter.BodyLimit, Reframes: true,
		RequestContent: func(x *filter.Exchange) filter.Transform {
			c := new(counter)
			x.SetState(c)
			return c
		},
		Response: func(x *filter.Exchange, r *head.Response) {
			if c, ok := x.State().(*counter); ok {
				r.Fields = append(r.Fields, head.NewField("X-Request-Bytes", c.String()))
			}
		},
		ResponseContent: func(*filter.Exchange, *head.Response) filter.Transform {
			return &counter{trailer: "X-Response-Bytes"}
		},
	}, nil
}

// limit refuses content of more than so many bytes.
func limit(args []string) (filter.Filter, error) {
	n, err := strconv.ParseInt(strings.Join(args, ""), 10, 64)
	return filter.Filter{
		Name: "limit", Slot: filter.BodyLimit,
		RequestContent: func(*filter.Exchange) filter.Transform { return &limited{left: n} },
	}, err
}

type limited struct{ left int64 }

func (l *limited) Piece(p []byte) ([]byte, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return nil, &http1.Error{Status: 413, Reason: reason.ContentTooLarge}
	}
	return p, nil
}

func (l *limited) End(trailers []head.Field) ([]byte, []head.Field, error) { return nil, trailers, nil }

// hold keeps the last byte of what has come until there is another one, or a flush.
func hold([]string) (filter.Filter, error) {
	return filter.Filter{
		Name: "hold", Slot: filter.Compress, Reframes: true,
		RequestContent:  func(*filter.Exchange) filter.Transform { return new(holding) },
		ResponseContent: func(*filter.Exchange, *head.Response) filter.Transform { return new(holding) },
	}, nil
}

type holding struct{ room, last []byte }

func (h *holding) Piece(p []byte) ([]byte, error) {
	h.room = append(append(h.room[:0], h.last...), p...)
	n := len(h.room) - 1
	h.last = append(h.last[:0], h.room[n])
	return h.room[:n], nil
}

func (h *holding) Flush() ([]byte, error) {
	h.room = append(h.room[:0], h.last...)
	h.last = h.last[:0]
	return h.room, nil
}

func (h *holding) End(trailers []head.Field) ([]byte, []head.Field, error) {
	return h.last, trailers, nil
}

// upperCase writes content in capitals, and adds a word at its end if it may change its length.
type upperCase struct {
	last string
	room []byte
}

func (u *upperCase) Piece(p []byte) ([]byte, error) {
	u.room = append(u.room[:0], p...)
	return bytes.ToUpper(u.room), nil
}

func (u *upperCase) End(trailers []head.Field) ([]byte, []head.Field, error) {
	return []byte(u.last), trailers, nil
}

// upper writes the content of both directions in capitals; with an argument that follows it.
func upper(args []string) (filter.Filter, error) {
	last := strings.Join(args, " ")
	return filter.Filter{
		Name: "upper", Slot: filter.Compress, Reframes: last != "",
		RequestContent:  func(*filter.Exchange) filter.Transform { return &upperCase{last: last} },
		ResponseContent: func(*filter.Exchange, *head.Response) filter.Transform { return &upperCase{last: last} },
	}, nil
}

// mark adds a field to requests, and how often it was called in their exchange to responses.
func mark([]string) (filter.Filter, error) {
	return filter.Filter{
		Name: "mark", Slot: filter.Split,
		Request: func(x *filter.Exchange) *head.Reply {
			n, _ := x.State().(int)
			x.SetState(n + 1)
			x.Request.Fields = append(x.Request.Fields, head.NewField("X-Mark", strconv.Itoa(n+1)))
			return nil
		},
		Response: func(x *filter.Exchange, r *head.Response) {
			n, _ := x.State().(int)
			r.Fields = append(r.Fields, head.NewField("X-Marks", strconv.Itoa(n)))
		},
	}, nil
}

// panicIn panics in the part of an exchange that the request names by the field Panic.
func panicIn([]string) (filter.Filter, error) {
	fail := func(x *filter.Exchange, part string) {
		if v, _ := head.Get(x.Request.Fields, "Panic"); string(v) == part {
			panic("a filter that fails in the " + part)
		}
	}
	transform := func(x *filter.Exchange, part string) filter.Transform {
		if v, _ := head.Get(x.Request.Fields, "Panic"); string(v) == part {
			return failing{}
		}
		return nil
	}
	return filter.Filter{
		Name: "panic", Slot: filter.Access,
		Request:         func(x *filter.Exchange) *head.Reply { fail(x, "request"); return nil },
		Response:        func(x *filter.Exchange, _ *head.Response) { fail(x, "response") },
		RequestContent:  func(x *filter.Exchange) filter.Transform { return transform(x, "request-content") },
		ResponseContent: func(x *filter.Exchange, _ *head.Response) filter.Transform { return transform(x, "response-content") },
	}, nil
}

// failing is a Transform that panics at a piece that ends with an m.
type failing struct{}

func (failing) Piece(p []byte) ([]byte, error) {
	if bytes.HasSuffix(p, []byte("m")) {
		panic("a filter that fails within content")
	}
	return p, nil
}

func (failing) End(trailers []head.Field) ([]byte, []head.Field, error) {
	return nil, trailers, nil
}
