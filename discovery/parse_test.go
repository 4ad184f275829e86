package discovery

import (
	"math"
	"net/netip"
	"strings"
	"testing"
)

func TestAddress(t *testing.T) {
	for _, c := range []struct {
		host    string
		port    int
		address string // "! " and a part of the error
		name    string
	}{
		{"10.0.0.1", 80, "10.0.0.1:80", ""},
		{" 10.0.0.1\t", 80, "10.0.0.1:80", ""},
		{"::1", 80, "[::1]:80", ""},
		{"[::1]", 80, "[::1]:80", ""},
		{" [ ::1 ] ", 80, "[::1]:80", ""},
		{"[10.0.0.1]", 80, "10.0.0.1:80", ""},
		{"::ffff:10.0.0.1", 80, "10.0.0.1:80", ""},
		{"[::FFFF:a00:1]", 80, "10.0.0.1:80", ""},
		{"fe80::1%eth0", 80, "[fe80::1%eth0]:80", ""},
		{"localhost", 80, "localhost:80", "localhost"},
		{"Pod-1.SVC.", 8080, "pod-1.svc:8080", "pod-1.svc"},
		{"a_b", 1, "a_b:1", "a_b"},
		{"", 80, "! no address", ""},
		{"[]", 80, "! no address", ""},
		{"0.0.0.0", 80, "! reached", ""},
		{"::", 80, "! reached", ""},
		{"224.0.0.1", 80, "! reached", ""},
		{"10.0.0.1", 0, "! not a port", ""},
		{"10.0.0.1", -1, "! not a port", ""},
		{"10.0.0.1", 65536, "! not a port", ""},
		{"10.0.0.256", 80, "! neither", ""},
		{"1.2.3", 80, "! neither", ""},
		{"a b", 80, "! neither", ""},
		{"http://a", 80, "! neither", ""},
		{"a..b", 80, "! neither", ""},
		{".", 80, "! neither", ""},
		{strings.Repeat("a", 64), 80, "! neither", ""},
		{strings.Repeat("a.", 130), 80, "! longer", ""},
		{"[::1", 80, "! neither", ""},
	} {
		address, name, err := Address(c.host, c.port)
		if part, bad := strings.CutPrefix(c.address, "! "); bad {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %q, %v, want an error with %q", c.host, address, err, part)
			}
		} else if err != nil || address != c.address || name != c.name {
			t.Errorf("%q: %q, %q, %v, want %q, %q", c.host, address, name, err, c.address, c.name)
		}
	}
	for text, want := range map[string]string{"10.0.0.1:80": "10.0.0.1:80", " [::1]:80": "[::1]:80", "host:80": "host:80", "[::ffff:10.0.0.1]:80": "10.0.0.1:80"} {
		if got, _, err := ParseAddress(text); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "::1:80", "10.0.0.1", "host:http", "host:", ":80", "host:-1", "host:99999"} {
		if got, _, err := ParseAddress(text); err == nil {
			t.Errorf("%q is read as %q", text, got)
		}
	}
}

func TestWeight(t *testing.T) {
	for text, want := range map[string]float64{"": 0, "null": 0, "7": 7, `"7"`: 7, " 0.5 ": 0.5, "2000": 2000, "1e300": 1e300, "1e-400": 0} {
		if got, out, err := ParseWeight(text); err != nil || got != want || out != (text == "1e-400") {
			t.Errorf("%q: %v, out %v, %v, want %v", text, got, out, err, want)
		}
	}
	for _, text := range []string{"0", `"0"`, "0.0", "-0"} {
		if _, out, err := ParseWeight(text); !out || err != nil {
			t.Errorf("%q is not out: %v", text, err)
		}
	}
	for _, text := range []string{"-1", "NaN", "Inf", "-Inf", "1e400", "many", "[1]", "1 2"} {
		if _, _, err := ParseWeight(text); err == nil {
			t.Errorf("%q is a weight", text)
		}
	}
	if _, _, err := Weight(math.NaN()); err == nil {
		t.Error("NaN is a weight")
	}
}

// FuzzParseAddress: whatever a registry says, the result is an address that reads as itself,
// with a name exactly if it is no literal address.
func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"10.0.0.1:80", "[::1%eth0]:80", "Pod-1.svc.:80", "[[::1]]:80", ":80", "[::ffff:1.2.3.4]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, name, err := ParseAddress(text)
		if err != nil {
			return
		}
		_, literal := netip.ParseAddrPort(address)
		again, same, err := ParseAddress(address)
		if (literal == nil) != (name == "") || err != nil || again != address || same != name {
			t.Errorf("%q is %q, %q; and that is %q, %q, %v", text, address, name, again, same, err)
		}
	})
}
