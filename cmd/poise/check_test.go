package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/poise-lb/poise/internal/testcert"
)

// poise check reads all files that TLS names, and says what an RSA key costs.
func TestCheckReadsTLS(t *testing.T) {
	cert, key := testcert.New(t, testcert.Template{Kind: testcert.RSA2048}).Files(t)
	path := filepath.Join(t.TempDir(), "poise.yaml")
	listen := func(more string) {
		write(t, path, strings.Replace(goodFile, "  - address: 127.0.0.1:0",
			"  - {address: 127.0.0.1:0, tls: {certificates: [{cert: "+cert+", key: "+key+"}]"+more+"}}", 1))
	}
	listen(", client_auth: {ca: " + cert + "}")
	code, out, errs := call("check", "-c", path)
	if code != 0 || !strings.HasPrefix(out, "ok: ") || !strings.Contains(errs, "note: listen[0].tls: "+cert+": a full handshake signs with RSA of 2048 bits") || strings.Count(errs, "\n") != 1 {
		t.Errorf("exit %d, %q %q", code, out, errs)
	}
	for more, want := range map[string]string{
		", client_auth: {ca: " + key + "}":                           key + ": holds no CERTIFICATE",
		", default_certificate: {cert: " + cert + ", key: none.pem}": "none.pem: no such file",
		", client_auth: {ca: none.pem}":                              "none.pem: no such file",
		", client_auth: {ca: none.pem, mode: requires}":              "require",
	} {
		listen(more)
		if code, out, errs := call("check", "-c", path); code != exitUsage || out != "" || !strings.HasPrefix(errs, path+":3:") || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d, %q %q", more, code, out, errs)
		}
	}
}
