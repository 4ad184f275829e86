package script

// Both versions of HTTP mean the same, so what a request and its response are must not depend on which
// of them either side speaks. Sequences of requests and answers are drawn at random and played
// in virtual worlds in all four combinations, and a few of them on sockets by every other driver; what
// clients and endpoints saw is compared with what they saw with HTTP/1.1 on both sides. Where the two
// differ by definition, or by what net/http can do, is said where it is let pass: unlike and neutral.

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/engine/virtual"
)

const agreeArchive = `# drawn
-- poise.yaml --
version: 1
services:
  web: {endpoints: ["${a}", "${b}"], policy: round_robin, breaker: {off: true}, retry: {on: [connect, reset, 503]}}
routes: [{match: {path: /**}, service: web, timeout: 5s}]
-- script --
`

// A drawn is one request, and what each endpoint answers.
type drawn struct{ request, answer []string }

func draw(r *rand.Rand) (all []drawn) {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	for range 1 + r.IntN(6) {
		d := drawn{request: []string{pick("GET", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"),
			pick("/", "/a/b?c=d&e", "/%41%2fb", "/a;b=c/%C3%A9", "/x?"+strings.Repeat("y", 3000))}}
		for range r.IntN(4) {
			d.request = append(d.request, "header", pick("X-A: one", "X-A: two", "Cookie: a=b; c=d", "Cookie: e=f", "Accept: */*", "X-Empty:",
				"TE: trailers", "Via: 1.1 other", "Content-Type: text/x", "X-Long: "+strings.Repeat("v", 9000), "Authorization: Basic YTpi", "X-Bytes: \xc3\xa9"))
		}
		switch r.IntN(4) {
		case 0:
			d.request = append(d.request, "bytes", pick("1", "1000", "70000", "200000"))
		case 1:
			d.request = append(d.request, "chunk", "hello", "chunk", strings.Repeat("w", r.IntN(20_000)+1), "trailer", "X-Sum: 5")
		}
		fields := []string{}
		for range r.IntN(3) {
			fields = append(fields, "header", pick("X-B: one", "X-B: two", "Set-Cookie: a=b", "Set-Cookie: c=d", "Content-Type: text/y", "Location: /z", "Vary: a"))
		}
		content := pick("body|", "body|text", "bytes|1", "bytes|70000", "bytes|300000", "chunk|one|chunk|two", "chunk|one|trailer|X-End: 3", "chunked|chunk|"+strings.Repeat("z", 30_000))
		reply := append(append([]string{"reply", pick("200", "200", "200", "201", "204", "304", "404", "500", "503")}, fields...), strings.Split(content, "|")...)
		if reply[1] == "204" || reply[1] == "304" {
			reply = append(reply[:2:2], fields...)
		}
		switch r.IntN(10) {
		case 0:
			reply = append([]string{"interim", "103", "header", "Link: </a>", "then", "interim", "102", "then"}, reply...)
		case 1:
			reply = append([]string{"early", "then"}, reply...)
		case 2:
			reply = append([]string{"wait", "200ms", "then"}, reply...)
		case 3:
			reply = []string{"head", "200", "length", "10", "then", "piece", "half", "then", "wait", "5ms", "then", pick("close", "reset")}
		case 4:
			reply = []string{pick("close", "reset")}
		case 5:
			reply = []string{"head", "200", "chunked", "then", "piece", "one", "then", "wait", "20ms", "then", "piece", "two", "then", "end", "trailer", "X-End: 6"}
		case 6:
			reply = []string{"hang"}
		}
		d.answer = reply
		all = append(all, d)
	}
	return all
}

// witness plays all, and returns what clients and endpoints saw.
func (p *play) witness(all []drawn) (seen []string, err error) {
	p.endpoints, p.clients, p.variables = map[string]*endpointActor{}, map[string]*client{}, map[string]string{}
	p.proxy, p.drained, p.over, p.spans = nil, nil, false, new(spanLog)
	defer func() {
		if stop := p.strike(); err == nil {
			err = stop
		}
	}()
	if err := p.prepare(); err != nil {
		return nil, err
	}
	for _, d := range all {
		for _, name := range []string{"a", "b"} {
			if err := p.endpoints[name].behave(0, d.answer, nil); err != nil {
				return nil, err
			}
		}
		seen = append(seen, p.asked(d.request))
		p.stage.Sleep(50 * time.Millisecond) // an endpoint may notice the end a little later
		for _, name := range []string{"a", "b"} {
			// A connection that was used before and breaks is replaced, which is no other attempt.
			// Which of them are used again is what the versions differ in.
			var saw []string
			for m := p.endpoints[name].take(); m != nil; m = p.endpoints[name].take() {
				saw = append(saw, name+" saw "+described(m, m.start))
			}
			seen = append(seen, slices.Compact(saw)...)
		}
	}
	return seen, nil
}

// asked makes a request, and describes its response.
func (p *play) asked(words []string) string {
	c := &client{play: p}
	defer c.leave((*wire).hangUp)
	if err := c.do(append([]string{"send"}, words...)); err != nil && c.wire == nil {
		return err.Error()
	}
	c.wire.SetReadDeadline(p.stage.Now() + p.patience)
	interim := ""
	for {
		m, err := c.wire.head(words[0])
		if err != nil {
			return "no response"
		}
		status, _ := m.status()
		if status < 200 {
			interim += fmt.Sprint(status, " ")
			continue
		}
		text := interim
		if c.wire.rest(m) != nil {
			// How much has come before the end depends on when the end was noticed.
			m.content, m.trailers = nil, nil
			text += "cut: "
		}
		return text + described(m, fmt.Sprint(status))
	}
}

// unlike are fields in which the versions differ, or the moments.
var unlike = []string{"connection", "transfer-encoding", "content-length", "date", "keep-alive", "x-request-id", "traceparent", "x-endpoint", "trailer"}

func described(m *message, start string) string {
	var fields, cookies []string
	for _, f := range m.fields {
		switch name := strings.ToLower(f.name); {
		case name == "cookie": // HTTP/2 may have it in crumbs (RFC 9113 §8.2.3)
			cookies = append(cookies, f.value)
		case !slices.Contains(unlike, name):
			fields = append(fields, name+": "+f.value)
		}
	}
	fields = append(fields, "cookie: "+strings.Join(cookies, "; "))
	slices.Sort(fields)
	for _, f := range m.trailers {
		fields = append(fields, "trailer "+strings.ToLower(f.name)+": "+f.value)
	}
	return fmt.Sprintf("%d bytes %.40q, %s %q", len(m.content), m.content, start, fields)
}

func TestProtocolsAgree(t *testing.T) {
	a, err := parseArchive(agreeArchive)
	if err != nil {
		t.Fatal(err)
	}
	plays := uint64(40)
	if testing.Short() {
		plays = 10
	}
	first, last := uint64(1), plays
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	for seed := first; seed <= last; seed++ {
		all := draw(rand.New(rand.NewPCG(seed, 3)))
		var want []string
		for _, c := range combined("virtual") {
			got, err := witnessVirtual(a, c, seed, all)
			if err != nil {
				t.Fatalf("seed %d, %v: %v\n%v", seed, c, err, all)
			}
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Error(unequal(seed, c, got, want, all))
				return
			}
		}
	}
}

// combined are the combinations of a driver: HTTP/1.1 and HTTP/2 on either side.
func combined(driver string) []combination {
	return []combination{{driver, false, false}, {driver, true, false}, {driver, false, true}, {driver, true, true}}
}

// witnessVirtual is witness in the virtual world of that seed.
func witnessVirtual(a archive, c combination, seed uint64, all []drawn) (got []string, err error) {
	p := &play{name: "drawn", archive: a, parse: parse, http2: c.http2, h2c: c.h2c}
	w := virtual.New(seed)
	w.SegmentMax = []int{0, 1000}[seed%2]
	v := &virtualStage{world: w}
	p.stage, p.patience, p.log, p.spans = v, 20*time.Second, &v.log, new(spanLog)
	p.open = func(cfg config.Config) (proxy, string, error) { return openVirtual(w, v, p, cfg) }
	err = rehearse(w, func() (err error) { got, err = p.witness(all); return err })
	return got, err
}

// unequal says what differs.
func unequal(seed uint64, c combination, got, want []string, all []drawn) string {
	lines := func(seen []string) string {
		var b strings.Builder
		for _, line := range seen {
			if len(line) > 700 {
				line = fmt.Sprintf("%s…%s (%d)", line[:500], line[len(line)-200:], len(line))
			}
			b.WriteString(line + "\n")
		}
		return b.String()
	}
	return fmt.Sprintf("seed %d, %v:\n%swith HTTP/1.1 in the virtual world:\n%splayed: %.2000s", seed, c, lines(got), lines(want), fmt.Sprint(all))
}

// replays is how often a difference on sockets must be seen again, so as not to be chance: a machine
// that is busy lets an endpoint's close overtake what it has sent.
const replays = 3

// neutral is what was seen without which of the two endpoints saw it, which the proxy draws, and, for
// net/http, without what that drops: Content-Type of a 304 and, of requests of HTTP/2, trailers that
// no field Trailer has announced, as those that are drawn.
func neutral(seen []string, c combination) (out []string) {
	for _, line := range seen {
		_, rest, saw := strings.Cut(line, " saw ")
		switch {
		case saw && c.driver == "std" && c.http2:
			line = "saw " + trailerSeen.ReplaceAllString(rest, "")
		case saw:
			line = "saw " + rest
		case c.driver == "std" && strings.Contains(line, ", 304 ["):
			line = typeSeen.ReplaceAllString(line, "")
		}
		out = append(out, line)
	}
	return out
}

var (
	trailerSeen = regexp.MustCompile(` "trailer [^"]*"`)
	typeSeen    = regexp.MustCompile(`"content-type: [^"]*" `)
)

// TestProtocolsAgreeOnSockets plays a few of the same sequences on sockets, by every driver and
// protocol: what clients and endpoints see is what they see in the virtual world.
func TestProtocolsAgreeOnSockets(t *testing.T) {
	a, err := parseArchive(agreeArchive)
	if err != nil {
		t.Fatal(err)
	}
	plays := uint64(8)
	if testing.Short() {
		plays = 2
	}
	first, last := uint64(1), plays
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	for seed := first; seed <= last; seed++ {
		all := draw(rand.New(rand.NewPCG(seed, 3)))
		want, err := witnessVirtual(a, combination{driver: "virtual"}, seed, all)
		if err != nil {
			t.Fatal(err)
		}
		for _, driver := range append(poise.Engines(), "std") {
			for _, c := range combined(driver) {
				t.Run(fmt.Sprint(seed, "/", c), func(t *testing.T) {
					t.Parallel()
					var got []string
					for range 1 + replays {
						s := newSocketStage()
						p := &play{name: "drawn", archive: a, parse: parse, http2: c.http2, h2c: c.h2c, stage: s, patience: 20 * time.Second, spans: new(spanLog)}
						p.onSockets(t, driver, s)
						var err error
						got, err = p.witness(all)
						s.actors.Wait()
						if err != nil {
							t.Fatal(err)
						}
						if slices.Equal(neutral(got, c), neutral(want, c)) {
							return
						}
					}
					t.Error(unequal(seed, c, got, want, all))
				})
			}
		}
	}
}
