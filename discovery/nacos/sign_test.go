package nacos

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSignature: the signature was made by openssl, at the time at which bubbles begin.
func TestSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Config{AccessKey: "key", SecretKey: "secret"}
		got := c.signature(subject{"DEFAULT_GROUP", "web"})
		if got["ak"] != "key" || got["data"] != "946684800000@@DEFAULT_GROUP@@web" || got["signature"] != "vWft82AYwUGUG60kCLyRhiQBVhE=" {
			t.Errorf("%v", got)
		}
		if got := c.signature(subject{}); got != nil {
			t.Errorf("of no service: %v", got)
		}
		if got := (Config{}).signature(subject{"a", "b"}); got != nil {
			t.Errorf("without a key: %v", got)
		}
	})
}

// TestAccessKey: whatever concerns a service is signed, by push and by polling, and so are
// announcements. A wrong key is said plainly, and is in no error.
func TestAccessKey(t *testing.T) {
	scene(t, func(t *testing.T, e *fake, c Config) {
		e.set(func() { e.secret = "right" })
		for want, keys := range map[string][2]string{"or for an access key": {}, "the secret key is wrong": {"key", "wr0ng"}} {
			c.AccessKey, c.SecretKey = keys[0], keys[1]
			l, stop := start(t, New(c, webConfig))
			pass(time.Second)
			if u := l.take(); len(u) == 0 || u[0].Err == nil || !strings.Contains(u[0].Err.Error(), want) || strings.Contains(fmt.Sprint(u), "wr0ng") {
				t.Errorf("with the keys %q: %v", keys, u)
			}
			stop()
		}
		c.AccessKey, c.SecretKey = "key", "right"
		l, stop := start(t, New(c, webConfig))
		j, remove := announce(t, c, webInstance)
		pass(2 * time.Second)
		j.expect(t, "announced")
		if u := l.take(); len(u) == 0 || len(u[len(u)-1].Endpoints) != 1 {
			t.Errorf("published %v", u)
		}
		pass(10 * time.Minute) // the time in the signature is that of the request
		l.expect(t, "")
		e.disable("10.0.0.1:80", true)
		pass(10 * time.Second)
		if u := l.take(); len(u) == 0 || len(u[len(u)-1].Endpoints) != 1 || !u[len(u)-1].Endpoints[0].Out {
			t.Errorf("disabled: published %v", u)
		}
		remove()
		stop()
		e.stopGRPC()
		e.put(webSubject, host("10.0.0.2", 80, "a"))
		polling, _ := start(t, New(c, webConfig))
		pass(time.Second)
		polling.expect(t, "[http://10.0.0.2:80 a]")
	})
}
