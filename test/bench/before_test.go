package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"flag"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

var (
	beforeFlag = flag.String("before", "", "path of an older poise to compare with")
	roundsFlag = flag.Int("rounds", 12, "turns of each program in that comparison")
)

// costlier is what a change may cost, of the cost before it.
const costlier = 1.02

// TestBefore compares the CPU per request with that of an older build, given by -before:
// plain and TLS, on event loops and goroutines. The programs take turns, and the least of
// each one's turns counts.
func TestBefore(t *testing.T) {
	if *beforeFlag == "" {
		t.Skip("without -before")
	}
	endpoint := rig.Address(t)
	rig.Nginx(t, loadCore, `
server {
    listen `+endpoint+` backlog=4096;
    location / { default_type text/plain; return 200 "hello from an endpoint, which says a little more than nothing\n"; }
}`, endpoint)
	cert, key := certificate(t)
	var proxies []*proxy // each old one is followed by the new one
	now := rig.Poise(t)
	for _, engine := range []string{"loop", "goroutine"} {
		for _, scheme := range []string{"http", "https"} {
			for _, path := range []string{*beforeFlag, now} {
				p := &proxy{name: engine + ", " + scheme, scheme: scheme, address: rig.Address(t)}
				p.process = startFile(t, path, engine, fileOf(p, cert, key, endpoint))
				p.process.Listens(p.address)
				proxies = append(proxies, p)
			}
		}
	}
	for range *roundsFlag {
		for _, p := range proxies {
			p.measure(t)
		}
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tbefore\tnow\tratio\t")
	for i := 0; i < len(proxies); i += 2 {
		old, now := proxies[i], proxies[i+1]
		ratio := float64(now.cost) / float64(old.cost)
		fmt.Fprintf(w, "%s\t%.2f µs\t%.2f µs\t%.3f\t\n", old.name, float64(old.cost)/1e3, float64(now.cost)/1e3, ratio)
		if ratio > costlier {
			t.Errorf("%s costs %.3f of before, want %.2f at most", old.name, ratio, costlier)
		}
	}
	w.Flush()
	t.Log("\n" + b.String())
}

func fileOf(p *proxy, cert, key, endpoint string) string {
	tls := ""
	if p.scheme == "https" {
		tls = fmt.Sprintf("    tls: {certificates: [{cert: %s, key: %s}]}\n", cert, key)
	}
	return fmt.Sprintf("version: 1\nlisten:\n  - address: %s\n%sservices:\n  all: {endpoints: [\"http://%s\"]}\nroutes:\n  - {service: all}\n", p.address, tls, endpoint)
}

func startFile(t *testing.T, program, engine, config string) *rig.Process {
	path := filepath.Join(t.TempDir(), "poise.yaml")
	rig.Write(t, path, config)
	return rig.Start(t, rig.Command{Path: program, Core: proxyCore, Env: []string{"GOMAXPROCS=1"},
		Args: []string{"run", "--engine", engine, "-c", path}})
}

func certificate(t *testing.T) (cert, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	return rig.Pair(t, der, private)
}
