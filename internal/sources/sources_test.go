package sources

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/discoverytest"
	"github.com/poise-lb/poise/endpoint"
)

func TestListsAndFiles(t *testing.T) {
	var s Set
	static, src, err := s.Of("services.a", config.Service{Endpoints: []config.Endpoint{{URL: "http://10.0.0.1"}, {URL: "https://[::1]:1", Weight: 3}}})
	if err != nil || src != nil || discoverytest.URLs(static) != "http://10.0.0.1:80 https://[::1]:1" || static[1].Weight != 3 {
		t.Errorf("%v %v %v", static, src, err)
	}
	static, src, err = s.Of("services.a", config.Service{Endpoints: []config.Endpoint{{URL: "http://10.0.0.1"}, {URL: "http://localhost:9", Zone: "a", Backup: true, Metadata: map[string]string{"version": "v2"}}}})
	if err != nil || static != nil || src == nil {
		t.Fatalf("%v %v %v", static, src, err)
	}
	set := discoverytest.First(t, src)
	for _, e := range set {
		if more := e.Zone == "a" && e.Priority == 1 && e.Metadata["version"] == "v2"; more != strings.HasSuffix(e.Address, ":9") {
			t.Errorf("a name whose entry says more: %+v", e)
		}
	}
	if got := discoverytest.URLs(set); !strings.Contains(got, "http://10.0.0.1:80") || !strings.Contains(got, "http://127.0.0.1:9") {
		t.Errorf("a list with a name in it: %s", got)
	}
	path := filepath.Join(t.TempDir(), "list.json")
	if err := os.WriteFile(path, []byte(`["http://10.0.0.2:80"]`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, src, err = s.Of("services.a", config.Service{Source: &config.Source{File: &config.FileSource{Path: path}}})
	if err != nil || discoverytest.URLs(discoverytest.First(t, src)) != "http://10.0.0.2:80" {
		t.Errorf("a file: %v", err)
	}
	custom := discovery.Static{{ID: endpoint.ID{Scheme: "http", Address: "10.0.0.3:80"}}}
	if _, src, err = s.Of("services.a", config.Service{Source: &config.Source{Custom: custom}}); err != nil || discoverytest.URLs(discoverytest.First(t, src)) != "http://10.0.0.3:80" {
		t.Errorf("a custom source: %v", err)
	}
}

// An SRV record is asked for at the name server of the configuration; a bad name is a problem.
func TestRecord(t *testing.T) {
	var s Set
	_, _, err := s.Of("services.a", config.Service{Source: &config.Source{DNS: &config.DNSSource{SRV: "users.example"}}})
	var problems *config.Errors
	if !errors.As(err, &problems) || problems.List[0].Path != "services.a.source.dns" {
		t.Error(err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, src, err := s.Of("services.a", config.Service{Source: &config.Source{DNS: &config.DNSSource{SRV: "_http._tcp.Users.example", Server: conn.LocalAddr().String()}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- src.Run(ctx, func(discovery.Update) {}) }()
	question := make([]byte, 512)
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	n, _, err := conn.ReadFrom(question)
	if want := "\x05_http\x04_tcp\x05users\x07example\x00\x00\x21"; err != nil || !strings.Contains(string(question[:n]), want) {
		t.Errorf("asked %q, %v", question[:n], err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What a program has not linked is a problem with a place, and says what to import.
func TestWhatIsNotLinked(t *testing.T) {
	for path, c := range map[string]config.Source{
		"services.a.source":                 {},
		"services.a.source.dns":             {DNS: &config.DNSSource{URL: "http://10.0.0.1"}},
		"services.a.source.file.path":       {File: &config.FileSource{Path: "/etc/list.YAML"}},
		"services.a.source.etcd":            {Etcd: &config.EtcdSource{}},
		"services.a.source.kubernetes":      {Kubernetes: &config.KubernetesSource{}},
		"services.a.source.merge[1].consul": {Merge: []config.SourcePart{{Source: config.Source{Custom: discovery.Static{}}}, {Source: config.Source{Consul: &config.ConsulSource{}}}}},
	} {
		var s Set
		_, src, err := s.Of("services.a", config.Service{Source: &c})
		var problems *config.Errors
		if !errors.As(err, &problems) || problems.List[0].Path != path {
			t.Errorf("%s: %v, %v", path, src, err)
			continue
		}
		_, name, _ := strings.Cut(strings.TrimSuffix(path, ".path"), "source.")
		name = name[strings.LastIndexByte(name, '.')+1:]
		if name != "" && name != "dns" && !strings.Contains(strings.ToLower(err.Error()), "import github.com/poise-lb/poise/sources and give poise.new sources."+name+"(), or sources.all(), ") {
			t.Errorf("%s: it is not said what to import: %v", path, err)
		}
	}
}

// fake is a kind of a test.
type fake struct {
	kind string
	set  discovery.Static
	err  error
}

func (f fake) Kind() string { return f.kind }

func (f fake) Open(path string, c config.Source, log *slog.Logger) (discovery.Source, error) {
	if path != "services.a.source" || c.Etcd.Prefix != "x" || log == nil {
		return nil, fmt.Errorf("%s, %v, %v", path, c, log)
	}
	return f.set, f.err
}

// Of two kinds for one key the later one is used, and an error has the place of the key.
func TestKinds(t *testing.T) {
	at := func(address string) discovery.Static {
		return discovery.Static{{ID: endpoint.ID{Scheme: "http", Address: address}}}
	}
	s := Set{Kinds: []config.SourceKind{fake{kind: "etcd", set: at("10.0.0.1:1")}, fake{kind: "etcd", set: at("10.0.0.2:1")}, fake{kind: "file"}}}
	c := config.Service{Source: &config.Source{Etcd: &config.EtcdSource{Prefix: "x"}}}
	_, src, err := s.Of("services.a", c)
	if err != nil || discoverytest.URLs(discoverytest.First(t, src)) != "http://10.0.0.2:1" {
		t.Errorf("%v", err)
	}
	s.Kinds = append(s.Kinds, fake{kind: "etcd", err: errors.New("no")})
	_, _, err = s.Of("services.a", c)
	var problems *config.Errors
	if !errors.As(err, &problems) || problems.List[0].Path != "services.a.source.etcd" {
		t.Errorf("%v", err)
	}
}
