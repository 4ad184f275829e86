package filter

import (
	"testing"
	"time"

	"github.com/poise-lb/poise/internal/message"
)

func TestOriginsThatAreAllowed(t *testing.T) {
	for _, test := range []struct {
		origins []string
		origin  string
		want    string
	}{
		{[]string{"*"}, "https://a.example", "*"},
		{[]string{"*"}, "null", "*"},
		{[]string{"https://a.example"}, "https://a.example", "https://a.example"},
		{[]string{"https://b.example", "https://a.example:8443"}, "https://a.example:8443", "https://a.example:8443"},
		{[]string{"https://a.example"}, "http://a.example", ""},
		{[]string{"https://a.example"}, "https://a.example:8443", ""},
		{[]string{"https://a.example"}, "https://a.example.evil", ""},
		{[]string{"https://a.example"}, "null", ""},
		{[]string{"https://a.example"}, "", ""},
		{[]string{"https://*.a.example"}, "https://x.a.example", "https://x.a.example"},
		{[]string{"https://*.a.example"}, "https://y.x.a.example", "https://y.x.a.example"},
		{[]string{"https://*.a.example"}, "https://a.example", ""},
		{[]string{"https://*.a.example"}, "https://.a.example", ""},
		{[]string{"https://*.a.example"}, "https://xa.example", ""},
		{[]string{"https://*.a.example"}, "http://x.a.example", ""},
		{[]string{"https://*.a.example"}, "https://x.a.example:8443", ""},
		{[]string{"https://*.a.example"}, "https://evil.example/.a.example", ""},
		{[]string{"https://*.a.example"}, "https://u@x.a.example", ""},
		{[]string{"https://*.a.example:8443"}, "https://x.a.example:8443", "https://x.a.example:8443"},
	} {
		c, err := Compile([]Filter{NewCORS(CORSOptions{Origins: test.origins, MaxAge: time.Minute})})
		if err != nil {
			t.Fatal(err)
		}
		x := &Exchange{Request: &message.Request{Method: []byte("GET"), Fields: []message.Field{message.NewField("origin", test.origin)}}}
		c.Begin(x)
		if _, reply := c.Request(x, 0, slots); reply != nil {
			t.Fatalf("a request that is no preflight is answered: %+v", reply)
		}
		r := &message.Response{Status: 200, Fields: []message.Field{message.NewField("access-control-allow-origin", "https://other.example")}}
		c.Response(x, r, 1)
		if got, _ := message.Get(r.Fields, "access-control-allow-origin"); string(got) != test.want {
			t.Errorf("%v: %q is allowed as %q, want %q", test.origins, test.origin, got, test.want)
		}
	}
}

func TestWhatIsAPreflight(t *testing.T) {
	origin, asks := message.NewField("Origin", "https://a.example"), message.NewField("Access-Control-Request-Method", "PUT")
	for _, test := range []struct {
		method string
		fields []message.Field
		want   string
	}{
		{"OPTIONS", []message.Field{origin, asks}, "PUT"},
		{"OPTIONS", []message.Field{origin}, ""},
		{"OPTIONS", []message.Field{asks}, ""},
		{"GET", []message.Field{origin, asks}, ""},
	} {
		got, ok := IsPreflight(&message.Request{Method: []byte(test.method), Fields: test.fields})
		if string(got) != test.want || ok != (test.want != "") {
			t.Errorf("%s with %d fields: %q, %v", test.method, len(test.fields), got, ok)
		}
	}
}
