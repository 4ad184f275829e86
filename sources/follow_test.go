package sources

import (
	"context"
	"encoding/pem"
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/internal/testcert"
)

// TestAuthoritiesOfRegistriesAreFollowed: a source that cannot verify its server does so
// once the file of authorities is replaced, and a bad file changes nothing.
func TestAuthoritiesOfRegistriesAreFollowed(t *testing.T) {
	plain := newEureka(t, 1)
	server := httptest.NewUnstartedServer(plain)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are meant to fail
	server.StartTLS()
	t.Cleanup(server.Close)
	good := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	path := filepath.Join(t.TempDir(), "ca.pem")
	put := func(content []byte) { t.Helper(); testcert.Replace(t, path, content) }
	put(testcert.New(t, testcert.Template{}).Cert) // of an authority that has issued nothing
	src := open(t, config.Source{Merge: []config.SourcePart{
		{Source: config.Source{Eureka: &config.EurekaSource{
			Servers: []string{server.URL + "/eureka"}, App: "APP0", Interval: 200 * time.Millisecond, TLS: &config.SourceTLS{CA: path},
		}}},
		{Source: config.Source{Custom: discovery.Static{}}},
	}}, Eureka())
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	failed, sets := make(chan bool, 1000), make(chan string, 1000)
	running.Go(func() {
		src.Run(ctx, func(u discovery.Update) {
			switch {
			case u.Err != nil:
				failed <- true
			case len(u.Endpoints) > 0:
				sets <- discoverytest.URLs(u.Endpoints)
			}
		})
	})
	<-failed
	if len(sets) > 0 {
		t.Fatal("a server of an unknown authority was believed")
	}
	put([]byte("nothing"))
	put(good)
	select {
	case <-sets:
	case <-time.After(20 * time.Second):
		t.Fatal("the new authority is not used")
	}
}
