package dns

import (
	"context"
	"fmt"
	"net"
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

const webSRV = "_http._tcp.web.test."

// show is a set as text: address*weight, and what is rejected.
func show(u discovery.Update) string {
	var texts []string
	for _, s := range u.Endpoints {
		texts = append(texts, fmt.Sprintf("%s*%.4g", s.Address, s.Weight))
	}
	for _, r := range u.Rejected {
		texts = append(texts, "no "+r.ID)
	}
	return strings.Join(texts, " ")
}

func srvSource(t *testing.T, s *server) *Source {
	return New(Config{SRV: webSRV, Server: s.address, Resolv: none(t)})
}

func TestServices(t *testing.T) {
	hosts := map[string][]string{
		"a.test.":     {"A 30 192.0.2.1"},
		"b.test.":     {"A 20 192.0.2.2"},
		"both.test.":  {"A 30 192.0.2.3", "AAAA 30 2001:db8::3"},
		"alias.test.": {"CNAME 9 a.test."},
		"empty.test.": {},
	}
	failed := func(name string) map[string]dnsmessage.RCode {
		return map[string]dnsmessage.RCode{name: dnsmessage.RCodeServerFailure}
	}
	for name, test := range map[string]struct {
		records []string
		want    string
		ttl     time.Duration
		err     string
		zone    zone
		asked   int // questions; 0: not looked at
	}{
		"ports and weights; the shortest time": {records: []string{"SRV 40 10 3 8081 b.test.", "SRV 50 10 1 8080 a.test."}, want: "192.0.2.1:8080*1 192.0.2.2:8081*3", ttl: 20 * time.Second, asked: 5},
		"the record holds shorter":             {records: []string{"SRV 5 10 1 8080 a.test."}, want: "192.0.2.1:8080*1", ttl: 5 * time.Second},
		"a record that holds no time":          {records: []string{"SRV 0 10 1 8080 a.test."}, want: "192.0.2.1:8080*1", ttl: time.Second},
		"names have no case":                   {records: []string{"SRV 30 1 1 80 A.Test."}, want: "192.0.2.1:80*1", ttl: 30 * time.Second},
		"an alias of the target":               {records: []string{"SRV 30 1 1 80 alias.test."}, want: "192.0.2.1:80*1", ttl: 9 * time.Second},
		"two addresses share the weight":       {records: []string{"SRV 30 1 3 80 both.test."}, want: "192.0.2.3:80*1.5 [2001:db8::3]:80*1.5", ttl: 30 * time.Second},
		"two ports of one host":                {records: []string{"SRV 30 1 1 81 a.test.", "SRV 30 1 1 80 a.test."}, want: "192.0.2.1:80*1 192.0.2.1:81*1", ttl: 30 * time.Second, asked: 3},
		"two records of one address":           {records: []string{"SRV 30 1 1 80 a.test.", "SRV 30 1 3 80 alias.test."}, want: "192.0.2.1:80*4", ttl: 9 * time.Second},
		"zeros alone are alike":                {records: []string{"SRV 30 1 0 80 a.test.", "SRV 30 1 0 80 b.test."}, want: "192.0.2.1:80*1 192.0.2.2:80*1", ttl: 20 * time.Second},
		"zeros share the weight 1":             {records: []string{"SRV 30 1 0 80 a.test.", "SRV 30 1 0 81 a.test.", "SRV 30 1 9 80 b.test."}, want: "192.0.2.1:80*0.5 192.0.2.1:81*0.5 192.0.2.2:80*9", ttl: 20 * time.Second},
		"the lowest priority alone":            {records: []string{"SRV 30 20 5 80 b.test.", "SRV 30 10 1 80 a.test."}, want: "192.0.2.1:80*1", ttl: 30 * time.Second, asked: 3},
		"the next where the lowest has no addresses": {records: []string{"SRV 30 20 5 80 b.test.", "SRV 30 10 1 80 no.test.", "SRV 30 10 1 80 empty.test."},
			want: "192.0.2.2:80*5 no empty.test:80 no no.test:80", ttl: 10 * time.Second},
		"the next where the lowest never could be asked for": {records: []string{"SRV 30 20 5 80 b.test.", "SRV 30 10 1 80 a.test."}, zone: zone{rcodes: failed("a.test.")},
			want: "192.0.2.2:80*5 no a.test:80", ttl: partialTTL},
		"one that does not resolve beside one that does": {records: []string{"SRV 30 10 5 80 no.test.", "SRV 30 10 1 80 a.test."}, want: "192.0.2.1:80*1 no no.test:80", ttl: 10 * time.Second},
		"a port of zero":              {records: []string{"SRV 30 10 5 0 a.test.", "SRV 30 10 1 80 a.test."}, want: "192.0.2.1:80*1 no a.test:0", ttl: 30 * time.Second},
		"an address for a target":     {records: []string{"SRV 30 10 5 80 192.0.2.7.", "SRV 30 10 1 80 a.test."}, want: "192.0.2.1:80*1 no 192.0.2.7:80", ttl: 30 * time.Second},
		"spaces around a target":      {records: []string{"SRV 30 10 1 80 a.test."}, zone: zone{before: spaced}, err: "none of its targets"},
		"none of the targets":         {records: []string{"SRV 30 10 5 80 no.test."}, err: "none of its targets has an address"},
		"a target that fails":         {records: []string{"SRV 30 10 5 80 a.test.", "SRV 30 20 5 80 no.test."}, zone: zone{rcodes: failed("a.test.")}, err: "its target a.test: name server"},
		"decidedly not available":     {records: []string{"SRV 30 0 0 0 ."}, err: "the service is not available", asked: 1},
		"a dot beside a target":       {records: []string{"SRV 30 0 0 0 .", "SRV 30 1 1 80 a.test."}, want: "192.0.2.1:80*1", ttl: 30 * time.Second},
		"an alias of the record":      {records: []string{"CNAME 8 other.test."}, want: "192.0.2.1:80*2", ttl: 8 * time.Second},
		"no records":                  {records: []string{"A 30 192.0.2.1"}, err: "no SRV records", asked: 1},
		"a server that fails":         {zone: zone{rcodes: failed(webSRV)}, err: "it answered ServerFailure", asked: 2},
		"a server from before EDNS":   {records: []string{"SRV 30 10 1 80 a.test."}, zone: zone{noEDNS: true}, want: "192.0.2.1:80*1", ttl: 30 * time.Second, asked: 6},
		"addresses that came along":   {records: []string{"SRV 40 10 1 80 both.test.", "SRV 40 10 1 80 b.test."}, zone: zone{extra: true}, want: "192.0.2.2:80*1 192.0.2.3:80*0.5 [2001:db8::3]:80*0.5", ttl: 20 * time.Second, asked: 1},
		"some of them did":            {records: []string{"SRV 40 10 1 80 b.test.", "SRV 40 10 1 80 alias.test."}, zone: zone{extra: true}, want: "192.0.2.1:80*1 192.0.2.2:80*1", ttl: 9 * time.Second, asked: 3},
		"addresses of others":         {records: []string{"SRV 40 10 1 80 a.test."}, zone: zone{before: stranger}, want: "192.0.2.1:80*1", ttl: 30 * time.Second, asked: 3},
		"no such record":              {err: "no such host", asked: 1},
		"records of other weight too": {records: []string{"SRV 40 10 65535 65535 a.test."}, want: "192.0.2.1:65535*6.554e+04", ttl: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.zone.records = map[string][]string{"other.test.": {"SRV 30 1 2 80 a.test."}}
			for host, records := range hosts {
				test.zone.records[host] = records
			}
			if test.records != nil {
				test.zone.records[webSRV] = test.records
			}
			s := newServer(t, test.zone)
			set, ttl, err := srvSource(t, s).lookup(t.Context(), &hostsFile{path: none(t)})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%q, %v, want %q", show(set), err, test.err)
				}
			} else if err != nil || sorted(show(set)) != sorted(test.want) || ttl != test.ttl {
				t.Errorf("%q for %v, %v, want %q for %v", show(set), ttl, err, test.want, test.ttl)
			}
			if asked := s.questions(); test.asked > 0 && len(asked) != test.asked {
				t.Errorf("%d questions, want %d: %q", len(asked), test.asked, asked)
			}
		})
	}
}

func sorted(text string) string {
	words := strings.Split(text, " ")
	slices.Sort(words)
	return strings.Join(words, " ")
}

// spaced gives a target a space, which is a byte like any other in a DNS message.
func spaced(m *dnsmessage.Message) {
	for _, r := range m.Answers {
		if srv, ok := r.Body.(*dnsmessage.SRVResource); ok {
			srv.Target = dnsmessage.MustNewName(" a.test.")
		}
	}
}

// stranger adds an address of a name that nobody asked for.
func stranger(m *dnsmessage.Message) {
	m.Additionals = append(m.Additionals, resource("x.test.", "A 1 6.6.6.6"))
}

// TestServicesAsSpecs: what else an endpoint has of its record.
func TestServicesAsSpecs(t *testing.T) {
	s := newServer(t, zone{records: map[string][]string{webSRV: {"SRV 30 7 3 8443 A.test."}, "a.test.": {"A 30 192.0.2.1"}}})
	source := New(Config{SRV: webSRV, Scheme: "https", Server: s.address})
	ctx, cancel := context.WithCancel(t.Context())
	err := source.Run(ctx, func(u discovery.Update) {
		defer cancel()
		if u.Err != nil || len(u.Endpoints) != 1 {
			t.Errorf("%+v", u)
			return
		}
		if e := u.Endpoints[0]; e.URL() != "https://192.0.2.1:8443" || e.Host != "a.test" || e.Weight != 3 || e.Metadata["priority"] != "7" {
			t.Errorf("%+v", e)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTruncatedServices: the answer over UDP does not fit, that over TCP has all.
func TestTruncatedServices(t *testing.T) {
	for _, extra := range []bool{false, true} {
		records := map[string][]string{"a.test.": {"A 30 192.0.2.1"}}
		for i := range 60 {
			records[webSRV] = append(records[webSRV], fmt.Sprintf("SRV 30 1 1 %d a.test.", 8000+i))
		}
		s := newServer(t, zone{records: records, limit: udpBytes, extra: extra})
		set, _, err := srvSource(t, s).lookup(t.Context(), &hostsFile{path: none(t)})
		if err != nil || len(set.Endpoints) != 60 {
			t.Errorf("%d endpoints, %v", len(set.Endpoints), err)
		}
		if asked := s.questions(); !slices.Contains(asked, "tcp "+webSRV+" SRV") {
			t.Errorf("asked %q", asked)
		}
	}
}

// TestTargetFailsLater: a target that cannot be asked for keeps its addresses, so the priority
// does not change; one that is gone does.
func TestTargetFailsLater(t *testing.T) {
	s := newServer(t, zone{extra: true, records: map[string][]string{
		webSRV: {"SRV 30 1 1 80 a.test.", "SRV 30 2 1 80 b.test."}, "a.test.": {"A 30 192.0.2.1"}, "b.test.": {"A 30 192.0.2.2"},
	}})
	source := srvSource(t, s)
	check := func(want string) {
		t.Helper()
		if set, _, err := source.lookup(t.Context(), &hostsFile{path: none(t)}); show(set) != want || err != nil {
			t.Errorf("%q, %v, want %q", show(set), err, want)
		}
	}
	check("192.0.2.1:80*1")
	s.set(func(z *zone) { // and its address does not come along any more
		z.extra, z.rcodes = false, map[string]dnsmessage.RCode{"a.test.": dnsmessage.RCodeServerFailure}
	})
	check("192.0.2.1:80*1")
	s.set(func(z *zone) { z.rcodes = nil; delete(z.records, "a.test.") })
	check("192.0.2.2:80*1 no a.test:80")
	s.set(func(z *zone) { delete(z.records, "b.test.") })
	check("no a.test:80 no b.test:80") // known once: an answer, and no error
	s.set(func(z *zone) { z.records["a.test."] = []string{"A 30 192.0.2.9"} })
	check("192.0.2.9:80*1")
	s.set(func(z *zone) { z.records[webSRV] = []string{"SRV 30 0 0 0 ."} })
	check("")
	s.set(func(z *zone) { z.records[webSRV] = []string{"SRV 30 1 1 81 a.test."} })
	check("192.0.2.9:81*1")
	if len(source.targets) != 1 {
		t.Errorf("%d targets are kept", len(source.targets))
	}
	s.set(func(z *zone) { delete(z.records, webSRV) })
	check("")
}

// TestTargetsOutOfTime: targets that have no answer when the time for all of them is over have
// failed, so known ones keep their addresses, and the set is asked for again soon.
func TestTargetsOutOfTime(t *testing.T) {
	s := newServer(t, zone{records: map[string][]string{"a.test.": {"A 60 192.0.2.1"}, "b.test.": {"A 60 192.0.2.2"}}})
	source := srvSource(t, s)
	find := func(ctx context.Context, want string, wantTTL time.Duration, hosts ...string) {
		t.Helper()
		a := answer{ttl: time.Minute}
		for _, host := range hosts {
			a.services = append(a.services, service{1, 1, 80, host})
		}
		set, ttl, err := source.reachable(ctx, a, &hostsFile{path: none(t)})
		if show(set) != want || ttl != wantTTL || err != nil {
			t.Errorf("%q for %v, %v, want %q for %v", show(set), ttl, err, want, wantTTL)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	find(t.Context(), "192.0.2.1:80*1", time.Minute, "a.test.")
	s.questions()
	find(over, "192.0.2.1:80*1 no b.test:80", partialTTL, "a.test.", "b.test.")
	if asked := s.questions(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
	find(t.Context(), "192.0.2.1:80*1 192.0.2.2:80*1", time.Minute, "a.test.", "b.test.")
}

// TestReasonStays: the text of a failure differs each time, as by the port of the client, and
// the set stays the same one nevertheless.
func TestReasonStays(t *testing.T) {
	s := newServer(t, zone{records: map[string][]string{webSRV: {"SRV 5 1 1 80 a.test.", "SRV 5 1 1 80 b.test."}, "a.test.": {"A 5 192.0.2.1"}}})
	s.set(func(z *zone) { z.rcodes = map[string]dnsmessage.RCode{"b.test.": dnsmessage.RCodeServerFailure} })
	source := srvSource(t, s)
	var reasons []string
	for range 2 {
		set, _, err := source.lookup(t.Context(), &hostsFile{path: none(t)})
		if err != nil || len(set.Rejected) != 1 {
			t.Fatalf("%+v, %v", set, err)
		}
		reasons = append(reasons, set.Rejected[0].Reason)
		s.set(func(z *zone) { z.rcodes["b.test."] = dnsmessage.RCodeRefused })
	}
	if reasons[0] != reasons[1] || !strings.Contains(reasons[0], "ServerFailure") {
		t.Errorf("%q", reasons)
	}
}

// TestServicesOverTime: the records are asked for when they have expired; "." empties the set,
// and an outage keeps it.
func TestServicesOverTime(t *testing.T) {
	records := map[string][]string{webSRV: {"SRV 20 1 1 80 a.test."}, "a.test.": {"A 60 192.0.2.1"}}
	s := newServer(t, zone{extra: true, records: records})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		start := time.Now()
		var got published
		add := got.add(start)
		err := New(Config{SRV: webSRV, Server: s.address, Hosts: none(t), Resolv: none(t)}).Run(ctx, func(u discovery.Update) {
			add(u)
			s.set(func(z *zone) {
				switch len(got) {
				case 1:
					z.records = map[string][]string{webSRV: {"SRV 30 1 1 80 a.test.", "SRV 30 1 1 81 a.test."}, "a.test.": {"A 60 192.0.2.1"}}
				case 2:
					z.rcodes = map[string]dnsmessage.RCode{webSRV: dnsmessage.RCodeServerFailure}
				case 3:
					z.rcodes, z.records = nil, map[string][]string{webSRV: {"SRV 30 0 0 0 ."}}
				}
			})
		})
		if err != nil || len(got) != 4 || got[0] != "0: http://192.0.2.1:80" || got[1] != "20: http://192.0.2.1:80 http://192.0.2.1:81" ||
			got[2] != "50:error" || !strings.HasSuffix(got[3], ":") {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// TestServicesOfFiles: the search domains complete the name of the record, but not those of
// targets, and a target that the hosts file has is not asked for.
func TestServicesOfFiles(t *testing.T) {
	dir := t.TempDir()
	hosts, resolv := filepath.Join(dir, "hosts"), filepath.Join(dir, "resolv.conf")
	for path, text := range map[string]string{hosts: "192.0.2.8 a.test\n", resolv: "search web.test\noptions ndots:3\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newServer(t, zone{extra: true, records: map[string][]string{
		webSRV: {"SRV 30 1 1 80 a.test.", "SRV 30 1 1 80 localhost.", "SRV 30 1 1 80 b."}, "a.test.": {"A 30 192.0.2.1"}, "b.web.test.": {"A 30 192.0.2.2"},
	}})
	source := New(Config{SRV: "_http._tcp", Hosts: hosts, Resolv: resolv})
	conf := source.resolvConf()
	conf.servers = []string{s.address}
	if got := candidates(source.name(), conf); !slices.Equal(got, []string{webSRV, "_http._tcp."}) {
		t.Errorf("%q", got)
	}
	a := conf.ask(t.Context(), webSRV, dnsmessage.TypeSRV)
	a.services = a.services[:2]
	set, _, err := source.reachable(t.Context(), a, &hostsFile{path: hosts})
	if want := "192.0.2.8:80*1 127.0.0.1:80*1"; show(set) != want || err != nil {
		t.Errorf("%q, %v, want %q", show(set), err, want)
	}
	asked := New(Config{SRV: "_http._tcp", Server: s.address, Hosts: hosts, Resolv: resolv})
	set, _, err = asked.lookup(t.Context(), &hostsFile{path: hosts})
	if want := "192.0.2.1:80*1 127.0.0.1:80*1 no b:80"; show(set) != want || err != nil {
		t.Errorf("with a server: %q, %v, want %q", show(set), err, want)
	}
}

// TestManyTargets: no more than hostsMax are asked for.
func TestManyTargets(t *testing.T) {
	records := map[string][]string{}
	for i := range hostsMax + 10 {
		host := fmt.Sprintf("h%04d.test.", i)
		records[webSRV] = append(records[webSRV], "SRV 30 1 1 80 "+host)
		records[host] = []string{fmt.Sprintf("A 30 10.0.%d.%d", i/256, i%256)}
	}
	s := newServer(t, zone{records: records})
	set, _, err := srvSource(t, s).lookup(t.Context(), &hostsFile{path: none(t)})
	if err != nil || len(set.Endpoints) != hostsMax || len(set.Rejected) != 10 {
		t.Errorf("%d endpoints, %d rejected, %v", len(set.Endpoints), len(set.Rejected), err)
	}
}

// TestCompressedTarget: a pointer in a target is followed, and one to itself is an error.
func TestCompressedTarget(t *testing.T) {
	packet, question, err := build(7, webSRV, dnsmessage.TypeSRV, false)
	if err != nil {
		t.Fatal(err)
	}
	reply := func(target ...byte) []byte {
		out := slices.Clone(packet)
		out[2], out[7] = out[2]|0x80, 1 // a response with one answer
		out = append(out, 0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 30, 0, byte(6+len(target)), 0, 1, 0, 2, 0, 80)
		return append(out, target...)
	}
	a, ours, err := read(reply(1, 'a', 0xc0, byte(12+len("\x05_http\x04_tcp\x03web"))), 7, question)
	if !ours || err != nil || len(a.services) != 1 || a.services[0] != (service{1, 2, 80, "a.test."}) {
		t.Errorf("%+v, %v, %v", a, ours, err)
	}
	self := byte(len(reply()))
	for what, target := range map[string][]byte{
		"a circle": {0xc0, self}, "a longer circle": {1, 'a', 0xc0, self}, "beyond the end": {0xc1, 0xff}, "cut": {0xc0}, "no target": {}, "a label that is cut": {9, 'a'},
	} {
		if a, _, err := read(reply(target...), 7, question); err == nil || len(a.services) > 0 {
			t.Errorf("%s: %+v, %v", what, a, err)
		}
	}
}

func TestRunRefusesWhatIsNoRecord(t *testing.T) {
	for _, name := range []string{"_http._tcp..a", "192.0.2.1", strings.Repeat("a", 64)} {
		if err := New(Config{SRV: name}).Run(t.Context(), func(discovery.Update) {}); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}

// FuzzReadServices: no reply panics, and targets have names that can be used or are rejected.
func FuzzReadServices(f *testing.F) {
	packet, question, err := build(7, webSRV, dnsmessage.TypeSRV, true)
	if err != nil {
		f.Fatal(err)
	}
	z := server{zone: zone{extra: true, records: map[string][]string{
		webSRV: {"SRV 9 1 2 80 a.test.", "SRV 9 1 0 81 b.test.", "SRV 9 0 0 0 ."}, "a.test.": {"A 9 192.0.2.1", "AAAA 9 ::1"}, "b.test.": {"CNAME 3 a.test."},
	}}}
	reply, _ := z.reply("udp", packet)
	f.Add(reply)
	for i := range reply {
		broken := slices.Clone(reply)
		broken[i] ^= 1 << (i % 8)
		f.Add(broken)
		f.Add(reply[:i])
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		a, ours, err := read(reply, 7, question)
		if (!ours || err != nil) && len(a.services) > 0 {
			t.Fatalf("services %v, %v, %v", a.services, ours, err)
		}
		if a.ttl < 0 || len(a.addrs) > 0 {
			t.Fatalf("%+v", a)
		}
		for name, families := range a.extra {
			for i, one := range families {
				if one.ttl < 0 || slices.ContainsFunc(one.addrs, func(a netip.Addr) bool { return !a.IsValid() }) {
					t.Fatalf("%s, family %d: %+v", name, i, one)
				}
			}
		}
		for _, r := range a.services {
			if r.check() == nil && checkHost(r.host()) != nil {
				t.Fatalf("%q cannot be asked for", r.host())
			}
			if _, _, err := net.SplitHostPort(net.JoinHostPort(r.host(), "1")); r.check() == nil && err != nil {
				t.Fatalf("%q: %v", r.host(), err)
			}
		}
	})
}
