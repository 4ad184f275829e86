package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/reason"
)

// line is what a reader of the log sees.
type line struct {
	Time      time.Time `json:"time"`
	Client    string    `json:"client"`
	Method    string    `json:"method"`
	Host      string    `json:"host"`
	Path      string    `json:"path"`
	Protocol  string    `json:"protocol"`
	Status    int       `json:"status"`
	Reason    string    `json:"reason"`
	BytesIn   int64     `json:"bytes_in"`
	BytesOut  int64     `json:"bytes_out"`
	Duration  float64   `json:"duration_ms"`
	Route     *int      `json:"route"`
	Service   string    `json:"service"`
	Truncated bool      `json:"truncated"`
	Attempts  []struct {
		Endpoint string  `json:"endpoint"`
		Zone     string  `json:"zone"`
		Status   int     `json:"status"`
		Reason   string  `json:"reason"`
		Start    float64 `json:"start_ms"`
		Time     float64 `json:"time_ms"`
	} `json:"attempts"`
}

func decode(t testing.TB, b []byte) []line {
	t.Helper()
	var lines []line
	for raw := range bytes.Lines(b) {
		var l line
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&l); err != nil {
			t.Fatalf("%v in %q", err, raw)
		}
		lines = append(lines, l)
	}
	return lines
}

func sample() *Exchange {
	x := &Exchange{
		Client: netip.MustParseAddr("192.0.2.7"), Method: []byte("GET"), Host: []byte("api.example.com"),
		Path: []byte("/api/v1/users/7"), Protocol: "HTTP/1.1",
		Duration: 12345678 * time.Nanosecond, Route: 3, Service: "users",
		Trace: &Trace{Status: 200, BytesIn: 3, BytesOut: 1234},
	}
	x.Add(&Attempt{Scheme: "http", Address: "127.0.0.1:9001", Status: 503, Reason: reason.Status, Start: 90 * time.Microsecond, Time: time.Millisecond})
	x.Add(&Attempt{Scheme: "http", Address: "127.0.0.1:9002", Zone: "eu-\"1\"", Status: 200, Start: 1100 * time.Microsecond, Time: 11 * time.Millisecond})
	return x
}

func TestLine(t *testing.T) {
	s := NewSink(4)
	s.Clock = func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 500_000_000, time.FixedZone("x", 3600)) }
	s.Put(sample())
	var out bytes.Buffer
	if n, err := s.Drain(&out); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	want := `{"time":"2026-03-01T11:00:00.487654Z","client":"192.0.2.7","method":"GET","host":"api.example.com",` +
		`"path":"/api/v1/users/7","protocol":"HTTP/1.1","status":200,"bytes_in":3,"bytes_out":1234,"duration_ms":12.345,` +
		`"route":3,"service":"users","attempts":[` +
		`{"endpoint":"http://127.0.0.1:9001","status":503,"reason":"status 503","start_ms":0.090,"time_ms":1.000},` +
		`{"endpoint":"http://127.0.0.1:9002","zone":"eu-\"1\"","status":200,"reason":"","start_ms":1.100,"time_ms":11.000}]}` + "\n"
	if out.String() != want {
		t.Errorf("got  %swant %s", out.String(), want)
	}
}

func TestLineHasTheNameOfTheRoute(t *testing.T) {
	s := NewSink(1)
	x := sample()
	x.RouteName = "shop"
	s.Put(x)
	var out bytes.Buffer
	s.Drain(&out)
	if !strings.Contains(out.String(), `"route":3,"route_name":"shop","service":"users"`) {
		t.Error(out.String())
	}
}

// The wait in the queue of a service is in lines of requests that had one.
func TestLineHasTheWaitInTheQueue(t *testing.T) {
	of := func(*Sink) *Exchange {
		x := sample()
		x.Trace.Queued = 5 * time.Millisecond
		return x
	}
	if line := lineOf(config.AccessLog{}, of); !strings.Contains(line, `"duration_ms":12.345,"queued_ms":5.000,`) {
		t.Error(line)
	}
	if line := lineOf(config.AccessLog{Format: "$request_time $queue_time"}, of); line != "0.012 0.005\n" {
		t.Error(line)
	}
	if line := lineOf(config.AccessLog{}, func(*Sink) *Exchange { return sample() }); strings.Contains(line, "queued") {
		t.Error(line)
	}
}

func TestEmptyRecord(t *testing.T) {
	s := NewSink(1)
	x := sample().Trace
	x.Reset()
	s.Put(&Exchange{Trace: x})
	var out bytes.Buffer
	s.Drain(&out)
	l := decode(t, out.Bytes())[0]
	if l.Route != nil || l.Client != "" || l.Status != 0 || len(l.Attempts) != 0 || l.Truncated {
		t.Errorf("Reset left something: %s", out.Bytes())
	}
}

func TestLongValuesAreCut(t *testing.T) {
	s := NewSink(2)
	x := sample()
	x.Method, x.Host, x.Path = bytes.Repeat([]byte("M"), 99), bytes.Repeat([]byte("h"), 999), bytes.Repeat([]byte("p"), 9999)
	for range 12 {
		x.Add(&Attempt{Scheme: "http", Address: "last"})
	}
	s.Put(x)
	s.Put(sample()) // the cut does not leak into the next
	var out bytes.Buffer
	s.Drain(&out)
	l := decode(t, out.Bytes())
	if len(l[0].Method) != MethodBytesMax || len(l[0].Host) != HostBytesMax || len(l[0].Path) != PathBytesMax || !l[0].Truncated {
		t.Errorf("not cut: %+v", l[0])
	}
	if n := len(l[0].Attempts); n != 8 {
		t.Errorf("%d attempts, want 8", n)
	}
	if l[1].Truncated || l[1].Host != "api.example.com" || len(l[1].Attempts) != 2 {
		t.Errorf("second record: %+v", l[1])
	}
}

func TestFullRingDropsAndCounts(t *testing.T) {
	s := NewSink(3) // rounded up to 4
	x := sample()
	for round := range 5 {
		for i := range 6 {
			x.Path = fmt.Appendf(nil, "/%d/%d", round, i)
			s.Put(x)
		}
		var out bytes.Buffer
		if n, err := s.Drain(&out); n != 4 || err != nil {
			t.Fatalf("round %d: %d, %v", round, n, err)
		}
		for i, l := range decode(t, out.Bytes()) {
			if want := fmt.Sprintf("/%d/%d", round, i); l.Path != want {
				t.Errorf("got %s, want %s: the oldest stay, in order", l.Path, want)
			}
		}
		if got := s.Dropped(); got != uint64(2*(round+1)) {
			t.Errorf("dropped %d", got)
		}
	}
	if s.Written() != 20 {
		t.Errorf("written %d", s.Written())
	}
}

type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestWriterFails(t *testing.T) {
	s := NewSink(1024)
	for range 1024 {
		s.Put(sample())
	}
	n, err := s.Drain(&failing{after: 1})
	if err == nil || n == 0 || uint64(n) != s.Written() || s.Dropped() == 0 {
		t.Fatalf("n=%d err=%v written=%d dropped=%d", n, err, s.Written(), s.Dropped())
	}
	m, err := s.Drain(&failing{after: 1 << 20}) // the rest is not lost
	if err != nil || uint64(n+m)+s.Dropped() != 1024 {
		t.Fatalf("%d + %d lines, %d dropped, %v", n, m, s.Dropped(), err)
	}
}

// TestManyProducers: with producers and the consumer at once, every record is either
// written whole or counted as dropped, and each producer's records keep their order.
func TestManyProducers(t *testing.T) {
	const producers, each = 8, 3000
	s := NewSink(64)
	wake := make(chan struct{}, 1)
	s.Wake = func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	var group sync.WaitGroup
	for p := range producers {
		group.Go(func() {
			x := Exchange{Trace: new(Trace)}
			for i := range each {
				x.Reset()
				text := fmt.Appendf(nil, "%d-%d", p, i)
				x.Method, x.Host, x.Path, x.Status = text, text, text, 200
				for range i % 4 {
					x.Add(&Attempt{Address: string(text)})
				}
				s.Put(&x)
				if i%32 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	var out bytes.Buffer
	for running := true; running; {
		if s.Park() {
			select {
			case <-wake:
			case <-done:
				running = false
			}
		}
		s.Drain(&out)
	}
	for {
		if n, _ := s.Drain(&out); n == 0 {
			break
		}
	}
	lines := decode(t, out.Bytes())
	if uint64(len(lines))+s.Dropped() != producers*each {
		t.Errorf("%d lines + %d dropped != %d", len(lines), s.Dropped(), producers*each)
	}
	last := map[int]int{}
	for _, l := range lines {
		var p, i int
		fmt.Sscanf(l.Path, "%d-%d", &p, &i)
		if l.Method != l.Path || l.Host != l.Path || len(l.Attempts) != i%4 {
			t.Fatalf("torn record: %+v", l)
		}
		if before, ok := last[p]; ok && i <= before {
			t.Fatalf("producer %d: %d after %d", p, i, before)
		}
		last[p] = i
	}
}

func TestParkWakesOnce(t *testing.T) {
	s := NewSink(8)
	woken := 0
	s.Wake = func() { woken++ }
	s.Put(sample())
	if woken != 0 {
		t.Error("woken although nobody was parked")
	}
	if s.Park() {
		t.Error("parked although a record was waiting")
	}
	s.Drain(&bytes.Buffer{})
	if !s.Park() {
		t.Error("did not park on an empty ring")
	}
	s.Put(sample())
	s.Put(sample())
	if woken != 1 {
		t.Errorf("woken %d times, want once", woken)
	}
}

func TestNilSink(t *testing.T) {
	var s *Sink
	s.Put(sample())
	if n, err := s.Drain(nil); n != 0 || err != nil || s.Dropped() != 0 || s.Written() != 0 || !s.Park() {
		t.Error("a nil Sink does something")
	}
}

func TestZeroSinkDrops(t *testing.T) {
	var s Sink
	s.Put(sample())
	if s.Dropped() != 1 {
		t.Error("a Sink without a ring must drop and count")
	}
}

func TestPutAllocatesNothing(t *testing.T) {
	s, x := NewSink(16), sample()
	if n := testing.AllocsPerRun(1000, func() { s.Put(x); s.Drain(discard{}) }); n != 0 {
		t.Errorf("%v allocations for Put and Drain", n)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// FuzzEscape compares with encoding/json: what we write must read back as the standard
// library's own reading of the same bytes, from strings and from slices alike.
func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"", "plain", "\"\\/\b\f\n\r\t\x00\x1f\x7f", "é€😀", "\xff\xc3\x28\xe2\x82", "\u2028\u2029", "\xed\xa0\x80", "</script>", "a\xf0\x9f\x98", strings.Repeat("x\n", 200)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got := appendEscaped([]byte(`"`), in)
		got = append(got, '"')
		if asString := appendEscaped([]byte(`"`), string(in)); !bytes.Equal(append(asString, '"'), got) {
			t.Fatalf("string and slice differ: %q", got)
		}
		if !utf8.Valid(got) || bytes.ContainsAny(got, "\n\r\u2028\u2029") {
			t.Fatalf("not one line of UTF-8: %q", got)
		}
		oracle, err := json.Marshal(string(in))
		if err != nil {
			t.Fatal(err)
		}
		var a, b string
		if err := json.Unmarshal(got, &a); err != nil {
			t.Fatalf("%v: %q", err, got)
		}
		if err := json.Unmarshal(oracle, &b); err != nil || a != b {
			t.Fatalf("%q read back as %q, encoding/json says %q", in, a, b)
		}
	})
}

// FuzzLine puts hostile text in every field and reads the line back.
func FuzzLine(f *testing.F) {
	f.Add("GET", "example.com", "/", "connect", "127.0.0.1:1", int64(0), 200)
	f.Add("\"", "h\n\r", "/\x00\\", "a\"b", "unix:/\xff", int64(-1500), -7)
	f.Add(strings.Repeat("é", 40), strings.Repeat("é", 200), strings.Repeat("€", 600), "", "", int64(1<<62), 1<<31)
	f.Fuzz(func(t *testing.T, method, host, path, reason, address string, d int64, status int) {
		s := NewSink(2)
		// The wall clock is far from the ends of what a year of four digits can say.
		x := &Exchange{Method: []byte(method), Host: []byte(host), Path: []byte(path), Service: reason,
			Duration: time.Duration(d % (1 << 58)), Client: netip.IPv6Unspecified().WithZone(reason),
			Trace: &Trace{Reason: reason, Status: status}}
		x.Add(&Attempt{Address: address, Reason: reason, Status: status, Start: time.Duration(d)})
		s.Put(x)
		var out bytes.Buffer
		s.Drain(&out)
		lines := decode(t, out.Bytes())
		if len(lines) != 1 {
			t.Fatalf("%d lines", len(lines))
		}
		l := lines[0]
		valid := func(s string, most int) string { return string([]rune(s[:min(len(s), most)])) }
		if l.Method != valid(method, MethodBytesMax) || l.Host != valid(host, HostBytesMax) || l.Path != valid(path, PathBytesMax) ||
			l.Reason != valid(reason, len(reason)) || l.Attempts[0].Endpoint != "://"+valid(address, len(address)) || l.Status != status {
			t.Fatalf("read back wrongly: %+v", l)
		}
	})
}

func BenchmarkPut(b *testing.B) {
	s, x := NewSink(8192), sample()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i&4095 == 4095 {
			b.StopTimer()
			s.Drain(discard{})
			b.StartTimer()
		}
		s.Put(x)
	}
	if s.Dropped() != 0 {
		b.Fatal("dropped")
	}
}

func BenchmarkPutOff(b *testing.B) {
	var s *Sink
	x := sample()
	b.ReportAllocs()
	for b.Loop() {
		s.Put(x)
	}
}

func BenchmarkPutFull(b *testing.B) {
	s := NewSink(1)
	x := sample()
	b.ReportAllocs()
	for b.Loop() {
		s.Put(x)
	}
}

func BenchmarkDrain(b *testing.B) {
	s, x := NewSink(8192), sample()
	b.ReportAllocs()
	for b.Loop() {
		s.Put(x)
		s.Drain(discard{})
	}
}

// A stamp writes what package time would, whatever instant follows on whatever other.
func TestStamp(t *testing.T) {
	var s stamp
	r := rand.New(rand.NewPCG(7, 7))
	at := time.Unix(0, 0)
	for range 20_000 {
		switch r.IntN(4) {
		case 0:
			at = at.Add(time.Duration(r.Int64N(int64(2 * time.Second))))
		case 1:
			at = at.Add(-time.Duration(r.Int64N(int64(time.Second))))
		case 2:
			at = time.Unix(r.Int64N(4e9), r.Int64N(1e9)).In(time.FixedZone("", 3600))
		}
		if got, want := string(s.append(nil, at.UnixNano())), at.UTC().Format("2006-01-02T15:04:05.000000Z07:00"); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

// A line without a Clock says when its exchange began by the wall clock, and not when it is written.
func TestALineIsDatedByTheWallClock(t *testing.T) {
	s, x := NewSink(4), sample()
	time.Sleep(5 * time.Millisecond) // NewSink is the instant that records count from
	before := time.Now().Add(-x.Duration)
	s.Put(x)
	after := time.Now().Add(-x.Duration)
	time.Sleep(5 * time.Millisecond)
	var out bytes.Buffer
	s.Drain(&out)
	const steps = 2 * time.Millisecond // of a wall clock that is being corrected meanwhile
	if at := decode(t, out.Bytes())[0].Time; at.Before(before.Add(-steps)) || at.After(after.Add(steps)) {
		t.Errorf("%s, which was between %s and %s", at, before, after)
	}
}

// FuzzQuery compares the names that redaction keeps with a reading pair by pair.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "a", "a=", "=a", "a=1&b&c=x=y", "&&a&=&", "a&b=\"&c\\=1", "é=ü&x", "\xff=\xfe&\xfd"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		var want []byte
		for i, pair := range bytes.Split(query, []byte("&")) {
			if i > 0 {
				want = append(want, '&')
			}
			name, _, valued := bytes.Cut(pair, []byte("="))
			if want = appendEscaped(want, name); valued {
				want = append(want, "=…"...)
			}
		}
		if got := appendQuery(nil, query, true, appendEscaped[[]byte]); !bytes.Equal(got, want) {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	})
}
