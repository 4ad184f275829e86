package nethttp

import (
	"net/http"
	"testing"
)

// TestPeerOf: middleware writes what it likes to RemoteAddr.
func TestPeerOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1234": "192.0.2.1", "[2001:db8::1]:1234": "2001:db8::1", "[::ffff:192.0.2.1]:80": "192.0.2.1",
		"192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::1", "@": "", "": "", "unknown": "",
	} {
		if p := peerOf(&http.Request{RemoteAddr: remote}); string(p.IP) != want || p.Addr.IsValid() != (want != "") {
			t.Errorf("%q: %s", remote, p.IP)
		}
	}
}
