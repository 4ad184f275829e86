package h2spec

import (
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poise-lb/poise"
	"github.com/poise-lb/poise/internal/testcert"
	"github.com/poise-lb/poise/test/internal/rig"
)

// casesLeast is how many cases h2spec has to have judged: a run that judges few proves nothing.
const casesLeast = 145

// sharedListener is the one case that a listener without TLS fails on purpose. HTTP/1.1 is spoken
// there too, so what is no preface of HTTP/2 is answered as a request of HTTP/1.1 that is none. With
// protocol: http2 the listener passes.
const sharedListener = "Sends invalid connection preface"

func TestH2spec(t *testing.T) {
	tool, poised := h2spec(t), rig.Poise(t)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("content of some length. ", 40))
	}))
	defer endpoint.Close()
	for _, engine := range poise.Engines() {
		t.Run(engine, func(t *testing.T) {
			dir := t.TempDir()
			plain, only, secure := rig.Address(t), rig.Address(t), rig.Address(t)
			testcert.New(t, testcert.Template{Names: []string{"127.0.0.1"}}).
				Write(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
			rig.Write(t, filepath.Join(dir, "poise.yaml"), fmt.Sprintf(`version: 1
listen:
  - %s
  - {address: %s, protocol: http2}
  - address: %s
    tls: {certificates: [{cert: cert.pem, key: key.pem}]}
services:
  s: {endpoints: [%q]}
routes:
  - {service: s}
`, plain, only, secure, endpoint.URL))
			p := rig.Start(t, rig.Command{Path: poised, Args: []string{"run", "-c", filepath.Join(dir, "poise.yaml"), "--engine", engine}})
			p.Await("poise: ready on http://" + plain)
			t.Run("tls", func(t *testing.T) { judge(t, tool, secure, "", "--tls", "--insecure") })
			t.Run("clear", func(t *testing.T) { judge(t, tool, plain, sharedListener) })
			t.Run("clear, HTTP/2 only", func(t *testing.T) { judge(t, tool, only, "") })
		})
	}
}

// h2spec builds the tool and returns where it is.
func h2spec(t *testing.T) string {
	t.Helper()
	c := exec.Command("go", "tool", "-n", "h2spec")
	c.Dir, c.Env = "../../tools", append(os.Environ(), "GOWORK=off")
	out, err := c.Output()
	if err != nil {
		t.Fatalf("go tool -n h2spec: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// A report is what h2spec writes, as far as it is read here.
type report struct {
	Suites []struct {
		Package string `xml:"package,attr"`
		Cases   []struct {
			Name    string  `xml:"classname,attr"`
			Failure *string `xml:"failure"`
			Error   *string `xml:"error"`
			Skipped *string `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// judge runs h2spec on an address. All cases pass, but the one named except; "": there is none.
func judge(t *testing.T, tool, address, except string, options ...string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.xml")
	out, _ := exec.Command(tool, append(options, "-h", host, "-p", port, "-j", file)...).CombinedOutput() // it fails if a case does
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("no report: %v\n%s", err, out)
	}
	var r report
	if err := xml.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, s := range r.Suites {
		for _, c := range s.Cases {
			bad := c.Failure
			if bad == nil {
				bad = c.Error
			}
			switch {
			case c.Skipped != nil:
			case bad == nil:
				judged++
			case except != "" && c.Name == except:
				judged++
			default:
				t.Errorf("%s: %s:\n%s", s.Package, c.Name, *bad)
			}
		}
	}
	if judged < casesLeast {
		t.Errorf("%d cases were judged and good, want %d:\n%s", judged, casesLeast, out)
	}
}
