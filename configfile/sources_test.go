package configfile

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/tags"
)

// sources has each kind of source, the way people write them.
const sources = `version: 1
listen: [":8080"]
snapshot: state
services:
  a: {source: {etcd: {servers: ["http://127.0.0.1:2379"], prefix: /services/a/}}}
  b: {source: {consul: {server: "http://127.0.0.1:8500", service: b, tag: v1}}}
  c: {source: {nacos: {servers: ["127.0.0.1:8848"], namespace: public, group: DEFAULT_GROUP, service: c}}}
  d: {source: {eureka: {servers: ["http://127.0.0.1:8761/eureka"], app: D}}}
  e: {source: {zookeeper: {servers: ["127.0.0.1:2181"], path: /services/e}}}
  f: {source: {kubernetes: {namespace: default, service: f, port: http}}}
  g: {source: {merge: [{nacos: {servers: ["127.0.0.1:8848"], service: g}}, {eureka: {servers: ["http://127.0.0.1:8761/eureka"], app: G}, shadow: true}]}}
discover:
  all: {source: {nacos: {servers: ["127.0.0.1:8848"], service: "{service}"}}, max: 9, forget_after: 1m, guard: {max_removal: -1}}
routes:
  - match: {path: "/{service}/**"}
    discover: all
`

func TestSources(t *testing.T) {
	c, err := Parse("f", []byte(sources), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := func(name string) *config.Source { return c.Services[name].Source }
	merge := s("g").Merge
	for what, ok := range map[string]bool{
		"etcd":       s("a").Etcd.Prefix == "/services/a/" && s("a").Etcd.Servers[0] == "http://127.0.0.1:2379",
		"consul":     s("b").Consul.Tag == "v1" && s("b").Consul.Server == "http://127.0.0.1:8500",
		"nacos":      s("c").Nacos.Group == "DEFAULT_GROUP" && s("c").Nacos.Service == "c",
		"eureka":     s("d").Eureka.App == "D",
		"zookeeper":  s("e").Zookeeper.Path == "/services/e",
		"kubernetes": s("f").Kubernetes.Port == "http" && s("f").Kubernetes.Namespace == "default",
		"merge":      len(merge) == 2 && merge[0].Nacos.Service == "g" && !merge[0].Shadow && merge[1].Eureka.App == "G" && merge[1].Shadow,
		"discover":   c.Discover["all"].Source.Nacos.Service == "{service}" && c.Discover["all"].Max == 9 && c.Routes[0].Discover == "all",
		"guard":      c.Discover["all"].Guard.MaxRemoval == -1,
	} {
		if !ok {
			t.Errorf("%s is not what was written", what)
		}
	}
	check := newChecker(t)
	if err := check.check(check.root, generic(t, sources), "$"); err != nil {
		t.Errorf("the schema refuses it: %v", err)
	}
}

// TestEverySourceIsDecoded writes every field of every source and finds it again. What may
// not stand together is a mistake, but is decoded all the same.
func TestEverySourceIsDecoded(t *testing.T) {
	seen := 0
	for _, f := range make(tags.Model).Of(reflect.TypeFor[config.Source]()) {
		if f.Name == "" || f.Name == "merge" {
			continue
		}
		var b strings.Builder
		b.WriteString("merge:\n  - shadow: true\n    " + f.Name + ":\n")
		writeFields(&b, f.Type.Elem(), "      ", "x")
		root, err := document("f", []byte(b.String()))
		if err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
		var s config.Source
		d := newDecoder("f", root)
		if !d.decode(root, reflect.ValueOf(&s).Elem(), "") || len(d.problems) > 0 {
			t.Errorf("%v in\n%s", d.problems, b.String())
			continue
		}
		if !s.Merge[0].Shadow {
			t.Errorf("%s: shadow was not decoded", f.Name)
		}
		got := reflect.ValueOf(s.Merge[0]).FieldByIndex(append([]int{0}, f.Index...)).Elem()
		for _, inner := range make(tags.Model).Of(got.Type()) {
			if seen++; inner.Name != "" && got.FieldByIndex(inner.Index).IsZero() {
				t.Errorf("%s.%s was not decoded", f.Name, inner.Name)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d fields were looked at", seen)
	}
}

// Paths of certificates, tokens and snapshots stand on the folder of the file, also in a
// part of a merge; and what a secret's file says is in no message.
func TestPathsAndSecretsOfSources(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("secret", "hunter2\n")
	path := put("poise.yaml", `version: 1
snapshot: state
services:
  a:
    source:
      merge:
        - etcd: {servers: [a], prefix: /a/, username: u, password: "${file:secret}", tls: {ca: ca.pem, cert: /abs/cert.pem, key: key.pem}}
        - kubernetes: {service: a, server: "https://a", token_file: token}
          shadow: true
routes: [{service: a}]
`)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	parts := c.Services["a"].Source.Merge
	for got, want := range map[string]string{
		c.Snapshot: dir + "/state", parts[0].Etcd.TLS.CA: dir + "/ca.pem", parts[0].Etcd.TLS.Cert: "/abs/cert.pem",
		parts[0].Etcd.TLS.Key: dir + "/key.pem", parts[1].Kubernetes.TokenFile: dir + "/token", parts[0].Etcd.Password: "hunter2",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for _, bad := range []string{
		`etcd: {servers: ["http://u:${file:secret}@a"], prefix: /a/}`,
		`consul: {server: "http://u:${file:secret}@a", service: a}`,
		`nacos: {servers: ["http://u:${file:secret}@a"], service: a}`,
		`eureka: {servers: ["ftp://u:${file:secret}@a"], app: a}`,
		`zookeeper: {servers: ["u:${file:secret}@a"], path: /a}`,
		`kubernetes: {server: "http://u:${file:secret}@a", service: a}`,
		`etcd: {servers: [a], prefix: /a/, password: "${file:secret}"}`,
		`etcd: {servers: [a], prefix: /a/, pasword: "${file:secret}"}`,
		`kubernetes: {service: a, token: "${file:secret}", token_file: x}`,
	} {
		_, err := Load(put("bad.yaml", "version: 1\nservices: {a: {source: {"+bad+"}}}\nroutes: [{service: a}]\n"))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
