package nacos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// recorded is an answer of a real server (2.3.2).
const recorded = `{"name":"DEFAULT_GROUP@@fx","groupName":"DEFAULT_GROUP","clusters":"","cacheMillis":10000,"hosts":[{"instanceId":"10.0.0.1#80#c1#DEFAULT_GROUP@@fx","ip":"10.0.0.1","port":80,"weight":0.5,"healthy":true,"enabled":true,"ephemeral":true,"clusterName":"c1","serviceName":"DEFAULT_GROUP@@fx","metadata":{"zone":"a"},"instanceHeartBeatInterval":5000,"instanceHeartBeatTimeOut":15000,"ipDeleteTimeout":30000}],"lastRefTime":1795548438153,"checksum":"","allIPs":false,"reachProtectionThreshold":false,"valid":true}`

func hosts(t *testing.T, data string) []hostJSON {
	t.Helper()
	var s serviceJSON
	if err := json.Unmarshal([]byte(data), &s); err != nil {
		t.Fatal(err)
	}
	out, err := s.instances()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var plain = ServiceConfig{Service: "web", Scheme: "http", zoneKey: "zone"}

func TestRecordedAnswer(t *testing.T) {
	u := plain.set(hosts(t, recorded))
	if len(u.Endpoints) != 1 || len(u.Rejected) != 0 {
		t.Fatalf("%+v", u)
	}
	s := u.Endpoints[0]
	if s.URL() != "http://10.0.0.1:80" || s.Zone != "a" || s.Weight != 0.5 || s.Instance != "" || s.Metadata["zone"] != "a" {
		t.Errorf("%+v", s)
	}
	var service serviceJSON
	json.Unmarshal([]byte(recorded), &service)
	if service.subject() != (subject{"DEFAULT_GROUP", "fx"}) {
		t.Errorf("%+v", service.subject())
	}
}

func TestWhatIsUsed(t *testing.T) {
	all := hosts(t, `{"hosts":[
		{"ip":"10.0.0.1","port":80},
		{"ip":"10.0.0.2","port":80,"weight":0},
		{"ip":"10.0.0.3","port":80,"healthy":false},
		{"ip":"10.0.0.4","port":80,"enabled":false},
		{"ip":"10.0.0.5","port":80,"clusterName":"far","metadata":{"secure":"true"}},
		{"ip":"10.0.0.5","port":80,"clusterName":"zzz","metadata":{"secure":"true","zone":"never"}},
		{"ip":"::1","port":80,"clusterName":"DEFAULT"},
		{"ip":"-host","port":-80},
		{"ip":"[::ffff:10.0.0.6] ","port":80},
		{"ip":"Pod-1.svc.","port":80},
		{"ip":"10.0.0.7","port":80,"weight":-1},
		{"ip":"10.0.0.8","port":80,"weight":0.25,"clusterName":"a"},
		{"ip":"10.0.0.8","port":80,"enabled":false,"clusterName":"A"},
		{"ip":"10.0.0.3","port":81,"healthy":false,"enabled":false},
		{"ip":"10.0.0.9","port":0},
		{"ip":"10.0.0.9","port":65536},
		{"ip":"10.0.0.9","port":"80"},
		{"ip":"10.0.0.9","port":80,"metadata":[]},
		null,
		7]}`)
	u := plain.set(all)
	var got []string
	for _, s := range u.Endpoints {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %v %s %s %s", s.URL(), s.Weight, map[bool]string{true: "out"}[s.Out], s.Zone, s.Host)))
	}
	slices.Sort(got)
	want := []string{"http://10.0.0.1:80 1", "http://10.0.0.2:80 0 out", "http://10.0.0.3:81 1 out", "http://10.0.0.4:80 1 out",
		"http://10.0.0.6:80 1", "http://10.0.0.8:80 0.25  a", "http://[::1]:80 1", "http://pod-1.svc:80 1   pod-1.svc", "https://10.0.0.5:80 1  far"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if len(u.Rejected) != 8 {
		t.Errorf("%d rejected: %v", len(u.Rejected), u.Rejected)
	}
	far := plain
	far.Clusters = []string{"far", "nowhere"}
	if u := far.set(all); len(u.Endpoints) != 1 {
		t.Errorf("%+v", u.Endpoints)
	}
	if _, err := (serviceJSON{}).instances(); err == nil {
		t.Error("a message without a list was taken for an empty one")
	}
}

// The bytes are those that protocol buffers prescribe, written out by hand.
func TestPayload(t *testing.T) {
	p := payload{kind: "A", headers: map[string]string{"accessToken": "tok"}, clientIP: "1.2", body: []byte("{}")}
	want := "\x00\x00\x00\x00\x24" + // not compressed, 36 bytes
		"\x12\x1c" + "\x1a\x01A" + "\x3a\x12\x0a\x0baccessToken\x12\x03tok" + "\x42\x031.2" + // metadata
		"\x1a\x04\x12\x02{}" // body
	if got := p.frame(); string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
	got, err := readPayload(bytes.NewReader(p.frame()))
	if err != nil || got.kind != "A" || string(got.body) != "{}" {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range want { // whatever is missing at the end is missed
		if _, err := readPayload(strings.NewReader(want[:i])); err == nil || i == 0 && err != io.EOF {
			t.Errorf("%d bytes: %v", i, err)
		}
	}
	for _, bad := range []string{"\x01\x00\x00\x00\x00", "\x00\xff\xff\xff\xff", "\x00\x00\x00\x00\x00"} {
		if _, err := readPayload(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func FuzzPayload(f *testing.F) {
	f.Add([]byte("\x12\x03\x1a\x01A\x1a\x04\x12\x02{}"))
	f.Add([]byte("\x08\x01\x11\x00\x00\x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00\x00\x12\x03\x1a\x01A"))
	f.Add([]byte("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePayload(data)
		if err != nil {
			return
		}
		again, err := readPayload(bytes.NewReader(p.frame()))
		if err != nil || again.kind != p.kind || !bytes.Equal(again.body, p.body) {
			t.Errorf("%+v became %+v, %v", p, again, err)
		}
	})
}

func FuzzHosts(f *testing.F) {
	f.Add(recorded)
	f.Add(`{"hosts":[null,{"ip":"::1","port":1,"weight":1e308},{"ip":"::1","port":1,"weight":1e-308}]}`)
	f.Add(`{"hosts":[{"ip":"::1","port":1,"weight":0}]}`) // takes no requests
	f.Fuzz(func(t *testing.T, data string) {
		var s serviceJSON
		if json.Unmarshal([]byte(data), &s) != nil {
			return
		}
		all, err := s.instances()
		if err != nil {
			return
		}
		if lost(all, all) {
			t.Error("a list lacks its own instances")
		}
		u := plain.set(all)
		seen := make(map[string]bool)
		for _, e := range u.Endpoints {
			if !(e.Weight > 0) && !e.Out || seen[e.URL()] || e.Instance != "" {
				t.Errorf("%+v", u.Endpoints)
			}
			seen[e.URL()] = true
		}
	})
}
