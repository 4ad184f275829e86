package record

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/poise-lb/poise/internal/reason"
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
	us := t.Nanosecond() / 1000
	return append(b, byte('0'+us/100_000), byte('0'+us/10_000%10), byte('0'+us/1000%10),
		byte('0'+us/100%10), byte('0'+us/10%10), byte('0'+us%10), 'Z')
}

// appendLine writes the record as one line of JSON. Empty reason, service, route and
// the name of the route are left out; times are milliseconds with three decimals.
func (l *slot) appendLine(b []byte, s *stamp) []byte {
	path := int(l.methodSize) + int(l.hostSize)
	b = append(b, `{"time":"`...)
	b = s.append(b, l.wall.Add(-l.duration))
	b = append(b, `","client":"`...)
	switch {
	case !l.client.IsValid():
	case l.client.Zone() == "":
		b = l.client.AppendTo(b)
	default:
		b = appendEscaped(b, l.client.String()) // a zone may be any text
	}
	b = append(b, `","method":"`...)
	b = appendEscaped(b, l.text[:l.methodSize])
	b = append(b, `","host":"`...)
	b = appendEscaped(b, l.text[l.methodSize:path])
	b = append(b, `","path":"`...)
	b = appendEscaped(b, l.text[path:])
	b = append(b, `","protocol":"`...)
	b = appendEscaped(b, l.protocol)
	b = append(b, `","status":`...)
	b = strconv.AppendInt(b, int64(l.status), 10)
	if l.reason != "" {
		b = append(b, `,"reason":"`...)
		b = appendEscaped(b, l.reason)
		b = append(b, '"')
	}
	b = append(b, `,"bytes_in":`...)
	b = strconv.AppendInt(b, l.bytesIn, 10)
	b = append(b, `,"bytes_out":`...)
	b = strconv.AppendInt(b, l.bytesOut, 10)
	b = append(b, `,"duration_ms":`...)
	b = appendMillis(b, l.duration)
	if l.service != "" {
		b = append(b, `,"route":`...)
		b = strconv.AppendInt(b, int64(l.route), 10)
		if l.routeName != "" {
			b = append(b, `,"route_name":"`...)
			b = appendEscaped(b, l.routeName)
			b = append(b, '"')
		}
		b = append(b, `,"service":"`...)
		b = appendEscaped(b, l.service)
		b = append(b, '"')
	}
	if l.cut {
		b = append(b, `,"truncated":true`...)
	}
	b = append(b, `,"attempts":[`...)
	for i := range l.attempts {
		if i > 0 {
			b = append(b, ',')
		}
		b = l.attempts[i].appendTo(b)
	}
	return append(b, ']', '}', '\n')
}

func (a *Attempt) appendTo(b []byte) []byte {
	b = append(b, `{"endpoint":"`...)
	b = appendEscaped(b, a.Scheme)
	b = append(b, "://"...)
	b = appendEscaped(b, a.Address)
	b = append(b, '"')
	if a.Zone != "" {
		b = append(b, `,"zone":"`...)
		b = appendEscaped(b, a.Zone)
		b = append(b, '"')
	}
	if a.Status != 0 {
		b = append(b, `,"status":`...)
		b = strconv.AppendInt(b, int64(a.Status), 10)
	}
	b = append(b, `,"reason":"`...)
	b = appendEscaped(b, a.Reason)
	if a.Reason == reason.Status && a.Status != 0 {
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(a.Status), 10)
	}
	b = append(b, `","start_ms":`...)
	b = appendMillis(b, a.Start)
	b = append(b, `,"time_ms":`...)
	b = appendMillis(b, a.Time)
	return append(b, '}')
}

// appendMillis writes d in milliseconds, cut to microseconds.
func appendMillis(b []byte, d time.Duration) []byte {
	us := d.Microseconds()
	if us < 0 {
		b = append(b, '-')
		us = -us
	}
	b = strconv.AppendInt(b, us/1000, 10)
	rest := us % 1000
	return append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
}

const hex = "0123456789abcdef"

// appendEscaped writes s as the inside of a JSON string (RFC 8259 §7). Bytes that are not
// UTF-8 become U+FFFD, and the two line separators of Unicode are escaped, so that a
// line stays one line for every reader.
func appendEscaped[T string | []byte](b []byte, s T) []byte {
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[from:i]...)
			b = appendEscape(b, c)
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
		if r == utf8.RuneError && size == 1 || r == '\u2028' || r == '\u2029' {
			b = append(b, s[from:i]...)
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
			from = i + size
		}
		i += size
	}
	return append(b, s[from:]...)
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	default:
		return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
}
