package h2

// Probes by grpc.health.v1, of a server that says what a test has it say.

import (
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/grpc"
	"github.com/poise-lb/poise/internal/http2"
	"github.com/poise-lb/poise/internal/message"
	"github.com/poise-lb/poise/internal/upstream"
)

// An answer is what a server says to Check.
type answer struct {
	http    int    // status; 0: 200
	kind    string // content type; empty: that of gRPC
	message string // framed, as it stands on the wire; empty: none
	status  string // grpc-status in the trailers, or in the head if there is no message
	text    string // grpc-message
	silent  bool   // nothing is said
}

func (a answer) serve(p *peer, asked *message.Request, content *string) {
	p.settings()
	f, err := p.until(http2.FrameHeaders)
	if err != nil {
		return
	}
	var decoder http2.Decoder
	if _, err := decoder.Request(nil, f.Payload, false, asked); err != nil {
		*content = err.Error()
	}
	data, err := p.until(http2.FrameData)
	if err != nil {
		return
	}
	*content = string(data.Payload)
	if !a.silent {
		a.say(p, f.Stream)
	}
	p.until(http2.FrameGoAway) // the end of the connection
}

func (a answer) say(p *peer, id uint32) {
	r := &message.Response{Status: a.http}
	if a.http == 0 {
		r.Status = 200
	}
	kind := a.kind
	if kind == "" {
		kind = grpc.ContentType
	}
	r.Fields = append(r.Fields, message.NewField("content-type", kind))
	var status []message.Field
	if a.status != "" {
		status = append(status, message.NewField("grpc-status", a.status))
	}
	if a.text != "" {
		status = append(status, message.NewField("grpc-message", a.text))
	}
	if a.message == "" {
		r.Fields = append(r.Fields, status...)
	}
	out := p.encode.Response(http2.BeginHeaders(nil), r, false)
	p.say(http2.FinishHeaders(out, 0, id, a.message == "", http2.FrameSizeMin))
	if a.message == "" {
		return
	}
	p.say(http2.AppendData(nil, id, []byte(a.message), len(status) == 0))
	if len(status) > 0 {
		out = p.encode.Trailers(http2.BeginHeaders(nil), status)
		p.say(http2.FinishHeaders(out, 0, id, true, http2.FrameSizeMin))
	}
}

func TestProbesOfGRPC(t *testing.T) {
	const serving = "\x00\x00\x00\x00\x02\x08\x01"
	for _, c := range []struct {
		name, service string
		answer        answer
		want          string // part of the error; empty: the probe passes
	}{
		{"serves", "", answer{message: serving, status: "0"}, ""},
		{"serves a service", "shop.Cart", answer{message: serving, status: "0"}, ""},
		{"fields it does not know", "", answer{message: "\x00\x00\x00\x00\x09\x12\x02xy\x08\x01\x18\xac\x02", status: "0"}, ""},
		{"does not serve", "", answer{message: "\x00\x00\x00\x00\x02\x08\x02", status: "0"}, "the server is NOT_SERVING"},
		{"service does not", "shop.Cart", answer{message: "\x00\x00\x00\x00\x02\x08\x02", status: "0"}, "the service shop.Cart is NOT_SERVING"},
		{"no status", "", answer{message: "\x00\x00\x00\x00\x00", status: "0"}, "status 0 of grpc.health.v1"},
		{"service unknown", "", answer{message: "\x00\x00\x00\x00\x02\x08\x03", status: "0"}, "status 3 of grpc.health.v1"},
		{"not known", "shop.Cart", answer{status: "5"}, "the server does not know the service shop.Cart"},
		{"unimplemented", "", answer{status: "12", text: "unknown service"}, "has no grpc.health.v1"},
		{"declined", "", answer{status: "14", text: "going %C3%BCber"}, "UNAVAILABLE: going über"},
		{"declined behind a message", "", answer{message: serving, status: "13"}, "INTERNAL"},
		{"without grpc-status", "", answer{message: serving}, "no grpc-status"},
		{"not gRPC", "", answer{http: 404, kind: "text/plain"}, `status 404, content type "text/plain"`},
		{"not gRPC but 200", "", answer{kind: "text/html", message: "<p>"}, `status 200, content type "text/html"`},
		{"compressed", "", answer{message: "\x01\x00\x00\x00\x02\x08\x01", status: "0"}, "compressed"},
		{"cut short", "", answer{message: serving[:6], status: "0"}, "cannot be read"},
		{"longer than it says", "", answer{message: serving + "x", status: "0"}, "cannot be read"},
		{"no message", "", answer{status: "0"}, "cannot be read"},
		{"wrong wire type", "", answer{message: "\x00\x00\x00\x00\x02\x0b\x01", status: "0"}, "cannot be read"},
		{"endless number", "", answer{message: "\x00\x00\x00\x00\x02\x08\xff", status: "0"}, "cannot be read"},
		{"field longer than all", "", answer{message: "\x00\x00\x00\x00\x02\x12\x7f", status: "0"}, "cannot be read"},
		{"silent", "", answer{silent: true}, engine.ErrTimeout.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked message.Request
			var content string
			play(t, upstream.Settings{}, func(p *peer) { c.answer.serve(p, &asked, &content) }, func(w *world) {
				probe := upstream.Probe{Method: "POST", GRPC: &upstream.GRPC{Service: c.service}, Fields: []message.Field{message.NewField("Authorization", "x")}}
				e := endpoint.New(endpoint.Spec{ID: endpoint.ID{Scheme: "h2c", Address: address}})
				err := probe.Do(w.rt, w.pool, e, w.rt.Now()+time.Second)
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
			})
			want := "\x00\x00\x00\x00\x00"
			if c.service != "" {
				want = "\x00\x00\x00\x00\x0b\x0a\x09" + c.service
			}
			if content != want || string(asked.Method) != "POST" || string(asked.Path) != "/grpc.health.v1.Health/Check" || string(asked.Host) != "10.0.0.1" {
				t.Errorf("asked %s %s%s with %q, want %q", asked.Method, asked.Host, asked.Path, content, want)
			}
			for name, value := range map[string]string{"content-type": "application/grpc", "authorization": "x", "grpc-timeout": "1000000u", "user-agent": "poise-probe"} {
				if got, _ := message.Get(asked.Fields, name); string(got) != value {
					t.Errorf("%s: %q, want %q", name, got, value)
				}
			}
			if !asked.TrailersOK {
				t.Error("te: trailers is missing")
			}
		})
	}
}

// Whatever a server answers with, it is read in time and without a panic.
func FuzzGRPCAnswer(f *testing.F) {
	f.Add("\x00\x00\x00\x00\x02\x08\x01", "0")
	f.Add("\x00\x00\x00\x00\x09\x12\x02xy\x08\x01\x18\xac\x02", "0")
	f.Fuzz(func(t *testing.T, m, status string) {
		if len(m) > 16<<10 || strings.ContainsFunc(status, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return
		}
		var asked message.Request
		var content string
		play(t, upstream.Settings{}, func(p *peer) { answer{message: m, status: status}.serve(p, &asked, &content) }, func(w *world) {
			probe := upstream.Probe{Method: "POST", GRPC: &upstream.GRPC{}}
			e := endpoint.New(endpoint.Spec{ID: endpoint.ID{Scheme: "h2c", Address: address}})
			err := probe.Do(w.rt, w.pool, e, w.rt.Now()+time.Second)
			if err == nil && (status != "0" || !strings.Contains(m, "\x08\x01")) {
				t.Errorf("%q, status %q passes", m, status)
			}
		})
	})
}
