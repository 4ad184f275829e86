package record

// The variables of templates. Each is a function that appends its value, or nothing if it is
// absent; those that name a field of a head are made by Format.fieldVariable.

import (
	"bytes"
	"strconv"
	"time"

	"github.com/poise-lb/poise/internal/propagation"
)

// variables are the variables but those that name a field. A test holds them against
// config.LogVariables.
var variables = map[string]variable{
	"remote_addr": writeClient,
	"remote_user": func(f *Format, _ *pen, b []byte, l *slot) []byte { return f.esc(b, l.user()) },
	"time_local": func(_ *Format, p *pen, b []byte, l *slot) []byte {
		return p.local.append(b, p.time(l, 0), "02/Jan/2006:15:04:05 -0700")
	},
	"time_iso8601": func(_ *Format, p *pen, b []byte, l *slot) []byte {
		return p.iso.append(b, p.time(l, 0), "2006-01-02T15:04:05-07:00")
	},
	"msec": func(_ *Format, p *pen, b []byte, l *slot) []byte {
		return appendThousandths(b, p.time(l, 0).UnixMilli())
	},
	"request":        writeRequest,
	"request_method": func(f *Format, _ *pen, b []byte, l *slot) []byte { return f.esc(b, l.method()) },
	"request_uri":    writeTarget,
	"uri":            writePath,
	"args":           writeQuery,
	"query_string":   writeQuery,
	"host":           writeHost,
	"scheme":         func(_ *Format, _ *pen, b []byte, l *slot) []byte { return append(b, l.scheme.String()...) },
	"server_protocol": func(f *Format, _ *pen, b []byte, l *slot) []byte {
		return f.word(b, l.protocol)
	},
	"status":          writeStatus,
	"body_bytes_sent": func(_ *Format, _ *pen, b []byte, l *slot) []byte { return strconv.AppendInt(b, l.bytesOut, 10) },
	"bytes_sent": func(_ *Format, _ *pen, b []byte, l *slot) []byte {
		return strconv.AppendInt(b, int64(l.copied().out)+l.bytesOut, 10)
	},
	"request_length": func(_ *Format, _ *pen, b []byte, l *slot) []byte {
		return strconv.AppendInt(b, int64(l.copied().in)+l.bytesIn, 10)
	},
	"request_time": func(_ *Format, _ *pen, b []byte, l *slot) []byte {
		return appendThousandths(b, l.duration.Milliseconds())
	},
	"upstream_addr":          eachAttempt(func(f *Format, b []byte, a *Attempt) []byte { return f.word(b, a.Address) }),
	"upstream_status":        eachAttempt(attemptStatus),
	"upstream_response_time": eachAttempt(func(_ *Format, b []byte, a *Attempt) []byte { return appendThousandths(b, a.Time.Milliseconds()) }),
	"upstream_header_time":   eachAttempt(attemptHead),
	"request_id":             writeID,
	"queue_time": func(_ *Format, _ *pen, b []byte, l *slot) []byte {
		return appendThousandths(b, l.queued.Milliseconds())
	},
	"trace_id":        writeTrace,
	"ssl_protocol":    writeTLS,
	"ssl_client_s_dn": ofClient(func(i *Identity) string { return i.Subject }),
	"ssl_client_san":  ofClient(func(i *Identity) string { return i.Name }),
	"route":           writeRoute,
	"service":         func(f *Format, _ *pen, b []byte, l *slot) []byte { return f.word(b, l.service) },
	"reason":          func(f *Format, _ *pen, b []byte, l *slot) []byte { return f.word(b, l.reason) },
	"grpc_status":     func(f *Format, _ *pen, b []byte, l *slot) []byte { return f.word(b, l.grpcStatus()) },
	"generation":      func(_ *Format, _ *pen, b []byte, l *slot) []byte { return strconv.AppendUint(b, l.generation, 10) },
	"attempts": func(_ *Format, _ *pen, b []byte, l *slot) []byte {
		return strconv.AppendInt(b, int64(len(l.attempts)), 10)
	},
}

// A second keeps the text of the second that was written last.
type second struct {
	at   int64
	text []byte // nil: none
}

func (s *second) append(b []byte, t time.Time, layout string) []byte {
	if at := t.Unix(); at != s.at || s.text == nil {
		s.at, s.text = at, t.AppendFormat(s.text[:0], layout)
	}
	return append(b, s.text...)
}

// appendThousandths writes n thousandths as a number with three decimals. Most are below ten.
func appendThousandths(b []byte, n int64) []byte {
	if uint64(n) < 10_000 {
		whole, rest := uint(n)/1000, uint(n)%1000
		x := rest % 100 * 2
		return append(b, byte('0'+whole), '.', byte('0'+rest/100), digits[x], digits[x+1])
	}
	if n < 0 {
		b, n = append(b, '-'), -n
	}
	rest := uint(n % 1000)
	x := rest % 100 * 2
	return append(appendNumber(b, n/1000), '.', byte('0'+rest/100), digits[x], digits[x+1])
}

func writeClient(f *Format, _ *pen, b []byte, l *slot) []byte {
	switch {
	case !l.client.IsValid():
		return append(b, "unix:"...)
	case l.client.Is4():
		return appendIPv4(b, l.client.As4())
	case l.client.Zone() == "":
		return l.client.AppendTo(b)
	}
	return f.word(b, l.client.String())
}

func writeRequest(f *Format, p *pen, b []byte, l *slot) []byte {
	if len(l.method()) == 0 { // its head was refused
		return b
	}
	b = append(f.esc(b, l.method()), ' ')
	b = append(writeTarget(f, p, b, l), ' ')
	return f.word(b, l.protocol)
}

func writeTarget(f *Format, p *pen, b []byte, l *slot) []byte {
	b = f.esc(b, l.path())
	if l.hasQuery {
		b = writeQuery(f, p, append(b, '?'), l)
	}
	return b
}

func writePath(f *Format, _ *pen, b []byte, l *slot) []byte {
	if norm := l.norm(); len(norm) > 0 {
		return f.esc(b, norm)
	}
	return f.esc(b, l.path())
}

func writeQuery(f *Format, _ *pen, b []byte, l *slot) []byte {
	if !l.hasQuery {
		return b
	}
	return appendQuery(b, l.query(), f.query == redactQuery, f.esc)
}

// writeHost writes the host in small letters, without its port.
func writeHost(f *Format, _ *pen, b []byte, l *slot) []byte {
	host, _ := cutPort(l.host())
	from := len(b)
	b = f.esc(b, host)
	if len(b)-from != len(host) {
		return b // something was escaped: it is no name
	}
	for i, c := range b[from:] {
		if c >= 'A' && c <= 'Z' {
			b[from+i] = c | 0x20
		}
	}
	return b
}

func writeHostField(f *Format, _ *pen, b []byte, l *slot) []byte { return f.esc(b, l.host()) }

// cutPort cuts a port off an authority; the colons of an IPv6 address in brackets stay.
func cutPort(host []byte) (name, port []byte) {
	i := bytes.LastIndexByte(host, ':')
	if i < 0 || bytes.IndexByte(host[i:], ']') >= 0 {
		return host, nil
	}
	return host[:i], host[i+1:]
}

func writeStatus(_ *Format, _ *pen, b []byte, l *slot) []byte {
	if l.status <= 0 {
		return append(b, "000"...)
	}
	return strconv.AppendInt(b, int64(l.status), 10)
}

// eachAttempt writes the values of all attempts, with commas.
func eachAttempt(write func(f *Format, b []byte, a *Attempt) []byte) variable {
	return func(f *Format, _ *pen, b []byte, l *slot) []byte {
		for i := range l.attempts {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = write(f, b, &l.attempts[i])
		}
		return b
	}
}

func attemptStatus(_ *Format, b []byte, a *Attempt) []byte {
	if a.Status == 0 {
		return append(b, '-')
	}
	return strconv.AppendInt(b, int64(a.Status), 10)
}

func attemptHead(_ *Format, b []byte, a *Attempt) []byte {
	if a.Status == 0 {
		return append(b, '-')
	}
	return appendThousandths(b, a.Head.Milliseconds())
}

// writeID writes the request's id, or else that of its trace.
func writeID(f *Format, p *pen, b []byte, l *slot) []byte {
	if id := l.requestID(); len(id) > 0 {
		return f.esc(b, id)
	}
	return writeTrace(f, p, b, l)
}

func writeTrace(_ *Format, _ *pen, b []byte, l *slot) []byte {
	if l.traceID == [16]byte{} {
		return b
	}
	return propagation.AppendTrace(b, &l.traceID)
}

func writeTLS(_ *Format, _ *pen, b []byte, l *slot) []byte {
	version := versionOf(l.tls)
	if version == "" {
		return b
	}
	if version == "1.0" {
		version = "1" // as nginx has it
	}
	return append(append(b, "TLSv"...), version...)
}

// ofClient writes a part of what the client has proved.
func ofClient(part func(*Identity) string) variable {
	return func(f *Format, _ *pen, b []byte, l *slot) []byte {
		if l.proved == nil {
			return b
		}
		return f.word(b, part(l.proved))
	}
}

// writeRoute writes the route's name, or its index if it has none.
func writeRoute(f *Format, _ *pen, b []byte, l *slot) []byte {
	switch {
	case l.service == "":
		return b
	case l.routeName != "":
		return f.word(b, l.routeName)
	}
	return strconv.AppendInt(b, int64(l.route), 10)
}
