package registry

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery/consul"
	"github.com/poise-lb/poise/discovery/etcd"
	"github.com/poise-lb/poise/discovery/eureka"
	"github.com/poise-lb/poise/discovery/nacos"
	"github.com/poise-lb/poise/discovery/zookeeper"
	"github.com/poise-lb/poise/internal/testcert"
)

// filled has a value of its own in every field but TLS, so that none can be mistaken for
// another, and none forgotten.
func filled[T any](t *testing.T) (out T) {
	v := reflect.ValueOf(&out).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString(name)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{name}))
		case reflect.Int, reflect.Int64:
			f.SetInt(int64(i + 1))
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Pointer:
			f.Set(reflect.ValueOf(&config.SourceTLS{ServerName: name}))
		default:
			t.Fatalf("%s is a %s", name, f.Kind())
		}
	}
	return out
}

func TestEverySettingArrives(t *testing.T) {
	e, err := Etcd(filled[config.EtcdSource](t))
	checkTLS(t, e.TLS, err)
	e.TLS = nil
	equal(t, e, etcd.Config{Servers: []string{"Servers"}, Prefix: "Prefix", Username: "Username", Password: "Password", Scheme: "Scheme"})

	several := filled[config.ConsulSource](t)
	several.Server, several.Tag = "", ""
	for i, in := range []config.ConsulSource{filled[config.ConsulSource](t), several} {
		c, err := Consul(in)
		checkTLS(t, c.TLS, err)
		c.TLS = nil
		equal(t, c, consul.Config{
			Servers: []string{[]string{"Server", "Servers"}[i]}, Tags: []string{[]string{"Tag", "Tags"}[i]}, Service: "Service",
			Datacenter: "Datacenter", Namespace: "Namespace", Partition: "Partition", Stale: true, Cached: true, Wait: in.Wait, Token: "Token", Scheme: "Scheme", ZoneMeta: "ZoneKey",
		})
	}

	nin := filled[config.NacosSource](t)
	n, err := Nacos(nin)
	checkTLS(t, n.TLS, err)
	n.TLS = nil
	equal(t, n, nacos.Config{Servers: []string{"Servers"}, Namespace: "Namespace", User: "Username", Password: "Password",
		AccessKey: "AccessKey", SecretKey: "SecretKey", PortOffset: nin.PortOffset, ZoneKey: "ZoneKey"})

	uin := filled[config.EurekaSource](t)
	u, err := Eureka(uin)
	checkTLS(t, u.TLS, err)
	u.TLS = nil
	equal(t, u, eureka.Config{Servers: []string{"Servers"}, User: "Username", Password: "Password", Every: uin.Interval,
		WeightKey: "WeightKey", ZoneKey: "ZoneKey"})

	equal(t, Zookeeper(filled[config.ZookeeperSource](t)), zookeeper.Config{Servers: []string{"Servers"}, Path: "Path",
		Username: "Username", Password: "Password", Protocol: "Protocol", Scheme: "Scheme"})
}

func checkTLS(t *testing.T, c *tls.Config, err error) {
	t.Helper()
	if err != nil || c == nil || c.ServerName != "TLS" || c.MinVersion != tls.VersionTLS12 {
		t.Errorf("%+v, %v", c, err)
	}
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// An authority issues certificates, as files.
type authority struct {
	dir string
	ca  *testcert.Cert
}

func newAuthority(t *testing.T) *authority {
	a := &authority{dir: t.TempDir()}
	a.ca = a.issue(t, "ca")
	return a
}

// issue writes name.pem and name.key; the first is self-signed.
func (a *authority) issue(t *testing.T, name string) *testcert.Cert {
	t.Helper()
	c := testcert.New(t, testcert.Template{Names: []string{name}, By: a.ca})
	c.Write(t, a.path(name+".pem"), a.path(name+".key"))
	return c
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// shake has a client with that configuration meet a server that wants a certificate, and
// returns the name in it.
func (a *authority) shake(t *testing.T, client *tls.Config) (string, error) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(a.path("server.pem"), a.path("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // a pipe has no buffer, and alerts would cross in it
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	here, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	server := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.ca.Pool()})
	served := make(chan error, 1)
	go func() {
		_, err := server.Write([]byte{1}) // shakes hands first
		served <- err
	}()
	_, err = io.ReadFull(tls.Client(here, client), make([]byte, 1))
	here.Close()
	if err := errors.Join(err, <-served); err != nil {
		return "", err
	}
	return server.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func TestTLSShowsAndVerifies(t *testing.T) {
	a := newAuthority(t)
	a.issue(t, "server")
	a.issue(t, "poise")
	c := config.SourceTLS{CA: a.path("ca.pem"), Cert: a.path("poise.pem"), Key: a.path("poise.key"), ServerName: "server"}
	secure, err := TLS(&c)
	if err != nil {
		t.Fatal(err)
	}
	if name, err := a.shake(t, secure); err != nil || name != "poise" {
		t.Errorf("%q, %v", name, err)
	}

	// A certificate that was replaced is shown at the next connection.
	a.issue(t, "later")
	for _, end := range []string{".pem", ".key"} {
		if err := os.Rename(a.path("later"+end), a.path("poise"+end)); err != nil {
			t.Fatal(err)
		}
	}
	if name, err := a.shake(t, secure); err != nil || name != "later" {
		t.Errorf("after it was replaced: %q, %v", name, err)
	}

	for what, change := range map[string]func(*config.SourceTLS){
		"another name":        func(c *config.SourceTLS) { c.ServerName = "other" },
		"another authority":   func(c *config.SourceTLS) { c.CA = newAuthority(t).path("ca.pem") },
		"the system's roots":  func(c *config.SourceTLS) { c.CA = "" },
		"without certificate": func(c *config.SourceTLS) { c.Cert, c.Key = "", "" },
	} {
		c := c
		change(&c)
		secure, err := TLS(&c)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if name, err := a.shake(t, secure); err == nil {
			t.Errorf("%s: accepted, as %q", what, name)
		}
	}
	blind := c
	blind.CA, blind.Insecure = "", true
	if secure, err := TLS(&blind); err != nil {
		t.Error(err)
	} else if _, err := a.shake(t, secure); err != nil {
		t.Errorf("insecure_skip_verify: %v", err)
	}
}

func TestTLSThatCannotBeRead(t *testing.T) {
	if c, err := TLS(nil); c != nil || err != nil {
		t.Error(c, err)
	}
	a := newAuthority(t)
	a.issue(t, "poise")
	testcert.Replace(t, a.path("empty.pem"), []byte("nothing"))
	for _, test := range []struct {
		c    config.SourceTLS
		path string
	}{
		{config.SourceTLS{CA: a.path("none.pem")}, "a.etcd.tls.ca"},
		{config.SourceTLS{CA: a.path("empty.pem")}, "a.etcd.tls.ca"},
		{config.SourceTLS{Cert: a.path("poise.pem"), Key: a.path("none.key")}, "a.etcd.tls.cert"},
		{config.SourceTLS{Cert: a.path("poise.pem"), Key: a.path("ca.key")}, "a.etcd.tls.cert"},
	} {
		_, err := Etcd(config.EtcdSource{TLS: &test.c})
		var problems *config.Errors
		if !errors.As(At("a.etcd", err), &problems) || problems.List[0].Path != test.path || !strings.Contains(problems.List[0].Value, a.dir) {
			t.Errorf("%+v: %v", test.c, err)
		}
	}
	if At("x", nil) != nil {
		t.Error("a path has made an error of none")
	}
	if other := errors.New("other"); At("x", other) != other {
		t.Error("an error without problems is another one")
	}
}
