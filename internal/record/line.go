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

func (s *stamp) append(b []byte, t time.Time) []byte {
	if at := t.Unix(); at != s.second || s.text == nil {
		s.second, s.text = at, t.UTC().AppendFormat(s.text[:0], "2006-01-02T15:04:05.")
	}
	b = append(b, s.text...)
	us := uint(t.Nanosecond()) / 1000
	x, y, z := us/10_000*2, us/100%100*2, us%100*2
	return append(b, digits[x], digits[x+1], digits[y], digits[y+1], digits[z], digits[z+1], 'Z')
}

// A pen is what the writer of lines keeps from one line to the next. It belongs to the task that
// drains the Sink.
type pen struct {
	stamp stamp
	local second // of $time_local
	iso   second // of $time_iso8601
	about about
	known *known // see texts
}

// texts is p.known, which only lines in JSON have use for.
func (p *pen) texts() *known {
	if p.known == nil {
		p.known = new(known)
	}
	return p.known
}

// about is the text that most lines have in common with the one before.
type about struct {
	protocol   string
	scheme     scheme
	tls        uint16
	generation uint64
	text       []byte // nil: none
}

// of appends protocol, scheme, version of TLS and generation, as keys of a JSON object.
func (a *about) of(b []byte, l *slot) []byte {
	if a.text == nil || a.generation != l.generation || a.tls != l.tls || a.scheme != l.scheme || a.protocol != l.protocol {
		a.protocol, a.scheme, a.tls, a.generation = l.protocol, l.scheme, l.tls, l.generation
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
		a.text = append(t, `,"status":`...)
	}
	return append(b, a.text...)
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
	b = append(b, `{"time":"`...)
	b = p.stamp.append(b, l.wall.Add(-l.duration))
	b = append(b, `","client":"`...)
	b = l.appendClient(b)
	b = append(b, `","method":"`...)
	b = appendEscaped(b, l.method())
	b = append(b, `","host":"`...)
	b = appendEscaped(b, l.host())
	b = append(b, `","path":"`...)
	b = appendEscaped(b, l.path())
	if l.hasQuery {
		b = appendQuery(append(b, `","query":"`...), l.query(), f.query == redactQuery, appendEscaped[[]byte])
	}
	b = p.about.of(b, l)
	b = appendNumber(b, int64(l.status))
	if l.reason != "" {
		b = append(b, `,"reason":"`...)
		b = appendEscaped(b, l.reason)
		b = append(b, '"')
	}
	b = jsonText(b, `,"grpc_status":"`, l.grpcStatus())
	b = append(b, `,"bytes_in":`...)
	b = appendNumber(b, l.bytesIn)
	b = append(b, `,"bytes_out":`...)
	b = appendNumber(b, l.bytesOut)
	b = append(b, `,"duration_ms":`...)
	b = appendMillis(b, l.duration)
	if l.service != "" {
		b = append(b, p.texts().route(l)...)
	}
	b = f.appendExtras(b, l)
	if l.cut {
		b = append(b, `,"truncated":true`...)
	}
	return append(l.appendAttempts(p.texts(), append(b, `,"attempts":[`...)), ']', '}', '\n')
}

// appendExtras writes what few exchanges have: ids, and fields that were asked for.
func (f *Format) appendExtras(b []byte, l *slot) []byte {
	if id := l.requestID(); len(id) > 0 {
		b = append(appendEscaped(append(b, `,"request_id":"`...), id), '"')
	}
	if l.traceID != [16]byte{} {
		b = append(propagation.AppendHex(append(b, `,"trace_id":"`...), l.traceID[:]), '"')
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
	case l.client.Zone() == "":
		return l.client.AppendTo(b)
	}
	return appendEscaped(b, l.client.String()) // a zone may be any text
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
