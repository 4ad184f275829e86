package mux

// The streams of a connection that tasks use, by identifier. Identifiers only rise, so a list in
// the order of opening is sorted: to look up and to take out cost less than in a map as long as there
// are not thousands, and what goes through all streams does it in the same order each time.
//
//	add 5        1 3 5
//	remove 1     3 5
//	of 3         the first by halving

// opened is such a list. The connection's lock guards it.
type opened []*Stream

// of is the stream with that identifier; nil: none is open.
func (o opened) of(id uint32) *Stream {
	if i := o.search(id); i < len(o) && o[i].id == id {
		return o[i]
	}
	return nil
}

// search is the index of the first stream whose identifier is not below id.
func (o opened) search(id uint32) int {
	from, to := 0, len(o)
	for from < to {
		mid := int(uint(from+to) / 2)
		if o[mid].id < id {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return from
}

// add adds a stream, whose identifier is above all that were added.
func (o *opened) add(s *Stream) { *o = append(*o, s) }

// remove takes s out, if it is there: a client's stream that has sent nothing has no identifier.
func (o *opened) remove(s *Stream) {
	l := *o
	i := l.search(s.id)
	if i == len(l) || l[i] != s {
		return
	}
	copy(l[i:], l[i+1:])
	l[len(l)-1] = nil
	*o = l[:len(l)-1]
}
