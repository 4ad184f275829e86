package filter

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/poise-lb/poise/internal/message"
)

// A Chain is the filters of a route, in the order of their slots; those of one slot in the
// order in which they were given. It is never modified after Compile.
type Chain struct {
	filters []Filter
}

// Compile returns the chain of filters; nil if there are none, so that a route without filters
// costs one comparison.
func Compile(filters []Filter) (*Chain, error) {
	if len(filters) == 0 {
		return nil, nil
	}
	for i := range filters {
		f := &filters[i]
		if f.Slot >= slots || f.Name == "" {
			return nil, fmt.Errorf("filters[%d]: %q in slot %d: a filter has a name and one of the slots of internal/filter/slots.go", i, f.Name, f.Slot)
		}
	}
	c := &Chain{filters: slices.Clone(filters)}
	slices.SortStableFunc(c.filters, func(a, b Filter) int { return cmp.Compare(a.Slot, b.Slot) })
	return c, nil
}

// Begin prepares x for an exchange of this chain. What else x holds is the caller's to set.
func (c *Chain) Begin(x *Exchange) {
	x.running = -1
	x.states = append(x.states[:0], make([]any, len(c.filters))...)
}

// End lets go of what filters have kept in x.
func (c *Chain) End(x *Exchange) {
	clear(x.states)
	*x = Exchange{running: -1, states: x.states[:0]}
}

// Running names the filter that is being called; "": none.
func (c *Chain) Running(x *Exchange) string {
	if x.running < 0 || x.running >= len(c.filters) {
		return ""
	}
	f := &c.filters[x.running]
	return f.Slot.String() + "/" + f.Name
}

// Request passes x through the filters in slots from, up to but without to. It returns how many
// filters of the chain have been reached, and the reply of the one that answered, which is
// the last of those; nil: none did.
func (c *Chain) Request(x *Exchange, from, to Slot) (reached int, reply *message.Reply) {
	for i := range c.filters {
		f := &c.filters[i]
		switch {
		case f.Slot < from:
			continue
		case f.Slot >= to:
			return i, nil
		case f.Request == nil:
			continue
		}
		x.running = i
		reply := f.Request(x)
		x.running = -1
		if reply != nil {
			return i + 1, reply
		}
	}
	return len(c.filters), nil
}

// Response passes the head of a response through the first n filters.
func (c *Chain) Response(x *Exchange, r *message.Response, n int) {
	for i := range c.filters[:min(n, len(c.filters))] {
		if f := &c.filters[i]; f.Response != nil {
			x.running = i
			f.Response(x, r)
			x.running = -1
		}
	}
}

// RequestContent returns the transforms of the request's content, in order, and whether the
// content must be framed anew.
func (c *Chain) RequestContent(x *Exchange) (all Transforms, reframes bool) {
	for i := range c.filters {
		if f := &c.filters[i]; f.RequestContent != nil {
			x.running = i
			t := f.RequestContent(x)
			x.running = -1
			if t != nil {
				all, reframes = append(all, t), reframes || f.Reframes
			}
		}
	}
	return all, reframes
}

// ResponseContent returns those of the response's content.
func (c *Chain) ResponseContent(x *Exchange, r *message.Response) (all Transforms, reframes bool) {
	for i := range c.filters {
		if f := &c.filters[i]; f.ResponseContent != nil {
			x.running = i
			t := f.ResponseContent(x, r)
			x.running = -1
			if t != nil {
				all, reframes = append(all, t), reframes || f.Reframes
			}
		}
	}
	return all, reframes
}

// Transforms are applied one after the other: each gets what the one before it has made.
type Transforms []Transform

// Piece passes a piece through all of them. The result may be empty.
func (ts Transforms) Piece(p []byte) ([]byte, error) {
	for _, t := range ts {
		if len(p) == 0 {
			return nil, nil
		}
		var err error
		if p, err = t.Piece(p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Flush returns what they hold back. What one of them has held is a piece for those behind it,
// which are flushed after that.
func (ts Transforms) Flush() (out []byte, err error) {
	for _, t := range ts {
		if len(out) > 0 {
			if out, err = t.Piece(out); err != nil {
				return nil, err
			}
		}
		f, holds := t.(Flusher)
		if !holds {
			continue
		}
		if len(out) > 0 {
			out = slices.Clone(out) // of t, whose next call may write over it
		}
		more, err := f.Flush()
		switch {
		case err != nil:
			return nil, err
		case len(out) == 0:
			out = more
		default:
			out = append(out, more...)
		}
	}
	return out, nil
}

// End ends all of them. What one of them adds at its end is a piece for those behind it.
func (ts Transforms) End(trailers []message.Field) (rest []byte, _ []message.Field, err error) {
	for i, t := range ts {
		var more []byte
		if more, trailers, err = t.End(trailers); err != nil {
			return nil, nil, err
		}
		if more, err = ts[i+1:].Piece(more); err != nil {
			return nil, nil, err
		}
		rest = append(rest, more...)
	}
	return rest, trailers, nil
}
