package record

// The default line: JSON with everything a record has. Readers of the log find the keys in
// docs/access-log.md.

import (
	"cmp"
	"strconv"
	"time"

	"github.com/poise-lb/poise/internal/propagation"
)

// A stamp writes instants in UTC with six decimals, a fixed width, so that lines sort as
// text. Most lines lie within the second of the one before, whose text it keeps.
type stamp struct {
	second int64
	text   []byte // of second; nil: of none
}

// append writes the instant that is so many nanoseconds after that of Unix.
func (s *stamp) append(b []byte, nanos int64) []byte {
	second, rest := nanos/1e9, nanos%1e9
	if rest < 0 {
		second, rest = second-1, rest+1e9
	}
	if second != s.second || s.text == nil {
		s.second, s.text = second, time.Unix(second, 0).UTC().AppendFormat(s.text[:0], "2006-01-02T15:04:05.")
	}
	b = append(b, s.text...)
	us := uint(rest) / 1000
	x, y, z := us/10_000*2, us/100%100*2, us%100*2
	return append(b, digits[x], digits[x+1], digits[y], digits[y+1], digits[z], digits[z+1], 'Z')
}

// A pen is what the writer of lines keeps from one line to the next. It belongs to the task that
// drains the Sink.
type pen struct {
	began  int64          // Sink.began in nanoseconds since that of Unix, by the wall clock of now
	zone   *time.Location // of $time_local
	stamp  stamp
	local  second // of $time_local
	iso    second // of $time_iso8601
	abouts [16]about
	known  *known // see texts
}

// nanos is the instant so long before the end of the exchange of l, in nanoseconds since that of Unix.
func (p *pen) nanos(l *slot, before time.Duration) int64 { return p.began + int64(l.at-before) }

// time is nanos as a Time.
func (p *pen) time(l *slot, before time.Duration) time.Time {
	return time.Unix(0, p.nanos(l, before)).In(p.zone)
}

// texts is p.known, which only lines in JSON have use for.
func (p *pen) texts() *known {
	if p.known == nil {
		p.known = new(known)
	}
	return p.known
}

// about is text that many lines have in common: of one status, the latest there was.
type about struct {
	protocol   string
	scheme     scheme
	tls        uint16
	status     int
	generation uint64
	text       []byte // nil: none
}

// about is the protocol, scheme, version of TLS, generation and status of l, as keys of a JSON object.
func (p *pen) about(l *slot) []byte {
	a := &p.abouts[uint(l.status)%uint(len(p.abouts))]
	if a.status != l.status || a.text == nil || a.generation != l.generation || a.tls != l.tls || a.scheme != l.scheme || a.protocol != l.protocol {
		a.protocol, a.scheme, a.tls, a.generation, a.status = l.protocol, l.scheme, l.tls, l.generation, l.status
		t := append(a.text[:0], `","protocol":"`...)
		t = append(appendEscaped(t, l.protocol), '"')
		if l.scheme != 0 {
			t = append(append(append(t, `,"scheme":"`...), l.scheme.String()...), '"')
		}
		if version := versionOf(l.tls); version != "" {
			t = append(append(append(t, `,"tls":"`...), version...), '"')
		}
		if l.generation != 0 {
			t = strconv.AppendUint(append(t, `,"generation":`...), l.generation, 10)
		}
		a.text = strconv.AppendInt(append(t, `,"status":`...), int64(l.status), 10)
	}
	return a.text
}

// versionOf is the number of a version of TLS; empty: none.
func versionOf(version uint16) string {
	if version < 0x0301 || version > 0x0304 {
		return ""
	}
	return [...]string{"1.0", "1.1", "1.2", "1.3"}[version-0x0301]
}

// appendJSON writes the record as one line of JSON, the default format. What is empty is left
// out, but for client, method, host, path, protocol, status and the reason of attempts; times
// are milliseconds with three decimals.
func (f *Format) appendJSON(p *pen, b []byte, l *slot) []byte {
	b = p.stamp.append(append(b, `{"time":"`...), p.nanos(l, l.duration))
	b = append(l.appendClient(append(b, `","client":"`...)), `","method":"`...)
	// One look at all texts of the client, which lie side by side, tells whether any has bytes to
	// escape: hardly one has.
	e := &l.ends
	front := l.text[:e[3]]
	if plainPrefix(front) == len(front) {
		b = append(append(b, front[:e[0]]...), `","host":"`...)
		b = append(append(b, front[e[0]:e[1]]...), `","path":"`...)
		b = append(b, front[e[1]:e[2]]...)
		if l.hasQuery {
			b = appendQuery(append(b, `","query":"`...), front[e[2]:], f.query == redactQuery, plainText)
		}
	} else {
		b = f.appendEscapedFront(b, l)
	}
	b = append(b, p.about(l)...)
	if l.reason != "" {
		b = append(appendEscaped(append(b, `,"reason":"`...), l.reason), '"')
	}
	if l.rpc != 0 {
		b = jsonText(b, `,"grpc_status":"`, l.grpcStatus())
	}
	b = appendNumber(append(b, `,"bytes_in":`...), l.bytesIn)
	b = appendNumber(append(b, `,"bytes_out":`...), l.bytesOut)
	b = appendMillis(append(b, `,"duration_ms":`...), l.duration)
	if l.queued > 0 {
		b = appendMillis(append(b, `,"queued_ms":`...), l.queued)
	}
	if l.service != "" {
		b = append(b, p.texts().route(l)...)
	}
	b = f.appendExtras(b, l)
	if l.cut {
		b = append(b, `,"truncated":true`...)
	}
	return append(l.appendAttempts(p.texts(), append(b, `,"attempts":[`...)), ']', '}', '\n')
}

// appendEscapedFront writes method, host, path and query of which some are to be escaped.
func (f *Format) appendEscapedFront(b []byte, l *slot) []byte {
	b = append(appendEscaped(b, l.method()), `","host":"`...)
	b = append(appendEscaped(b, l.host()), `","path":"`...)
	b = appendEscaped(b, l.path())
	if l.hasQuery {
		b = appendQuery(append(b, `","query":"`...), l.query(), f.query == redactQuery, appendEscaped[[]byte])
	}
	return b
}

// appendExtras writes what few exchanges have: ids, and fields that were asked for.
func (f *Format) appendExtras(b []byte, l *slot) []byte {
	if id := l.requestID(); len(id) > 0 {
		b = append(appendEscaped(append(b, `,"request_id":"`...), id), '"')
	}
	if l.traceID != [16]byte{} {
		b = append(propagation.AppendTrace(append(b, `,"trace_id":"`...), &l.traceID), '"')
	}
	if l.proved != nil {
		b = jsonText(b, `,"client_cert":"`, cmp.Or(l.proved.Name, l.proved.Subject))
	}
	if f.captures {
		b = f.appendFields(b, l, `,"request_fields":{`, f.chosen[0], f.chosen[1])
		b = f.appendFields(b, l, `,"response_fields":{`, f.chosen[1], f.chosen[2])
	}
	return b
}

// appendFields writes the fields from to of the format that the heads had, as a JSON object.
func (f *Format) appendFields(b []byte, l *slot, open string, from, to int) []byte {
	some := false
	for i := from; i < to; i++ {
		if l.field(i) == nil {
			continue
		}
		if !some {
			b, some = append(b, open...), true
		} else {
			b = append(b, ',')
		}
		b = append(appendEscaped(append(b, '"'), f.names[i].name), `":"`...)
		b = append(f.appendValue(b, l, i, appendEscaped[[]byte]), '"')
	}
	if some {
		b = append(b, '}')
	}
	return b
}

// appendClient writes the client's address; nothing for a unix socket.
func (l *slot) appendClient(b []byte) []byte {
	switch {
	case !l.client.IsValid():
		return b
	case l.client.Is4():
		return appendIPv4(b, l.client.As4())
	case l.client.Zone() == "":
		return l.client.AppendTo(b)
	}
	return appendEscaped(b, l.client.String()) // a zone may be any text
}

// appendIPv4 writes an address in dotted digits.
func appendIPv4(b []byte, a [4]byte) []byte {
	b = append(appendNumber(b, int64(a[0])), '.')
	b = append(appendNumber(b, int64(a[1])), '.')
	b = append(appendNumber(b, int64(a[2])), '.')
	return appendNumber(b, int64(a[3]))
}

// appendAttempts writes the attempts as elements of a JSON array.
func (l *slot) appendAttempts(k *known, b []byte) []byte {
	for i := range l.attempts {
		if i > 0 {
			b = append(b, ',')
		}
		a := &l.attempts[i]
		b = append(b, k.attempt(a)...)
		b = appendMillis(b, a.Start)
		b = append(b, `,"time_ms":`...)
		b = appendMillis(b, a.Time)
		b = append(b, '}')
	}
	return b
}

// appendMillis writes d in milliseconds, cut to microseconds.
func appendMillis(b []byte, d time.Duration) []byte { return appendThousandths(b, d.Microseconds()) }
