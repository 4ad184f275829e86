package message

// Lists of fields: a list is in the order of the wire and may repeat a name. A field that is
// to be left out is marked (Drop) instead of removed, so that nothing moves.

// NewField is a field to be sent, with its Kind. Slices of bytes are kept, strings copied.
func NewField[N, V string | []byte](name N, value V) Field {
	n := []byte(name)
	return Field{Name: n, Value: []byte(value), Kind: KindOf(n)}
}

// Append adds a field. To append a Field that was put together first costs twice as much, and
// every head has some ten.
func Append(fields []Field, name, value []byte, k Kind) []Field {
	if len(fields) < cap(fields) {
		fields = fields[:len(fields)+1]
	} else {
		fields = append(fields, Field{})
	}
	f := &fields[len(fields)-1]
	f.Name, f.Value, f.Kind, f.Drop, f.NeverIndex = name, value, k, false, false
	return fields
}

// Get returns the value of the first field of that name that is not dropped. The name's
// case does not count.
func Get(fields []Field, name string) ([]byte, bool) {
	for i := range fields {
		if f := &fields[i]; !f.Drop && EqualFold(f.Name, name) {
			return f.Value, true
		}
	}
	return nil, false
}

// GetKind is Get for a field the proxy knows; k is not Other.
func GetKind(fields []Field, k Kind) ([]byte, bool) {
	for i := range fields {
		if f := &fields[i]; !f.Drop && f.Kind == k {
			return f.Value, true
		}
	}
	return nil, false
}

// Drop marks every field of kind k; k is not Other.
func Drop(fields []Field, k Kind) {
	for i := range fields {
		if fields[i].Kind == k {
			fields[i].Drop = true
		}
	}
}

// Reset makes r the zero Request, but keeps the room of Fields. The fields are cleared,
// so that r keeps no buffer alive.
func (r *Request) Reset() {
	clear(r.Fields)
	*r = Request{Fields: r.Fields[:0]}
}

// Reset makes r the zero Response, but keeps the room of Fields. The fields are cleared,
// so that r keeps no buffer alive.
func (r *Response) Reset() {
	clear(r.Fields)
	*r = Response{Fields: r.Fields[:0]}
}
