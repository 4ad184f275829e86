package dns

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/poise-lb/poise/discovery"
)

// ask resolves host once with the test's server.
func ask(t *testing.T, s *server, host string) (string, time.Duration, error) {
	t.Helper()
	addrs, ttl, err := New(Config{Host: host, Server: s.address, Resolv: none(t)}).resolve(t.Context())
	var texts []string
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, " "), ttl, err
}

func TestResolve(t *testing.T) {
	many := []string{"A 60 10.0.9.9"}
	for i := range 100 {
		many = append(many, fmt.Sprintf("A 60 10.0.0.%d", i))
	}
	records := map[string][]string{
		"a.test.":      {"A 30 192.0.2.2", "A 20 192.0.2.1", "AAAA 40 2001:db8::1", "A 30 192.0.2.1"},
		"v4.test.":     {"A 300 192.0.2.1"},
		"v6.test.":     {"AAAA 0 2001:db8::1"},
		"c.test.":      {"CNAME 7 d.test."},
		"d.test.":      {"CNAME 9 v4.test."},
		"loop.test.":   {"CNAME 9 loop.test."},
		"empty.test.":  {},
		"many.test.":   many,
		"mapped.test.": {"AAAA 9 ::ffff:192.0.2.1"},
	}
	for name, test := range map[string]struct {
		host, want string
		ttl        time.Duration
		err        string
		zone       zone
		asked      int // questions; 0: not looked at
	}{
		"both families, sorted, the shortest time": {host: "a.test", want: "192.0.2.1 192.0.2.2 2001:db8::1", ttl: 20 * time.Second, asked: 2},
		"names have no case":                       {host: "A.Test.", want: "192.0.2.1 192.0.2.2 2001:db8::1", ttl: 20 * time.Second},
		"at most a minute":                         {host: "v4.test", want: "192.0.2.1", ttl: time.Minute},
		"at least a second":                        {host: "v6.test", want: "2001:db8::1", ttl: time.Second},
		"names of names":                           {host: "c.test", want: "192.0.2.1", ttl: 7 * time.Second, asked: 2},
		"a circle of names":                        {host: "loop.test", err: "more than 16 names lead to it"},
		"no such name":                             {host: "no.test", err: "no such host", asked: 2},
		"no addresses":                             {host: "empty.test", err: "the name has no addresses", asked: 2},
		"an IPv4 address in disguise":              {host: "mapped.test", want: "192.0.2.1", ttl: 9 * time.Second},
		"a server that fails":                      {host: "a.test", err: "it answered ServerFailure", asked: 4, zone: zone{rcodes: map[string]dnsmessage.RCode{"a.test.": dnsmessage.RCodeServerFailure}}},
		"a server that refuses":                    {host: "a.test", err: "it answered Refused", asked: 4, zone: zone{rcodes: map[string]dnsmessage.RCode{"a.test.": dnsmessage.RCodeRefused}}},
		"one family fails":                         {host: "a.test", want: "192.0.2.1 192.0.2.2", ttl: partialTTL, asked: 3, zone: zone{rcodes: map[string]dnsmessage.RCode{"a.test. AAAA": dnsmessage.RCodeServerFailure}}},
		"one family is denied":                     {host: "a.test", want: "192.0.2.1 192.0.2.2", ttl: 20 * time.Second, asked: 2, zone: zone{rcodes: map[string]dnsmessage.RCode{"a.test. AAAA": dnsmessage.RCodeNameError}}},
		"a server from before EDNS":                {host: "a.test", want: "192.0.2.1 192.0.2.2 2001:db8::1", ttl: 20 * time.Second, asked: 4, zone: zone{noEDNS: true}},
		"a stranger's answer": {host: "v4.test", want: "192.0.2.1", ttl: time.Minute, zone: zone{mangle: func(r []byte) [][]byte {
			id, name, cut := slices.Clone(r), slices.Clone(r), r[:7]
			id[0] ^= 0xff
			name[13] ^= 1
			question := slices.Clone(r)
			question[2] &= 0x7f
			return [][]byte{{}, id, name, cut, question, r}
		}}},
		"records of others": {host: "v4.test", want: "192.0.2.1", ttl: time.Minute, zone: zone{before: func(m *dnsmessage.Message) {
			other := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("other.test."), Class: dnsmessage.ClassINET, TTL: 1}
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: other, Body: &dnsmessage.AResource{A: [4]byte{6, 6, 6, 6}}})
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.zone.records = records
			s := newServer(t, test.zone)
			got, ttl, err := ask(t, s, test.host)
			if got != test.want || ttl != test.ttl || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q for %v, %v", got, ttl, err)
			}
			if asked := s.questions(); test.asked > 0 && len(asked) != test.asked {
				t.Errorf("%d questions, want %d: %q", len(asked), test.asked, asked)
			}
		})
	}
	t.Run("too long for a datagram", func(t *testing.T) {
		s := newServer(t, zone{records: records, limit: udpBytes})
		got, _, err := ask(t, s, "many.test")
		if n := len(strings.Fields(got)); n != 101 || err != nil {
			t.Errorf("%d addresses, %v", n, err)
		}
		if asked := s.questions(); !slices.Contains(asked, "tcp many.test. A") {
			t.Errorf("asked %q", asked)
		}
	})
}

// TestOneFamilyFailsLater: its endpoints stay while it is not known, and go when it is.
func TestOneFamilyFailsLater(t *testing.T) {
	s := newServer(t, zone{records: map[string][]string{"a.test.": {"A 30 192.0.2.1", "AAAA 30 2001:db8::1"}}})
	source := New(Config{Host: "a.test", Server: s.address})
	check := func(want string) {
		t.Helper()
		if addrs, _, err := source.resolve(t.Context()); fmt.Sprint(addrs) != want || err != nil {
			t.Errorf("%v, %v, want %s", addrs, err, want)
		}
	}
	check("[192.0.2.1 2001:db8::1]")
	s.set(func(z *zone) {
		z.records = map[string][]string{"a.test.": {"A 30 192.0.2.2"}}
		z.rcodes = map[string]dnsmessage.RCode{"a.test. AAAA": dnsmessage.RCodeServerFailure}
	})
	check("[192.0.2.2 2001:db8::1]")
	s.set(func(z *zone) { z.rcodes = nil })
	check("[192.0.2.2]")
}

// TestAnotherServer: one that is silent, and one that is not there, are passed over.
func TestAnotherServer(t *testing.T) {
	good := newServer(t, zone{records: map[string][]string{"a.test.": {"A 30 192.0.2.1"}}})
	silent := newServer(t, zone{silent: map[string]bool{"a.test.": true}})
	gone := newServer(t, zone{})
	conf := &resolvConf{servers: []string{gone.address, silent.address, good.address}, attempts: 5, timeout: 500 * time.Millisecond}
	gone.address = "127.0.0.1:1"
	conf.servers[0] = gone.address
	answers := conf.both(t.Context(), "a.test.")
	if a := answers[0]; a.err != nil || len(a.addrs) != 1 {
		t.Errorf("%+v", a)
	}
	if len(silent.questions()) == 0 || len(good.questions()) == 0 {
		t.Error("not every server was asked")
	}
}

func TestSearch(t *testing.T) {
	for _, test := range []struct{ host, conf, want string }{
		{"a", "", "a."},
		{"a", "search x.y z.", "a.x.y. a.z. a."},
		{"a.b", "search x.y", "a.b. a.b.x.y."},
		{"a.b", "search x.y\noptions ndots:5 other edns0", "a.b.x.y. a.b."},
		{"a.b.", "search x.y\noptions ndots:5", "a.b."},
		{"a", "search x\ndomain y", "a.y. a."},
		{"a", "domain .", "a."},
		{"a", "search " + strings.Repeat("a.", 130), "a."}, // too long together
		{"a", "options ndots:0\nsearch x", "a. a.x."},
	} {
		if got := strings.Join(candidates(test.host, parseResolv(test.conf)), " "); got != test.want {
			t.Errorf("%s with %q: %s, want %s", test.host, test.conf, got, test.want)
		}
	}
}

func TestParseResolv(t *testing.T) {
	c := parseResolv("# c\n; d\nnameserver 10.0.0.1\nnameserver x\nnameserver fe80::1%eth0\nnameserver 10.0.0.2\nnameserver 10.0.0.3\noptions timeout:99 attempts:0 ndots:x\noptions\n")
	if got := strings.Join(c.servers, " "); got != "10.0.0.1:53 [fe80::1%eth0]:53 10.0.0.2:53" || c.timeout != 30*time.Second || c.attempts != 1 || c.ndots != 1 {
		t.Errorf("%+v", c)
	}
	c = parseResolv("")
	if len(c.servers) != 1 || c.servers[0] != "127.0.0.1:53" || c.timeout != 5*time.Second || c.attempts != 2 || c.ndots != 1 {
		t.Errorf("%+v", c)
	}
}

// TestSearchDomains asks through resolv.conf's domains, and stays with the one that has
// the name even when another would answer.
func TestSearchDomains(t *testing.T) {
	s := newServer(t, zone{records: map[string][]string{"a.second.": {"A 30 192.0.2.2"}, "a.third.": {"A 30 192.0.2.3"}}})
	source := New(Config{Host: "a", Server: s.address, Resolv: filepath.Join(t.TempDir(), "resolv.conf")})
	if err := os.WriteFile(source.config.Resolv, []byte("search first second third\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if addrs, _, err := source.resolve(t.Context()); fmt.Sprint(addrs) != "[192.0.2.2]" || err != nil {
		t.Error(addrs, err)
	}
	s.set(func(z *zone) {
		z.rcodes = map[string]dnsmessage.RCode{"a.second.": dnsmessage.RCodeServerFailure}
	})
	if addrs, _, err := source.resolve(t.Context()); err == nil {
		t.Error("strangers:", addrs)
	}
	s.set(func(z *zone) { z.rcodes = nil; delete(z.records, "a.second.") })
	if addrs, _, err := source.resolve(t.Context()); fmt.Sprint(addrs) != "[192.0.2.3]" || err != nil {
		t.Error(addrs, err)
	}
}

func TestParseHosts(t *testing.T) {
	names := parseHosts("127.0.0.1 localhost\n::1\tLocalhost ip6-localhost # c\n#1.1.1.1 no\nx y\n192.0.2.1 a.test. b\n192.0.2.1 b\n::ffff:192.0.2.0 b\n1.2.3.4\n")
	for name, want := range map[string]string{
		"localhost": "[127.0.0.1 ::1]", "ip6-localhost": "[::1]", "a.test": "[192.0.2.1]", "b": "[192.0.2.0 192.0.2.1]", "no": "[]", "y": "[]",
	} {
		if got := fmt.Sprint(names[name]); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// published is what a source says and when, in seconds.
type published []string

func (p *published) add(start time.Time) func(discovery.Update) {
	return func(u discovery.Update) {
		text := "error"
		if u.Err == nil {
			text = ""
			for _, s := range u.Endpoints {
				text += " " + s.URL()
			}
		}
		*p = append(*p, fmt.Sprintf("%.0f:%s", time.Since(start).Seconds(), text))
	}
}

// TestTimeToLive runs under a virtual clock with a real server: a question is asked when
// the answer has expired and not before.
func TestTimeToLive(t *testing.T) {
	s := newServer(t, zone{records: map[string][]string{"a.test.": {"A 30 192.0.2.1"}}})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 99*time.Second)
		defer cancel()
		start := time.Now()
		var got published
		add := got.add(start)
		changes := 0
		err := New(Config{Host: "a.test", Port: 80, Server: s.address, Hosts: none(t), Resolv: none(t)}).Run(ctx, func(u discovery.Update) {
			add(u)
			if changes++; changes == 1 { // the next answer is another, and holds for 7 s
				s.set(func(z *zone) { z.records = map[string][]string{"a.test.": {"A 7 192.0.2.3", "A 7 192.0.2.2"}} })
			}
		})
		want := published{"0: http://192.0.2.1:80", "30: http://192.0.2.2:80 http://192.0.2.3:80"}
		if !slices.Equal(got, want) || err != nil {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
		// at 0, 30, 37, 44, 51, 58, 65, 72, 79, 86, 93: both families
		if asked := s.questions(); len(asked) != 2*11 {
			t.Errorf("%d questions: %q", len(asked), asked)
		}
	})
}

// TestFailureKeepsTheSet: one error is published while the name cannot be resolved, it is
// asked for ever more seldom, and the set is published again when it can be.
func TestFailureKeepsTheSet(t *testing.T) {
	s := newServer(t, zone{records: map[string][]string{"a.test.": {"A 10 192.0.2.1"}}})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 600*time.Second)
		defer cancel()
		start := time.Now()
		var got published
		add := got.add(start)
		time.AfterFunc(60*time.Second, func() { s.set(func(z *zone) { z.rcodes = nil }) })
		err := New(Config{Host: "a.test", Port: 80, Server: s.address}).Run(ctx, func(u discovery.Update) {
			add(u)
			if u.Err == nil {
				s.set(func(z *zone) { z.rcodes = map[string]dnsmessage.RCode{"a.test.": dnsmessage.RCodeServerFailure} })
			}
		})
		if err != nil {
			t.Error(err)
		}
		if len(got) != 4 || got[0] != "0: http://192.0.2.1:80" || got[1] != "10:error" ||
			!strings.HasSuffix(got[2], "http://192.0.2.1:80") || !strings.HasSuffix(got[3], ":error") {
			t.Errorf("published %q", got)
		}
		// With waits of up to 1, 2, 4, 8, 10, 10 ... s, two families, and each question twice.
		if asked := len(s.questions()); asked < 4*55 || asked > 4*130 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// TestRemovedName: that a name is gone, or has no addresses any more, is an answer: the set
// is empty. When it is back, so is the set.
func TestRemovedName(t *testing.T) {
	for kind, gone := range map[string]map[string][]string{"NXDOMAIN": nil, "NODATA": {"a.test.": nil}} {
		for _, soa := range []uint32{0, 1, 3600} {
			s := newServer(t, zone{soa: soa, records: map[string][]string{"a.test.": {"A 1 192.0.2.1"}}})
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 41*time.Second)
				defer cancel()
				start := time.Now()
				var got published
				add := got.add(start)
				err := New(Config{Host: "a.test", Port: 80, Server: s.address, Hosts: none(t), Resolv: none(t)}).Run(ctx, func(u discovery.Update) {
					add(u)
					if len(u.Endpoints) > 0 && time.Since(start) < 2*time.Second {
						s.set(func(z *zone) { z.records = gone })
						time.AfterFunc(15*time.Second, func() {
							s.set(func(z *zone) { z.records = map[string][]string{"a.test.": {"A 60 192.0.2.2"}} })
						})
					}
				})
				if err != nil || len(got) != 3 || got[0] != "0: http://192.0.2.1:80" || got[1] != "1:" || !strings.HasSuffix(got[2], ": http://192.0.2.2:80") {
					t.Errorf("%s, SOA %d: %q, %v", kind, soa, got, err)
				}
				if n := len(s.questions()); soa == 3600 && n > 2*4 { // at 0, 1, 11, 21
					t.Errorf("%s, SOA %d: %d questions", kind, soa, n)
				}
			})
		}
	}
}

// TestNameThatAppears: a name that there is not at the start is an error, because it may be
// misspelt, and found within ten seconds of its appearance, however late.
func TestNameThatAppears(t *testing.T) {
	for _, soa := range []uint32{0, 2, 3600} {
		s := newServer(t, zone{soa: soa})
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Second)
			defer cancel()
			start := time.Now()
			time.AfterFunc(65*time.Second, func() {
				s.set(func(z *zone) { z.records = map[string][]string{"a.test.": {"A 60 192.0.2.1"}} })
			})
			var found time.Duration
			New(Config{Host: "a.test", Port: 80, Server: s.address, Hosts: none(t), Resolv: none(t)}).Run(ctx, func(u discovery.Update) {
				switch {
				case u.Err == nil && len(u.Endpoints) == 1:
					found = time.Since(start)
					cancel()
				case u.Err == nil || time.Since(start) > 75*time.Second:
					t.Errorf("published %+v", u)
				}
			})
			if bound := 65 + min(soa, 10); found < 65*time.Second || soa > 0 && found > time.Duration(bound)*time.Second || found > 75*time.Second {
				t.Errorf("SOA %d: found after %v", soa, found)
			}
		})
	}
}

// TestHostsFile: a name in the hosts file is answered from it, and nobody is asked.
func TestHostsFile(t *testing.T) {
	dir := t.TempDir()
	hosts, resolv := filepath.Join(dir, "hosts"), filepath.Join(dir, "resolv.conf")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	write(hosts, "192.0.2.9 a.test\n192.0.2.8 A.TEST\n")
	write(resolv, "nameserver 127.0.0.1\n")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		start := time.Now()
		var got published
		source := New(Config{Host: "a.test", Port: 1, Hosts: hosts, Resolv: resolv})
		done := make(chan error)
		go func() { done <- source.Run(ctx, got.add(start)) }()
		time.Sleep(12 * time.Second)
		write(hosts, "192.0.2.7 a.test\n")
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := published{"0: http://192.0.2.8:1 http://192.0.2.9:1", "15: http://192.0.2.7:1"}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestLocalhost(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"127.0.0.1 localhost\n::1 localhost\n":   "127.0.0.1", // one host, not two
		"::1 localhost\n":                        "::1",
		"":                                       "127.0.0.1",
		"192.0.2.1 other\n127.0.0.2 localhost\n": "127.0.0.2",
	} {
		path := filepath.Join(dir, "hosts")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, server := range []string{"", "127.0.0.1:1"} { // never asked
			got := New(Config{Host: "LocalHost.", Server: server}).local(&hostsFile{path: path})
			if len(got) != 1 || got[0].String() != want {
				t.Errorf("%q: %v, want %s", text, got, want)
			}
		}
	}
	if got := New(Config{Host: "a.localhost"}).local(&hostsFile{path: none(t)}); fmt.Sprint(got) != "[127.0.0.1]" {
		t.Error(got)
	}
	if got := New(Config{Host: "a", Server: "127.0.0.1:1"}).local(&hostsFile{path: none(t)}); got != nil {
		t.Error(got)
	}
}

func TestSpecs(t *testing.T) {
	s := newServer(t, zone{records: map[string][]string{"a.test.": {"A 30 192.0.2.1", "AAAA 30 2001:db8::1"}}})
	ctx, cancel := context.WithCancel(t.Context())
	err := New(Config{Host: "a.test.", Port: 8443, Scheme: "https", Weight: 3, Server: s.address}).Run(ctx, func(u discovery.Update) {
		defer cancel()
		if u.Err != nil || len(u.Endpoints) != 2 {
			t.Errorf("%+v", u)
			return
		}
		for i, want := range []string{"https://192.0.2.1:8443", "https://[2001:db8::1]:8443"} {
			if e := u.Endpoints[i]; e.URL() != want || e.Host != "a.test" || e.Weight != 3 {
				t.Errorf("%+v, want %s", e, want)
			}
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRunRefusesWhatIsNoName(t *testing.T) {
	for _, host := range []string{"", ".", "a..b", "192.0.2.1", "::1", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a"} {
		if err := New(Config{Host: host}).Run(t.Context(), func(discovery.Update) {}); err == nil {
			t.Errorf("%q is accepted", host)
		}
	}
}

// TestCancel: Run ends at once though the server says nothing.
func TestCancel(t *testing.T) {
	s := newServer(t, zone{silent: map[string]bool{"a.test.": true}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- New(Config{Host: "a.test", Server: s.address}).Run(ctx, func(u discovery.Update) { t.Errorf("published %+v", u) })
	}()
	for len(s.questions()) == 0 {
		time.Sleep(time.Millisecond)
	}
	start := time.Now()
	cancel()
	if err := <-done; err != nil || time.Since(start) > 3*time.Second {
		t.Error(err, time.Since(start))
	}
}

// FuzzRead: no reply panics, and none is taken for the answer to another question.
func FuzzRead(f *testing.F) {
	_, question, err := build(7, "a.test.", dnsmessage.TypeA, false)
	if err != nil {
		f.Fatal(err)
	}
	z := server{zone: zone{records: map[string][]string{"a.test.": {"CNAME 5 b.test."}, "b.test.": {"A 9 192.0.2.1", "A 9 192.0.2.2"}}}}
	for _, family := range families {
		packet, _, _ := build(7, "a.test.", family, true)
		reply, _ := z.reply("udp", packet)
		f.Add(reply)
		for range 20 {
			broken := slices.Clone(reply)
			broken[rand.IntN(len(broken))] ^= byte(1 << rand.IntN(8))
			f.Add(broken)
		}
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		a, ours, err := read(reply, 7, question)
		if !ours && (len(a.addrs) > 0) {
			t.Fatalf("a stranger's answer has %v", a.addrs)
		}
		if ours && (len(reply) < 12 || reply[0] != 0 || reply[1] != 7 || reply[2]&0x80 == 0) {
			t.Fatalf("% x is taken for an answer", reply)
		}
		if err == nil && ours && a.ttl < 0 {
			t.Fatalf("ttl %v", a.ttl)
		}
		for _, addr := range a.addrs {
			if addr == (netip.Addr{}) || !addr.Is4() {
				t.Fatalf("%v is no IPv4 address", addr)
			}
		}
	})
}
