package record

// Lines in Elastic Common Schema: the fields of the schema where it has them, and poise.* for
// the rest. One line is one document, so an agent that reads JSON lines needs no pipeline.

import (
	"strconv"
	"strings"

	"github.com/poise-lb/poise/internal/grpc"
	"github.com/poise-lb/poise/internal/propagation"
	"github.com/poise-lb/poise/trace"
)

// ecsVersion is the version of the schema whose fields are used.
const ecsVersion = "8.17.0"

func (f *Format) appendECS(p *pen, b []byte, l *slot) []byte {
	b = p.stamp.append(append(b, `{"@timestamp":"`...), p.nanos(l, l.duration))
	b = append(b, `","ecs":{"version":"`+ecsVersion+`"},"event":{"kind":"event","category":["web"],"type":["access"],"dataset":"poise.access","outcome":"`...)
	if l.status == 0 || l.status >= 500 || l.reason != "" || l.rpc != 0 && trace.FailedGRPC(int(grpc.Minus(l.rpc))) {
		b = append(b, "failure"...)
	} else {
		b = append(b, "success"...)
	}
	b = strconv.AppendInt(append(b, `","duration":`...), max(0, l.duration.Nanoseconds()), 10)
	b = append(jsonText(b, `,"reason":"`, l.reason), '}')
	if l.client.IsValid() {
		b = append(l.appendClient(append(b, `,"source":{"ip":"`...)), `"}`...)
	}
	b = f.ecsHTTP(b, l)
	b = f.ecsURL(b, l)
	if l.field(f.agent) != nil {
		b = append(f.appendValue(append(b, `,"user_agent":{"original":"`...), l, f.agent, appendEscaped[[]byte]), `"}`...)
	}
	if version := versionOf(l.tls); version != "" {
		b = append(append(append(b, `,"tls":{"version":"`...), version...), `","version_protocol":"tls"`...)
		if l.proved != nil {
			b = append(jsonText(b, `,"client":{"subject":"`, l.proved.Subject), '}')
		}
		b = append(b, '}')
	}
	if l.traceID != [16]byte{} {
		b = append(propagation.AppendTrace(append(b, `,"trace":{"id":"`...), &l.traceID), `"}`...)
	}
	return append(f.ecsOwn(p, b, l), '}', '\n')
}

// jsonText writes a key and its text, if there is any.
func jsonText(b []byte, key, text string) []byte {
	if text == "" {
		return b
	}
	return append(appendEscaped(append(b, key...), text), '"')
}

func (f *Format) ecsHTTP(b []byte, l *slot) []byte {
	b = append(b, `,"http":{`...)
	if version, ok := strings.CutPrefix(l.protocol, "HTTP/"); ok {
		b = append(appendEscaped(append(b, `"version":"`...), version), `",`...)
	}
	b = append(appendEscaped(append(b, `"request":{"method":"`...), l.method()), '"')
	if id := l.requestID(); len(id) > 0 {
		b = append(appendEscaped(append(b, `,"id":"`...), id), '"')
	}
	if l.field(f.referer) != nil {
		b = append(f.appendValue(append(b, `,"referrer":"`...), l, f.referer, appendEscaped[[]byte]), '"')
	}
	b = strconv.AppendInt(append(b, `,"bytes":`...), int64(l.copied().in)+l.bytesIn, 10)
	b = strconv.AppendInt(append(b, `,"body":{"bytes":`...), l.bytesIn, 10)
	b = append(b, `}},"response":{`...)
	if l.status != 0 {
		b = append(strconv.AppendInt(append(b, `"status_code":`...), int64(l.status), 10), ',')
	}
	b = strconv.AppendInt(append(b, `"bytes":`...), int64(l.copied().out)+l.bytesOut, 10)
	b = strconv.AppendInt(append(b, `,"body":{"bytes":`...), l.bytesOut, 10)
	return append(b, `}}}`...)
}

func (f *Format) ecsURL(b []byte, l *slot) []byte {
	b = append(b, `,"url":{`...)
	if l.scheme != 0 {
		b = append(append(append(b, `"scheme":"`...), l.scheme.String()...), `",`...)
	}
	host, port := cutPort(l.host())
	b = append(appendEscaped(append(b, `"domain":"`...), host), '"')
	if n, err := strconv.ParseUint(string(port), 10, 16); err == nil {
		b = strconv.AppendUint(append(b, `,"port":`...), n, 10)
	}
	b = append(appendEscaped(append(b, `,"path":"`...), l.path()), '"')
	if l.hasQuery {
		b = append(appendQuery(append(b, `,"query":"`...), l.query(), f.query == redactQuery, appendEscaped[[]byte]), '"')
	}
	return append(b, '}')
}

// ecsOwn writes what the schema has no fields for.
func (f *Format) ecsOwn(p *pen, b []byte, l *slot) []byte {
	b = strconv.AppendUint(append(b, `,"poise":{"generation":`...), l.generation, 10)
	if l.service != "" {
		b = append(b, p.texts().route(l)...)
	}
	b = jsonText(b, `,"grpc_status":"`, l.grpcStatus())
	b = f.appendFields(b, l, `,"request_fields":{`, f.chosen[0], f.chosen[1])
	b = f.appendFields(b, l, `,"response_fields":{`, f.chosen[1], f.chosen[2])
	if l.cut {
		b = append(b, `,"truncated":true`...)
	}
	return append(l.appendAttempts(p.texts(), append(b, `,"attempts":[`...)), ']', '}')
}
