package rewrite

import (
	"errors"
	"strings"
	"testing"

	"github.com/poise-lb/poise/config"
)

func TestErrorsSayWhatAndWhere(t *testing.T) {
	request := func(e config.HeaderEdit) config.Headers { return config.Headers{Request: e} }
	response := func(e config.HeaderEdit) config.Headers { return config.Headers{Response: e} }
	set := func(name, value string) config.HeaderEdit {
		return config.HeaderEdit{Set: map[string]string{name: value}}
	}
	for _, c := range []struct {
		w    config.Rewrite
		h    config.Headers
		want string // the beginning of each line, with | between them
	}{
		{config.Rewrite{StripPrefix: "api"}, config.Headers{}, `rewrite.strip_prefix: "api" does not start with /`},
		{config.Rewrite{StripPrefix: "*"}, config.Headers{}, `rewrite.strip_prefix: "*" does not start with /`},
		{config.Rewrite{StripPrefix: "/a%"}, config.Headers{}, `rewrite.strip_prefix: "/a%": path has an invalid percent-encoding`},
		{config.Rewrite{StripPrefix: "/a?b"}, config.Headers{}, `rewrite.strip_prefix: "/a?b": path has a control`},
		{config.Rewrite{StripPrefix: "/a//b"}, config.Headers{}, `rewrite.strip_prefix: "/a//b" is not in normal form: write "/a/b"`},
		{config.Rewrite{StripPrefix: "/a/."}, config.Headers{}, `rewrite.strip_prefix: "/a/." is not in normal form: write "/a/"`},
		{config.Rewrite{StripPrefix: "/a/../b/"}, config.Headers{}, `rewrite.strip_prefix: "/a/../b/" is not in normal form: write "/b/"`},
		{config.Rewrite{StripPrefix: "/a/**"}, config.Headers{}, `rewrite.strip_prefix: "/a/**" is taken literally`},
		{config.Rewrite{AddPrefix: "/{tenant}"}, config.Headers{}, `rewrite.add_prefix: "/{tenant}" is taken literally`},
		{config.Rewrite{AddPrefix: "/../x"}, config.Headers{}, `rewrite.add_prefix: "/../x": path climbs above the root`},
		{config.Rewrite{Replace: &config.Replace{}}, config.Headers{}, `rewrite.replace.prefix: missing`},
		{config.Rewrite{Replace: &config.Replace{Prefix: "a", With: "b"}}, config.Headers{}, `rewrite.replace.prefix: "a" does|rewrite.replace.with: "b" does`},
		{config.Rewrite{Host: "a b"}, config.Headers{}, `rewrite.host: "a b" is not a host`},
		{config.Rewrite{Host: "http://a"}, config.Headers{}, `rewrite.host: "http://a": "//a" is not a port`},
		{config.Rewrite{Host: "a:0"}, config.Headers{}, `rewrite.host: "a:0": "0" is not a port`},
		{config.Rewrite{Host: "a:"}, config.Headers{}, `rewrite.host: "a:": "" is not a port`},
		{config.Rewrite{Host: "a:65536"}, config.Headers{}, `rewrite.host: "a:65536": "65536" is not a port`},
		{config.Rewrite{Host: ":80"}, config.Headers{}, `rewrite.host: ":80" is not a host`},
		{config.Rewrite{Host: "::1"}, config.Headers{}, `rewrite.host: "::1" is not a host`},
		{config.Rewrite{Host: "[::1"}, config.Headers{}, `rewrite.host: "[::1": not an IPv6`},
		{config.Rewrite{Host: "[1.2.3.4]:80"}, config.Headers{}, `rewrite.host: "[1.2.3.4]:80": not an IPv6`},
		{config.Rewrite{Host: "a\r\nX: y"}, config.Headers{}, `rewrite.host: "a\r\nX: y": " y" is not a port`},
		{config.Rewrite{}, request(set("X Y", "1")), `headers.request.set: invalid field name "X Y"`},
		{config.Rewrite{}, response(set("", "1")), `headers.response.set: invalid field name ""`},
		{config.Rewrite{}, response(config.HeaderEdit{Remove: []string{"Ä"}}), `headers.response.remove: invalid field name "Ä"`},
		{config.Rewrite{}, request(config.HeaderEdit{Add: map[string]string{"a:": ""}}), `headers.request.add: invalid field name "a:"`},
		{config.Rewrite{}, request(set("X", "a\r\nY: b")), `headers.request.set: value of X: byte 0x0d at 1`},
		{config.Rewrite{}, request(config.HeaderEdit{Add: map[string]string{"X": "\x00"}}), `headers.request.add: value of X: byte 0x00 at 0`},
		{config.Rewrite{}, request(set("X", " a")), `headers.request.set: value of X: space around it`},
		{config.Rewrite{}, request(config.HeaderEdit{Set: map[string]string{"X-A": "1", "x-a": "2"}}), `headers.request.set: "X-A" and "x-a" are one field`},
		{config.Rewrite{}, request(set("host", "a")), `headers.request.set: host cannot be changed: use rewrite.host`},
		{config.Rewrite{}, request(config.HeaderEdit{Remove: []string{"Host"}}), `headers.request.remove: Host cannot be changed: use rewrite.host`},
		{config.Rewrite{}, response(set("Host", "a")), `headers.response.set: Host cannot be changed: a response has no Host`},
		{config.Rewrite{StripPrefix: "a"}, config.Headers{
			Request:  config.HeaderEdit{Set: map[string]string{"B C": "", "A B": ""}, Remove: []string{"C D"}},
			Response: config.HeaderEdit{Add: map[string]string{"TE": "x"}},
		}, `rewrite.strip_prefix: |headers.request.remove: |headers.request.set: invalid field name "A B"|headers.request.set: invalid field name "B C"|headers.response.add: TE cannot`},
	} {
		r, err := Compile(c.w, c.h)
		if err == nil || r != nil {
			t.Errorf("%+v %+v: no error, want %s", c.w, c.h, c.want)
			continue
		}
		got, want := strings.Split(err.Error(), "\n"), strings.Split(c.want, "|")
		if len(got) != len(want) {
			t.Errorf("got %q, want %q", got, want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("got %s\nwant %s", got[i], want[i])
			}
		}
		var one *Error
		if !errors.As(err, &one) || !strings.HasPrefix(c.want, one.Field+": ") {
			t.Errorf("%v: is no *Error with the field", err)
		}
	}
}

func TestFieldsOfTheProxy(t *testing.T) {
	for _, name := range []string{
		"Connection", "Transfer-Encoding", "Content-Length", "Host", "Upgrade", "TE", "Keep-Alive", "Trailer", "Proxy-Connection", "Expect",
		"connection", "TRANSFER-ENCODING", "cOnTeNt-LeNgTh",
	} {
		for where, h := range map[string]config.Headers{
			"headers.request.set":     {Request: config.HeaderEdit{Set: map[string]string{name: "1"}}},
			"headers.request.add":     {Request: config.HeaderEdit{Add: map[string]string{name: "1"}}},
			"headers.request.remove":  {Request: config.HeaderEdit{Remove: []string{name}}},
			"headers.response.set":    {Response: config.HeaderEdit{Set: map[string]string{name: "1"}}},
			"headers.response.add":    {Response: config.HeaderEdit{Add: map[string]string{name: "1"}}},
			"headers.response.remove": {Response: config.HeaderEdit{Remove: []string{name}}},
		} {
			_, err := Compile(config.Rewrite{}, h)
			if err == nil || !strings.HasPrefix(err.Error(), where+": "+name+" cannot be changed: ") {
				t.Errorf("%s %s: %v", where, name, err)
			}
		}
	}
	for _, name := range []string{"Content-Lengthy", "X-Forwarded-For", "Cookie", "Set-Cookie", "Authorization", "Via", "Proxy-Authorization"} {
		h := config.Headers{Request: config.HeaderEdit{Set: map[string]string{name: "1"}, Remove: []string{name}}}
		if _, err := Compile(config.Rewrite{}, h); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
