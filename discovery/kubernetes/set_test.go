package kubernetes

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// described is what set makes of slices, in one line.
func described(t *testing.T, c ServiceConfig, texts ...string) string {
	t.Helper()
	var all []*slice
	for i, text := range texts {
		var o object
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		o.Metadata.Name = fmt.Sprint("s", i)
		all = append(all, compact(&o))
	}
	c.Service = "web"
	u := set(all, c, "ns")
	var out []string
	for _, s := range u.Endpoints {
		text := s.URL()
		if s.Zone != "" {
			text += "@" + s.Zone
		}
		if s.Host != "" {
			text += " for " + s.Host
		}
		if s.Out {
			text += " out"
		}
		out = append(out, text)
	}
	for _, r := range u.Rejected {
		out = append(out, "!"+r.ID+": "+r.Reason)
	}
	return strings.Join(out, ", ")
}

const (
	portA = `{"name":"","port":8080,"protocol":"TCP"}`
	up    = `{"ready":true,"serving":true,"terminating":false}`
	out   = `{"ready":false,"serving":false,"terminating":false}`
	away  = `{"ready":false,"serving":true,"terminating":true}`
	dead  = `{"ready":false,"serving":false,"terminating":true}`
)

func text(family, ports string, pods ...string) string {
	return fmt.Sprintf(`{"addressType":%q,"ports":[%s],"endpoints":[%s]}`, family, ports, strings.Join(pods, ","))
}

func podText(address, conditions string, more ...string) string {
	return fmt.Sprintf(`{"addresses":[%q],"conditions":%s%s}`, address, conditions, strings.Join(more, ""))
}

func TestSet(t *testing.T) {
	a, b := podText("10.0.0.1", up, `,"zone":"z1"`), podText("10.0.0.2", up)
	for name, test := range map[string]struct {
		c      ServiceConfig
		slices []string
		want   string
	}{
		"nothing":                {want: ""},
		"an empty slice":         {slices: []string{`{"addressType":"IPv4","endpoints":null,"ports":null}`}, want: ""},
		"sorted, with zones":     {slices: []string{text("IPv4", portA, b), text("IPv4", portA, a)}, want: "http://10.0.0.1:8080@z1, http://10.0.0.2:8080"},
		"twice the same":         {slices: []string{text("IPv4", portA, a, a), text("IPv4", portA, a)}, want: "http://10.0.0.1:8080@z1"},
		"no conditions":          {slices: []string{text("IPv4", portA, podText("10.0.0.1", `{}`))}, want: "http://10.0.0.1:8080"},
		"not ready":              {slices: []string{text("IPv4", portA, podText("10.0.0.1", out), b)}, want: "http://10.0.0.2:8080"},
		"none ready":             {slices: []string{text("IPv4", portA, podText("10.0.0.1", out))}, want: ""},
		"terminating":            {slices: []string{text("IPv4", portA, podText("10.0.0.1", away), b)}, want: "http://10.0.0.1:8080 out, http://10.0.0.2:8080"},
		"all terminating":        {slices: []string{text("IPv4", portA, podText("10.0.0.1", away), podText("10.0.0.2", dead))}, want: "http://10.0.0.1:8080, http://10.0.0.2:8080 out"},
		"terminating, not ready": {slices: []string{text("IPv4", portA, podText("10.0.0.1", away), podText("10.0.0.2", out))}, want: "http://10.0.0.1:8080"},
		"ready in one of two":    {slices: []string{text("IPv4", portA, podText("10.0.0.1", out)), text("IPv4", portA, podText("10.0.0.1", up))}, want: "http://10.0.0.1:8080"},
		"IPv6":                   {slices: []string{text("IPv6", portA, podText("2001:db8::1", up))}, want: "http://[2001:db8::1]:8080"},
		"both families of a pod": {slices: []string{
			text("IPv6", portA, podText("2001:db8::1", up, `,"targetRef":{"kind":"Pod","name":"p","uid":"u"}`), podText("2001:db8::2", up, `,"targetRef":{"kind":"Pod","name":"q","uid":"v"}`)),
			text("IPv4", portA, podText("10.0.0.1", up, `,"targetRef":{"kind":"Pod","name":"p","uid":"u"}`)),
		}, want: "http://10.0.0.1:8080, http://[2001:db8::2]:8080"},
		"FQDN":               {slices: []string{text("FQDN", portA, podText("a.example", up)), text("IPv4", portA, b)}, want: `http://10.0.0.2:8080, !s0: its addresses are of type "FQDN": they must be IP addresses`},
		"a bad address":      {slices: []string{text("IPv4", portA, podText("10.0.0.300", up), b, `{"addresses":[],"conditions":{}}`)}, want: "http://10.0.0.2:8080, !s0/0: its address is none that can be reached, !s0/2: it has no address"},
		"a bad pod":          {slices: []string{text("IPv4", portA, podText("0.0.0.0", up, `,"targetRef":{"kind":"Pod","name":"p"}`))}, want: "!s0/p: its address is none that can be reached"},
		"only the first":     {slices: []string{text("IPv4", portA, `{"addresses":["10.0.0.1","10.0.0.9"]}`)}, want: "http://10.0.0.1:8080"},
		"the port http":      {slices: []string{text("IPv4", `{"name":"admin","port":1},{"name":"http","port":2}`, b)}, want: "http://10.0.0.2:2"},
		"which port":         {slices: []string{text("IPv4", `{"name":"x","port":1},{"name":"y","port":2}`, b)}, want: "!s0: it has 2 TCP ports and none is named http: the port must be given"},
		"a port by name":     {c: ServiceConfig{Port: "y"}, slices: []string{text("IPv4", `{"name":"x","port":1},{"name":"y","port":2}`, b)}, want: "http://10.0.0.2:2"},
		"a port by number":   {c: ServiceConfig{Port: "2"}, slices: []string{text("IPv4", `{"name":"x","port":1},{"name":"y","port":2}`, b)}, want: "http://10.0.0.2:2"},
		"no such port":       {c: ServiceConfig{Port: "z"}, slices: []string{text("IPv4", portA, b)}, want: `!s0: it has no TCP port "z"`},
		"ports of versions":  {c: ServiceConfig{Port: "y"}, slices: []string{text("IPv4", `{"name":"y","port":1}`, a), text("IPv4", `{"name":"y","port":2}`, b)}, want: "http://10.0.0.1:1@z1, http://10.0.0.2:2"},
		"UDP":                {slices: []string{text("IPv4", `{"port":53,"protocol":"UDP"},`+portA, b)}, want: "http://10.0.0.2:8080"},
		"all ports":          {c: ServiceConfig{Port: "99"}, slices: []string{text("IPv4", `{"port":null}`, b)}, want: "http://10.0.0.2:99"},
		"all ports, no port": {slices: []string{text("IPv4", `{"port":null}`, b)}, want: "!s0: it does not say the number of the port"},
		"https by name":      {slices: []string{text("IPv4", `{"name":"https","port":443}`, b)}, want: "https://10.0.0.2:443 for web.ns.svc"},
		"https by protocol":  {slices: []string{text("IPv4", `{"name":"x","port":443,"appProtocol":"https"}`, b)}, want: "https://10.0.0.2:443 for web.ns.svc"},
		"http all the same":  {c: ServiceConfig{Scheme: "http"}, slices: []string{text("IPv4", `{"name":"https","port":443}`, b)}, want: "http://10.0.0.2:443"},
	} {
		if got := described(t, test.c, test.slices...); got != test.want {
			t.Errorf("%s:\n\t%s, want\n\t%s", name, got, test.want)
		}
	}
}

func TestMetadata(t *testing.T) {
	var o object
	if err := json.Unmarshal([]byte(text("IPv4", portA, podText("10.0.0.1", up, `,"nodeName":"n1","hostname":"h","targetRef":{"kind":"Pod","name":"web-1"}`))), &o); err != nil {
		t.Fatal(err)
	}
	u := set([]*slice{compact(&o)}, ServiceConfig{}, "")
	if got := fmt.Sprint(u.Endpoints[0].Metadata); got != "map[hostname:h node:n1 pod:web-1]" {
		t.Error(got)
	}
}

// FuzzSet: whatever slices say, endpoints have addresses that can be reached, and the
// result does not depend on the order of slices.
func FuzzSet(f *testing.F) {
	f.Add(text("IPv4", portA, podText("10.0.0.1", up)), text("IPv6", portA, podText("2001:db8::1", away)), "")
	f.Add(text("FQDN", portA, podText("x", out)), `{"endpoints":[{}],"ports":[{"port":-1}]}`, "http")
	f.Add(`{"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"port":null}]}`, "{}", "80")
	f.Fuzz(func(t *testing.T, one, two, port string) {
		var all []*slice
		for i, text := range []string{one, two} {
			var o object
			if json.Unmarshal([]byte(text), &o) == nil {
				o.Metadata.Name = string(rune('a' + i))
				all = append(all, compact(&o))
			}
		}
		u := set(all, ServiceConfig{Service: "web", Port: port}, "ns")
		for _, s := range u.Endpoints {
			if ap, err := netip.ParseAddrPort(s.Address); err != nil || ap.Port() == 0 {
				t.Errorf("%+v", s)
			}
		}
		for range 5 {
			slices.Reverse(all)
			again := set(all, ServiceConfig{Service: "web", Port: port}, "ns")
			if fmt.Sprint(again) != fmt.Sprint(u) {
				t.Fatalf("%v and then %v", u, again)
			}
		}
	})
}
