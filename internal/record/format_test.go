package record

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/message"
)

// heads are a request and a response as an exchange has them.
func heads() (*message.Request, *message.Response) {
	q := &message.Request{Method: []byte("GET"), Target: []byte("/api/v1/users/7?token=s3cret&page=2&x")}
	for _, f := range [][2]string{
		{"Host", "API.example.com:8443"}, {"user-agent", `curl/8 "x"`}, {"Referer", "https://a/b?token=s3cret#f"},
		{"Authorization", "Basic YWxpY2U6czNjcmV0"}, {"Cookie", "sid=s3cret"}, {"X-Forwarded-For", "192.0.2.1"}, {"X-Forwarded-For", "192.0.2.2"},
	} {
		q.Fields = append(q.Fields, message.NewField(f[0], f[1]))
	}
	r := &message.Response{Status: 200, Reason: []byte("OK"), Fields: []message.Field{
		message.NewField("Content-Type", "text/html"), message.NewField("X-Cache", "é\n"), message.NewField("Connection", "close")}}
	r.Fields[2].Drop = true
	return q, r
}

// full is a sample that has everything, with what the format of s asks for.
func full(s *Sink) *Exchange {
	x := sample()
	q, r := heads()
	x.Host, x.Query, x.Norm = []byte("API.example.com:8443"), []byte("token=s3cret&page=2&x"), []byte("/api/v1/users/7")
	x.Path = []byte("/api//v1/users/7")
	x.Scheme, x.TLS, x.Generation, x.RouteName = "https", 0x0304, 42, "users-v1"
	x.ID, x.TraceID = []byte("req-1"), [16]byte{0x4b, 0xf9, 15: 0x36}
	x.Proved = &Identity{Subject: "CN=shop,O=Example", Name: "spiffe://example.org/shop"}
	x.attempts[0].Head = 0
	x.Attempts()[0].Head, x.Attempts()[1].Head = 500*time.Microsecond, 10*time.Millisecond
	if s.Captures() {
		x.Heads = new(Heads)
		x.Heads.Request(s, q)
		x.Heads.Response(r)
	}
	return x
}

func sinkOf(c config.AccessLog) *Sink {
	s := NewSink(16)
	s.Clock = func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 500_000_000, time.FixedZone("", 3600)) }
	s.Format = Compile(c)
	return s
}

func lineOf(c config.AccessLog, of func(*Sink) *Exchange) string {
	s := sinkOf(c)
	s.Put(of(s))
	var out bytes.Buffer
	s.Drain(&out)
	return out.String()
}

// TestFormats: every format in testdata/lines.txt is the line below it.
func TestFormats(t *testing.T) {
	const golden = "testdata/lines.txt"
	fields := config.LogFields{Request: []string{"user-agent", "Cookie", "X-Missing"}, Response: []string{"X-Cache"}}
	var got strings.Builder
	for _, c := range []config.AccessLog{
		{},
		{Fields: fields},
		{Fields: config.LogFields{Query: "keep", Request: []string{"Referer"}}},
		{Fields: config.LogFields{Query: "drop", Request: []string{"Referer"}}},
		{Format: "ecs"},
		{Format: "ecs", Fields: fields},
		{Format: "combined"},
		{Format: "combined", Fields: config.LogFields{Query: "keep"}},
		{Format: "$remote_addr|$remote_user|$time_local|$time_iso8601|$msec"},
		{Format: "$request|$request_method|$request_uri|$uri|$args|$query_string|$host|$http_host|$scheme|$server_protocol"},
		{Format: "$status|$body_bytes_sent|$bytes_sent|$request_length|${request_time}s"},
		{Format: "$upstream_addr|$upstream_status|$upstream_response_time|$upstream_header_time"},
		{Format: "$http_user_agent|$http_x_forwarded_for|$http_authorization|$http_missing|$sent_http_x_cache|$sent_http_connection"},
		{Format: "$request_id|$trace_id|$ssl_protocol|$ssl_client_s_dn|$ssl_client_san|$route|$service|$reason|$generation|$attempts"},
		{Format: `escape=json {"agent":"$http_user_agent","cache":"$sent_http_x_cache","no":"$http_missing","reason":"$reason","args":"$args"}`},
	} {
		format := c.Format
		if format == "" {
			format = "json"
		}
		got.WriteString("# " + format)
		if f := c.Fields; f.Query != "" || f.Request != nil {
			got.WriteString(" " + strings.Join(append(slices.Concat(f.Request, f.Response), "query:"+f.Query), " "))
		}
		got.WriteString("\n" + lineOf(c, full))
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(got.String()) {
		if strings.HasPrefix(line, "{") && !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if got.String() != string(want) {
		t.Errorf("got:\n%s\nwant, from %s (written anew with UPDATE_GOLDEN=1):\n%s", got.String(), golden, want)
	}
	if strings.Count(got.String(), "s3cret") != strings.Count(got.String(), "token=s3cret") {
		t.Error("a secret that is not in a query is in the log")
	}
}

// TestSecretsNeedKeep: by default no value of a query and no credentials are written.
func TestSecretsNeedKeep(t *testing.T) {
	for _, format := range []string{"json", "ecs", "combined", "$request $args $request_uri $http_referer $http_cookie $http_authorization $remote_user"} {
		c := config.AccessLog{Format: format, Fields: config.LogFields{Request: []string{"Referer", "Cookie", "Authorization"}}}
		if line := lineOf(c, full); strings.Contains(line, "s3cret") || strings.Contains(line, "czNjcmV0") {
			t.Errorf("%s: %s", format, line)
		}
	}
}

// TestCombinedIsRead: the line is what programs that read Apache's format expect.
func TestCombinedIsRead(t *testing.T) {
	form := regexp.MustCompile(`^(\S+) (\S+) (\S+) \[([^\]]+)\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-) "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"\n$`)
	line := lineOf(config.AccessLog{Format: "combined"}, full)
	m := form.FindStringSubmatch(line)
	if m == nil {
		t.Fatal(line)
	}
	if at, err := time.Parse("02/Jan/2006:15:04:05 -0700", m[4]); err != nil || at.UTC().Hour() != 11 || m[3] != "alice" || m[6] != "200" {
		t.Errorf("%v, %v", m, err)
	}
	empty := lineOf(config.AccessLog{Format: "combined"}, func(*Sink) *Exchange { return new(Exchange) })
	if want := `unix: - - [01/Mar/2026:12:00:00 +0100] "-" 000 0 "-" "-"` + "\n"; empty != want {
		t.Errorf("got %s, want %s", empty, want)
	}
}

// TestEveryVariableIsThere: what validation accepts can be written.
func TestEveryVariableIsThere(t *testing.T) {
	for _, name := range config.LogVariables {
		if variables[name] == nil {
			t.Errorf("$%s passes validation and is not written", name)
		}
	}
	for name := range variables {
		if !slices.Contains(config.LogVariables, name) {
			t.Errorf("$%s is written and does not pass validation", name)
		}
	}
}

func TestHeadsAreBounded(t *testing.T) {
	s := sinkOf(config.AccessLog{Fields: config.LogFields{Request: []string{"A", "B", "C", "D", "E", "F"}}})
	q := &message.Request{}
	for _, n := range []string{"A", "B", "C", "D", "E", "F"} {
		q.Fields = append(q.Fields, message.NewField(n, strings.Repeat(n, FieldBytesMax+1)))
	}
	x := sample()
	x.Heads = new(Heads)
	x.Heads.Request(s, q)
	x.Query = bytes.Repeat([]byte("q"), QueryBytesMax+1)
	x.ID = bytes.Repeat([]byte("i"), IDBytesMax+1)
	s.Put(x)
	var out bytes.Buffer
	s.Drain(&out)
	var l struct {
		Truncated bool
		Query     string
		ID        string            `json:"request_id"`
		Fields    map[string]string `json:"request_fields"`
	}
	if err := json.Unmarshal(out.Bytes(), &l); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, v := range l.Fields {
		sum += len(v)
	}
	if !l.Truncated || sum != HeadsBytesMax || len(l.Fields["A"]) != FieldBytesMax || len(l.Query) != QueryBytesMax || len(l.ID) != IDBytesMax {
		t.Errorf("%d bytes: %s", sum, out.Bytes())
	}
}

// TestAnOldFormatsHeads: an exchange that began before a reload has its fields by name.
func TestAnOldFormatsHeads(t *testing.T) {
	old := sinkOf(config.AccessLog{Fields: config.LogFields{Request: []string{"Referer", "User-Agent"}}})
	next := sinkOf(config.AccessLog{Format: "$http_user_agent $http_x_new"})
	x := full(old)
	old.ReplaceBy(next)
	old.Put(x)
	var out bytes.Buffer
	next.Drain(&out)
	if want := `curl/8 \x22x\x22 -` + "\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestSampling(t *testing.T) {
	s := sinkOf(config.AccessLog{Sample: config.LogSample{Rate: "25%", Always: []string{"5xx", "404", "retried", "failed", "slower 1s"}}})
	if !s.Samples() {
		t.Fatal("does not sample")
	}
	const quarter = 1 << 62
	one := func() *Exchange {
		x := &Exchange{Rand: quarter, Trace: new(Trace)}
		x.Status = 200
		x.Add(new(Attempt))
		return x
	}
	for name, c := range map[string]struct {
		change func(*Exchange)
		kept   bool
	}{
		"nothing special": {func(x *Exchange) {}, false},
		"by chance":       {func(x *Exchange) { x.Rand = quarter - 1<<20 }, true},
		"503":             {func(x *Exchange) { x.Status = 503 }, true},
		"404":             {func(x *Exchange) { x.Status = 404 }, true},
		"403":             {func(x *Exchange) { x.Status = 403 }, false},
		"999":             {func(x *Exchange) { x.Status = 999 }, false},
		"failed":          {func(x *Exchange) { x.Reason = "client-gone" }, true},
		"retried":         {func(x *Exchange) { x.Add(new(Attempt)) }, true},
		"slow":            {func(x *Exchange) { x.Duration = time.Second + 1 }, true},
		"not slow":        {func(x *Exchange) { x.Duration = time.Second }, false},
	} {
		x := one()
		c.change(x)
		s.Put(x)
		if n, _ := s.Drain(discard{}); n == 1 != c.kept {
			t.Errorf("%s: %d lines", name, n)
		}
	}
	if s.Dropped() != 0 {
		t.Error("lines that were left out count as lost")
	}
	none := sinkOf(config.AccessLog{Sample: config.LogSample{Rate: "0%"}})
	none.Put(&Exchange{})
	if n, _ := none.Drain(discard{}); n != 0 {
		t.Error("0% keeps a line")
	}
	if all := sinkOf(config.AccessLog{Sample: config.LogSample{Rate: "100%"}}); all.Samples() {
		t.Error("100% asks for chance")
	}
}

func TestFormatsAllocateNothing(t *testing.T) {
	for _, c := range []config.AccessLog{
		{Format: "combined"}, {Format: "ecs"}, {Format: "$request $args $http_x $upstream_header_time $request_id"},
		{Fields: config.LogFields{Request: []string{"User-Agent"}, Response: []string{"Content-Type"}}, Sample: config.LogSample{Rate: "99.9%"}},
	} {
		s := sinkOf(c)
		x := full(s)
		q, r := heads()
		if n := testing.AllocsPerRun(500, func() {
			x.Heads.Request(s, q)
			x.Heads.Response(r)
			s.Put(x)
			s.Drain(discard{})
		}); n != 0 {
			t.Errorf("%v: %v allocations", c, n)
		}
	}
}

// FuzzTemplate compiles any template and writes hostile values by it: a line stays one line of
// text, and JSON stays JSON.
func FuzzTemplate(f *testing.F) {
	f.Add("$remote_addr - $remote_user [$time_local] \"$request\" $status", "a\"\\\x00\n", "q=1&\r=é")
	f.Add("escape=json $http_x_y$args", "\xff\u2028", "&&=&=")
	f.Add("${status}$$", "", "")
	f.Add("escape=default ${sent_http_a}ü $uri", "x", "y")
	f.Fuzz(func(t *testing.T, template, value, query string) {
		c := config.AccessLog{Format: template, Fields: config.LogFields{Request: []string{"X-Y"}}}
		if _, _, err := c.Template(); err != nil {
			return
		}
		hostile := func(s *Sink) *Exchange {
			x := &Exchange{Method: []byte(value), Host: []byte(value), Path: []byte(value), Query: []byte(query), Norm: []byte(value),
				ID: []byte(value), Service: value, RouteName: value, Protocol: value, Trace: &Trace{Reason: value}}
			x.Add(&Attempt{Address: value})
			if s.Captures() {
				x.Heads = new(Heads)
				name := []byte("X-Y")
				x.Heads.Request(s, &message.Request{Fields: []message.Field{{Name: name, Value: []byte(value)}, {Name: name, Value: []byte(query)}}})
				x.Heads.Response(&message.Response{Fields: []message.Field{message.NewField("a", value)}})
			}
			return x
		}
		line := lineOf(c, hostile)
		if i := strings.IndexAny(line, "\r\n\x00"); i != len(line)-1 {
			t.Fatalf("not one line: %q", line)
		}
		if strings.HasPrefix(template, "escape=json") {
			c.Format = `escape=json {"a":"$http_x_y","b":"$args","c":"$request","d":"$host","e":"$service"}`
			if line := lineOf(c, hostile); !json.Valid([]byte(line)) || !utf8.ValidString(line) {
				t.Fatalf("not JSON: %q", line)
			}
		}
		for _, format := range []string{"json", "ecs"} {
			c.Format = format
			if line := lineOf(c, hostile); !json.Valid([]byte(line)) || strings.Count(line, "\n") != 1 {
				t.Fatalf("not JSON: %q", line)
			}
		}
		c.Format = "combined"
		if line := lineOf(c, hostile); strings.Count(line, `"`) != 6 {
			t.Fatalf("a value ends its quotes: %q", line)
		}
	})
}

// TestAddressesAreText: addresses that netip can hold, in every format.
func TestAddressesAreText(t *testing.T) {
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1").WithZone("a\"\n")} {
		for _, format := range []string{"json", "ecs", "combined", "escape=json {\"a\":\"$remote_addr\"}"} {
			line := lineOf(config.AccessLog{Format: format}, func(*Sink) *Exchange { return &Exchange{Client: a} })
			if strings.Count(line, "\n") != 1 || strings.Contains(line, "{") && !json.Valid([]byte(line)) {
				t.Errorf("%s: %q", format, line)
			}
		}
	}
}
