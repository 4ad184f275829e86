package accesslines

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return t
}

var lines = []struct {
	name, line, format string
	want               Entry
}{
	{"poise", `{"time":"2026-11-28T20:31:59.844596Z","client":"127.0.0.1","method":"POST","host":"a","path":"/","protocol":"HTTP/1.1","status":200,"bytes_in":0,"bytes_out":463,"duration_ms":2.097,"route":0,"service":"users","attempts":[{"endpoint":"http://127.0.0.1:9001","status":0,"reason":"connect-failed","start_ms":0.000,"time_ms":0.5},{"endpoint":"https://127.0.0.1:9002","zone":"b","status":200,"reason":"","start_ms":0.5,"time_ms":1.5}]}`, "poise",
		Entry{Began: at("2026-11-28T20:31:59.844596Z"), Client: "127.0.0.1", Method: "POST", Status: 200, Whole: 2097 * time.Microsecond, Took: 1500 * time.Microsecond, Endpoint: "127.0.0.1:9002", Zone: "b"}},
	{"traefik", `{"ClientAddr":"203.0.113.9:51234","ClientHost":"203.0.113.9","DownstreamStatus":200,"Duration":2097000,"OriginDuration":1900000,"OriginStatus":200,"RequestMethod":"GET","RequestPath":"/","ServiceAddr":"10.0.0.1:80","ServiceName":"a@docker","ServiceURL":"http://10.0.0.1:80","StartUTC":"2026-11-28T20:31:59.844596123Z","time":"2026-11-28T20:31:59Z"}`, "traefik",
		Entry{Began: at("2026-11-28T20:31:59.844596123Z"), Client: "203.0.113.9", Method: "GET", Status: 200, Whole: 2097 * time.Microsecond, Took: 1900 * time.Microsecond, Endpoint: "10.0.0.1:80"}},
	{"old traefik", `{"ClientHost":"203.0.113.9","Duration":5,"ServiceURL":{"Scheme":"http","Host":"10.0.0.1:80"},"StartUTC":"2026-11-28T20:31:59Z"}`, "traefik",
		Entry{Began: at("2026-11-28T20:31:59Z"), Client: "203.0.113.9", Whole: 5}},
	{"combined", `203.0.113.9 - frank [28/Nov/2026:20:31:59 +0100] "GET /a\"b HTTP/1.1" 404 463 "-" "curl/8 \"x\" y=1"`, "combined",
		Entry{Began: at("2026-11-28T19:31:59Z"), Client: "203.0.113.9", Method: "GET", Status: 404}},
	{"common", `203.0.113.9 - - [28/Nov/2026:20:31:59 +0000] "GET / HTTP/1.1" 200 463`, "combined",
		Entry{Began: at("2026-11-28T20:31:59Z"), Client: "203.0.113.9", Method: "GET", Status: 200}},
	{"combined with times", `203.0.113.9 - - [28/Nov/2026:20:31:59 +0000] "GET / HTTP/1.1" 200 463 "-" "curl" rt=0.250 uct="0.001" uht="0.2" urt="0.1, 0.200" uaddr="10.0.0.1:80, 10.0.0.2:80"`, "combined",
		Entry{Began: at("2026-11-28T20:31:58.75Z"), Client: "203.0.113.9", Method: "GET", Status: 200, Whole: 250 * time.Millisecond, Took: 200 * time.Millisecond, Endpoint: "10.0.0.2:80"}},
	{"envoy", `[2016-04-15T20:17:00.310Z] "POST /api/v1/locations HTTP/2" 204 - 154 0 226 100 "10.0.35.28, 10.0.0.9" "nsq2http" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "locations" "tcp://10.0.2.1:80"`, "envoy",
		Entry{Began: at("2016-04-15T20:17:00.31Z"), Client: "10.0.35.28", Method: "POST", Status: 204, Whole: 226 * time.Millisecond, Took: 100 * time.Millisecond, Endpoint: "10.0.2.1:80"}},
	{"envoy of istio", `[2016-04-15T20:17:00.310Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 463 226 - "-" "curl" "id" "host" "-"`, "envoy",
		Entry{Began: at("2016-04-15T20:17:00.31Z"), Client: "-", Method: "GET", Status: 200, Whole: 226 * time.Millisecond}},
	{"envoy in less than a millisecond", `[2016-04-15T20:17:00.310Z] "GET / HTTP/1.1" 200 - 0 463 0 0 "-" "curl" "id" "host" "10.0.2.1:80"`, "envoy",
		Entry{Began: at("2016-04-15T20:17:00.31Z"), Client: "-", Method: "GET", Status: 200, Whole: short, Took: short, Endpoint: "10.0.2.1:80"}},
	{"envoy without times", `[2016-04-15T20:17:00.310Z] "GET / HTTP/1.1" 200 - a b c d e f "-" "curl" "id" "host" "-"`, "envoy", Entry{}},
}

func TestFormats(t *testing.T) {
	for _, c := range lines {
		var e Entry
		format, err := parse([]byte(c.line), &e)
		if c.want == (Entry{}) {
			if err == nil {
				t.Errorf("%s: read as %+v", c.name, e)
			}
			continue
		}
		if err != nil || format != c.format {
			t.Errorf("%s: %s, %v", c.name, format, err)
			continue
		}
		if !e.Began.Equal(c.want.Began) {
			t.Errorf("%s: began %v, want %v", c.name, e.Began, c.want.Began)
		}
		if e.Began = c.want.Began; e != c.want {
			t.Errorf("%s: %+v\nwant %+v", c.name, e, c.want)
		}
	}
}

// What cannot be read is counted, with its line, and the rest is used.
func TestTornLines(t *testing.T) {
	text := lines[0].line + "\n\n" + lines[0].line[:100] + "\nnonsense\r\n" + strings.Repeat("x", lineMax+5) + "\n" + lines[3].line
	n := 0
	sum, err := Read(strings.NewReader(text), func(*Entry) error { n++; return nil })
	if err != nil || n != 2 || sum.Read != 2 || sum.Skipped != 3 || len(sum.First) != 3 || sum.First[0].Line != 3 || sum.First[1].Line != 4 {
		t.Errorf("%d entries, %+v, %v", n, sum, err)
	}
	_, err = Read(strings.NewReader("nonsense\n"), nil)
	if err == nil || !strings.Contains(err.Error(), "line 1:") || !strings.Contains(err.Error(), "Envoy") {
		t.Errorf("%v", err)
	}
	if _, err = Read(strings.NewReader("\n"), nil); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("%v", err)
	}
	stop := fmt.Errorf("enough")
	if _, err = Read(strings.NewReader(text), func(*Entry) error { return stop }); err != stop {
		t.Errorf("%v", err)
	}
}

// Requests of one second are spread over it: any hundred in a row leave no gap of 50 ms.
func TestSecondsAreSpread(t *testing.T) {
	var seen [20]int
	text := strings.Repeat(lines[4].line+"\n", 100)
	sum, err := Read(strings.NewReader(text), func(e *Entry) error {
		seen[e.Began.Nanosecond()/50_000_000]++
		return nil
	})
	if err != nil || !sum.Coarse {
		t.Errorf("%+v, %v", sum, err)
	}
	for i, n := range seen {
		if n < 3 || n > 7 {
			t.Errorf("%d requests in the part %d of 20", n, i)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, c := range lines {
		f.Add([]byte(c.line + "\n" + c.line))
	}
	f.Add([]byte(`1 2 3 [28/Nov/2026:20:31:59 +0100] "G" 200 1 rt=9e99 urt="`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n := 0
		sum, err := Read(strings.NewReader(string(data)), func(e *Entry) error {
			n++
			if e.Whole < 0 || e.Took < 0 || e.Whole > spanMax || e.Took > spanMax || e.Began.Year() < yearsMin-1 {
				t.Errorf("%+v", e)
			}
			return nil
		})
		if n != sum.Read || (err == nil) != (n > 0) {
			t.Errorf("%d entries, %+v, %v", n, sum, err)
		}
	})
}
