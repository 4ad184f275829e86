package etcd

import (
	"math"
	"strings"
	"testing"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/endpoint"
)

func TestParse(t *testing.T) {
	for _, one := range []struct{ value, url, reason string }{
		{"10.0.0.1:80", "http://10.0.0.1:80", ""},
		{" http://10.0.0.1:80/\n", "http://10.0.0.1:80", ""},
		{"https://10.0.0.1", "https://10.0.0.1:443", ""},
		{"http://[::1]:80", "http://[::1]:80", ""},
		{"http://[::1]", "http://[::1]:80", ""},
		{"[::ffff:10.0.0.1]:80", "http://10.0.0.1:80", ""},
		{`{"url":"https://10.0.0.1:80"}`, "https://10.0.0.1:80", ""},
		{`{"Op":0,"Addr":"10.0.0.1:80","Metadata":null}`, "http://10.0.0.1:80", ""},
		{`{"Op":0,"Addr":"10.0.0.1:80","Metadata":"text"}`, "http://10.0.0.1:80", ""},
		{`{"Op":0,"Addr":"https://10.0.0.1:80","Metadata":[1]}`, "https://10.0.0.1:80", ""},
		{"", "", "empty"},
		{"Name.:80", "http://name:80", ""},
		{"na me:80", "", "host name"},
		{"[::1%eth0]:80", "http://[::1%eth0]:80", ""},
		{" [::ffff:10.0.0.1]:80", "http://10.0.0.1:80", ""},
		{"10.0.0.1", "", "port"},
		{"10.0.0.1:0", "", "port"},
		{"0.0.0.0:80", "", "reached"},
		{"10.0.0.1:65536", "", "port"},
		{"ftp://10.0.0.1:80", "", "none of"},
		{"http://u:p@10.0.0.1:80", "", "more than"},
		{"http://10.0.0.1:80/path", "", "more than"},
		{"{", "", "JSON"},
		{"{}", "", "neither"},
		{`{"url":1}`, "", "JSON"},
		{`{"url":"10.0.0.1:80","address":"10.0.0.2:80"}`, "", "more than one"},
		{`{"url":"10.0.0.1:80","weight":-1}`, "", "weight"},
		{`{"url":"10.0.0.1:80","weight":"NaN"}`, "", "weight"},
		{`{"url":"10.0.0.1:80","weight":"many"}`, "", "weight"},
		{`{"url":"10.0.0.1:80","weight":[1]}`, "", "weight"},
	} {
		s, err := parse([]byte(one.value), "http")
		switch {
		case one.reason == "" && (err != nil || s.URL() != one.url):
			t.Errorf("%s: %s, %v, want %s", one.value, s.URL(), err, one.url)
		case one.reason != "" && (err == nil || !strings.Contains(err.Error(), one.reason)):
			t.Errorf("%s: %v, want one with %q", one.value, err, one.reason)
		}
	}
}

func TestWeights(t *testing.T) {
	for value, want := range map[string]float64{
		`{"url":"10.0.0.1:80"}`: 0, `{"url":"10.0.0.1:80","weight":null}`: 0, `{"url":"10.0.0.1:80","weight":7}`: 7,
		`{"url":"10.0.0.1:80","weight":"7"}`: 7, `{"url":"10.0.0.1:80","weight":0.2}`: 0.2, `{"url":"10.0.0.1:80","weight":1e300}`: 1e300,
		`{"Addr":"10.0.0.1:80","Metadata":{"weight":"9"}}`: 9, `{"url":"10.0.0.1:80","weight":2,"metadata":{"weight":9}}`: 2,
	} {
		if s, err := parse([]byte(value), "http"); err != nil || s.Weight != want {
			t.Errorf("%s: %v, %v, want %v", value, s.Weight, err, want)
		}
	}
	for value, want := range map[string]bool{
		`{"url":"10.0.0.1:80","weight":0}`: true, `{"url":"10.0.0.1:80","metadata":{"weight":"0.0"}}`: true, `{"url":"10.0.0.1:80","enabled":false}`: true,
		`{"url":"10.0.0.1:80","enabled":true}`: false, `{"url":"10.0.0.1:80","weight":0.01}`: false,
	} {
		if s, err := parse([]byte(value), "http"); err != nil || s.Out != want {
			t.Errorf("%s: out %v, %v", value, s.Out, err)
		}
	}
	s, err := parse([]byte(`{"url":"10.0.0.1:80","zone":"z","metadata":{"s":"t","n":1,"b":true,"o":{"x":[]},"zone":"y"}}`), "https")
	want := endpoint.Spec{ID: endpoint.ID{Scheme: "https", Address: "10.0.0.1:80"}, Zone: "z",
		Metadata: map[string]string{"s": "t", "n": "1", "b": "true", "o": `{"x":[]}`, "zone": "y"}}
	if err != nil || !s.Equal(want) {
		t.Errorf("%+v, %v, want %+v", s, err, want)
	}
}

func TestPrefixEnd(t *testing.T) {
	for prefix, want := range map[string]string{"/a/": "/a0", "a": "b", "a\xff": "b", "\xff": "\x00", "a\xfe\xff": "a\xff"} {
		if got := string(prefixEnd(prefix)); got != want {
			t.Errorf("after %q comes %q, want %q", prefix, got, want)
		}
	}
}

// FuzzParse: whatever a key holds, it is an endpoint that can be dialled or a reason that
// does not repeat it, and what a registrar writes of it reads the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"10.0.0.1:80", "https://[::1]:443", `{"url":"http://10.0.0.1:80","weight":3,"zone":"z","metadata":{"a":1}}`,
		`{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"weight":"2"}}`, "{", "http://a:b@c", `{"address":"fe80::1%25eth0"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parse(data, "http")
		if err != nil {
			return
		}
		if a, name, err := discovery.ParseAddress(s.Address); err != nil || a != s.Address || name != s.Host || s.Scheme != "http" && s.Scheme != "https" {
			t.Fatalf("%q is accepted as %v", data, s.ID)
		}
		if s.Weight < 0 || math.IsNaN(s.Weight) {
			t.Fatalf("%q has the weight %v", data, s.Weight)
		}
		if s.Host != "" || s.Out {
			return
		}
		written, err := render(discovery.Instance{Scheme: s.Scheme, Address: s.Address, Weight: 7, Zone: s.Zone, Metadata: s.Metadata})
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse(written, "http")
		if s.Weight = 7; err != nil || !again.Equal(s) {
			t.Fatalf("%q is %+v, and after being written %+v, %v", data, s, again, err)
		}
	})
}
