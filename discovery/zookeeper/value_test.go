package zookeeper

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
	"github.com/poise-lb/poise/endpoint"
)

// What the real libraries write.
const (
	spring = `{"name":"web","id":"0b8","address":"10.0.0.1","port":8081,"sslPort":null,"payload":{"@class":"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","id":"web-1","name":"web","metadata":{"zone":"a","weight":"3","instance_status":"UP"}},"registrationTimeUTC":1795398355275,"serviceType":"DYNAMIC","uriSpec":{"parts":[{"value":"scheme","variable":true}]}}`
	dubbo  = `{"name":"app","id":"10.0.0.2:20880","address":"10.0.0.2","port":20880,"sslPort":null,"payload":{"@class":"org.apache.dubbo.registry.zookeeper.ZookeeperInstance","id":"10.0.0.2:20880","name":"app","metadata":{"dubbo.endpoints":"[{\"port\":20880,\"protocol\":\"tri\"},{\"port\":8080,\"protocol\":\"rest\"}]"}},"registrationTimeUTC":1,"serviceType":"DYNAMIC","uriSpec":null}`
)

// brief is an entry in one line: "-" for none, "! reason".
func brief(e entry) string {
	switch {
	case e.Reason != "":
		return "! " + e.Reason
	case e.None:
		return "-"
	}
	state := ""
	if e.Spec.Out {
		state = " out"
	}
	return strings.TrimSpace(fmt.Sprintf("%s *%v %s", e.Spec.URL(), e.Spec.Weight, e.Spec.Zone)) + state
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		c          Config
		data, want string
	}{
		{Config{}, spring, "http://10.0.0.1:8081 *3 a"},
		{Config{Scheme: "https"}, spring, "https://10.0.0.1:8081 *3 a"},
		{Config{}, dubbo, "http://10.0.0.2:20880 *0"},
		{Config{Protocol: "rest"}, dubbo, "http://10.0.0.2:8080 *0"},
		{Config{Protocol: "dubbo"}, dubbo, "-"},
		{Config{Protocol: "rest"}, strings.Replace(dubbo, `"[{`, `"[`, 1), "! its dubbo.endpoints cannot be read"},
		{Config{}, strings.Replace(spring, `"UP"`, `"OUT_OF_SERVICE"`, 1), "http://10.0.0.1:8081 *3 a out"},
		{Config{}, strings.Replace(spring, `"sslPort":null`, `"sslPort":8443`, 1), "https://10.0.0.1:8443 *3 a"},
		{Config{Scheme: "http"}, strings.Replace(spring, `"sslPort":null`, `"sslPort":8443`, 1), "http://10.0.0.1:8081 *3 a"},
		{Config{}, strings.Replace(spring, `"3"`, `"0"`, 1), "http://10.0.0.1:8081 *0 a out"},
		{Config{}, strings.Replace(spring, `"3"`, `"-1"`, 1), "! the weight is negative"},
		{Config{}, strings.Replace(spring, `"3"`, `"NaN"`, 1), "! the weight is not a number"},
		{Config{}, strings.Replace(spring, `"3"`, `0.5`, 1), "http://10.0.0.1:8081 *0.5 a"},
		{Config{}, strings.Replace(spring, `"3"`, `5000`, 1), "http://10.0.0.1:8081 *5000 a"},
		{Config{}, strings.Replace(spring, "10.0.0.1", "Host.example.", 1), "http://host.example:8081 *3 a"},
		{Config{}, strings.Replace(spring, "8081", "0", 1), "! 0 is not a port"},
		{Config{}, strings.Replace(spring, "8081", "80810", 1), "! 80810 is not a port"},
		{Config{}, strings.Replace(spring, "10.0.0.1", "fe80::1", 1), "http://[fe80::1]:8081 *3 a"},
		{Config{}, strings.Replace(spring, "10.0.0.1", "", 1), "! it has no address"},
		{Config{}, spring[:100], "! the data is not the JSON of an instance"},
		{Config{}, `{}`, "! it has no address"},
		{Config{}, `{"address":"10.0.0.1","port":"x"}`, "! the data is not the JSON of an instance"},
		{Config{}, `{"address":"10.0.0.1:80","weight":7,"zone":"z","metadata":{"k":"v"}}`, "http://10.0.0.1:80 *7 z"},
		{Config{}, `{"url":"https://10.0.0.1","enabled":true,"weight":"2"}`, "https://10.0.0.1:443 *2"},
		{Config{}, `{"url":"https://10.0.0.1","enabled":false}`, "https://10.0.0.1:443 *0 out"},
		{Config{}, `{"address":"10.0.0.1","port":80,"payload":{"weight":4,"zone":"p","list":[1],"none":null}}`, "http://10.0.0.1:80 *4 p"},
		{Config{}, `{"address":"10.0.0.1","port":80,"payload":"text"}`, "http://10.0.0.1:80 *0"},
		{Config{}, "https://10.0.0.1:8443/\n", "https://10.0.0.1:8443 *0"},
		{Config{}, "10.0.0.1:80", "http://10.0.0.1:80 *0"},
		{Config{}, "[::ffff:10.0.0.1]:80", "http://10.0.0.1:80 *0"},
		{Config{}, "", "http://10.9.9.9:99 *0"}, // the name
		{Config{}, "http://u:secret@10.0.0.1:80", "! the URL has more than scheme, address and port"},
		{Config{}, "ftp://10.0.0.1:80", "! the URL is none of http://, https:// and h2c://"},
		{Config{}, "10.0.0.1", "! the address has no port, or an IPv6 address no brackets"},
		{Config{}, "0.0.0.0:80", "! the address is none that can be reached"},
	} {
		if got := brief(test.c.parse("10.9.9.9:99", []byte(test.data))); got != test.want {
			t.Errorf("%s (%+v):\n\t%s, want\n\t%s", test.data, test.c, got, test.want)
		}
	}
	meta := new(Config).parse("", []byte(spring)).Spec.Metadata
	if meta["zone"] != "a" || meta["@class"] != "" {
		t.Errorf("metadata %v", meta)
	}
}

func TestNamed(t *testing.T) {
	const provider = "tri://10.0.0.3:50051/com.example.Greeter?application=app&category=providers&pid=7&timestamp=1795398355275"
	for _, test := range []struct {
		c          Config
		name, want string
	}{
		{Config{}, provider, "http://10.0.0.3:50051 *100"},
		{Config{}, provider + "&weight=50&zone=a", "http://10.0.0.3:50051 *50 a"},
		{Config{}, provider + "&weight=0", "http://10.0.0.3:50051 *0 out"},
		{Config{}, provider + "&ssl-enabled=true", "https://10.0.0.3:50051 *100"},
		{Config{}, provider + "&disabled=true", "http://10.0.0.3:50051 *100 out"},
		{Config{}, provider + "&enabled=false", "http://10.0.0.3:50051 *100 out"},
		{Config{Protocol: "tri"}, provider, "http://10.0.0.3:50051 *100"},
		{Config{Protocol: "rest"}, provider, "-"},
		{Config{}, strings.Replace(provider, "tri:", "dubbo:", 1), `! its protocol is not one over HTTP: "dubbo"`},
		{Config{Protocol: "dubbo"}, strings.Replace(provider, "tri:", "dubbo:", 1), "http://10.0.0.3:50051 *100"},
		{Config{}, strings.Replace(provider, "=providers", "=consumers", 1), "-"},
		{Config{}, "https://10.0.0.3:443/x", "https://10.0.0.3:443 *100"},
		{Config{}, "http://host/x", "! the address has no port, or an IPv6 address no brackets"},
		{Config{}, "http://%zz/x", "! the name is not an encoded URL"},
	} {
		e, ok := test.c.named(url.QueryEscape(test.name))
		if got := brief(e); got != test.want || !ok {
			t.Errorf("%s (%+v):\n\t%s, want\n\t%s", test.name, test.c, got, test.want)
		}
	}
	if e, _ := new(Config).named(url.QueryEscape(provider)); e.Created != 1795398355275 || e.Spec.Metadata["application"] != "app" {
		t.Errorf("%+v", e)
	}
	if _, ok := new(Config).named("10.0.0.1:80"); ok {
		t.Error("an address is not an encoded URL")
	}
	if e, ok := new(Config).named("http%3A%2F%2F%zz"); !ok || e.Reason == "" {
		t.Errorf("%+v", e)
	}
}

func TestSetPrefersTheLatest(t *testing.T) {
	at := func(created int64, weight float64, address string) entry {
		return entry{Created: created, Spec: endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: address}, Weight: weight}}
	}
	u := client.Set(maps.All(map[string]entry{
		"old": at(1, 1, "10.0.0.2:80"), "new": at(2, 2, "10.0.0.2:80"), "other": at(1, 3, "10.0.0.1:80"),
		"z": {Reason: "bad"}, "a": {Reason: "bad"}, "off": {None: true},
	}))
	if len(u.Endpoints) != 2 || u.Endpoints[0].Weight != 3 || u.Endpoints[1].Weight != 2 {
		t.Errorf("%+v", u.Endpoints)
	}
	if len(u.Rejected) != 2 || u.Rejected[0].ID != "a" || u.Rejected[1] != (discovery.Reject{ID: "z", Reason: "bad"}) {
		t.Errorf("%+v", u.Rejected)
	}
}

// TestRenderIsRead: what the registrar writes, the source reads.
func TestRenderIsRead(t *testing.T) {
	for _, in := range []discovery.Instance{
		{Service: "web", Address: "10.0.0.1:80"},
		{Service: "web", ID: "i", Scheme: "https", Address: "[2001:db8::1]:443", Weight: 7, Zone: "z", Metadata: map[string]string{"k": "v", "weight": "9"}},
	} {
		data, err := render(in, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		e := new(Config).parse("x", data)
		s := e.Spec
		if e.Reason != "" || s.Address != in.Address || s.Scheme == "https" != (in.Scheme == "https") || s.Weight != float64(max(in.Weight, 1)) || s.Zone != in.Zone || s.Metadata["k"] != in.Metadata["k"] {
			t.Errorf("%s is read as %+v", data, e)
		}
		var all map[string]any
		if json.Unmarshal(data, &all) != nil || all["serviceType"] != "DYNAMIC" || all["registrationTimeUTC"] != 1000.0 {
			t.Errorf("%s", data)
		}
	}
	if _, err := render(discovery.Instance{Address: "host:80"}, time.Now()); err == nil {
		t.Error("a name was announced")
	}
}

// FuzzParse: whatever a node holds, it is an endpoint that can be reached, nothing, or a
// reason that does not repeat it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{spring, dubbo, "10.0.0.1:80", "http://[::1]:80", "", "{", `{"payload":{"metadata":null}}`, `{"address":"a","port":-1}`, "tri%3A%2F%2F10.0.0.1%3A80%2F%3Fweight%3D1"} {
		f.Add(s, "")
		f.Add(s, "rest")
	}
	f.Fuzz(func(t *testing.T, data, protocol string) {
		c := Config{Protocol: protocol}
		entries := []entry{c.parse(data, []byte(data))}
		if e, ok := c.named(data); ok {
			entries = append(entries, e)
		}
		for _, e := range entries {
			if e.None || e.Reason != "" {
				continue
			}
			a, name, err := discovery.ParseAddress(e.Spec.Address)
			if err != nil || a != e.Spec.Address || name != e.Spec.Host || e.Spec.Scheme != "http" && e.Spec.Scheme != "https" || e.Spec.Weight < 0 {
				t.Errorf("%+v", e.Spec)
			}
		}
	})
}
