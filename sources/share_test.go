package sources

import (
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery/consul"
	"github.com/poise-lb/poise/discovery/etcd"
)

// TestWhatServicesShare: services of one registry with the same settings share it, and
// sources with another server, user or token do not.
func TestWhatServicesShare(t *testing.T) {
	etcdKey := func(c config.EtcdSource) string {
		b, err := ofEtcd(new(shared[*etcd.Registry]), c, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b.key
	}
	consulKey := func(c config.ConsulSource) string {
		b, err := ofConsul(new(shared[*consul.Registry]), c, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b.key
	}
	e := etcdKey(config.EtcdSource{Servers: []string{"a"}, Prefix: "/s/a/", Username: "u"})
	if got := etcdKey(config.EtcdSource{Servers: []string{"a"}, Prefix: "/s/b/", Username: "u"}); got != e {
		t.Error("prefixes of one etcd do not share it")
	}
	for _, c := range []config.EtcdSource{{Servers: []string{"b"}, Username: "u"}, {Servers: []string{"a"}, Username: "v"}, {Servers: []string{"a"}, Username: "u", Scheme: "https"}} {
		if etcdKey(c) == e {
			t.Errorf("%+v shares what it should not", c)
		}
	}
	c := consulKey(config.ConsulSource{Server: "a", Service: "s", Tag: "x", Token: "t"})
	if got := consulKey(config.ConsulSource{Server: "a", Service: "r", Tags: []string{"y"}, Token: "t"}); got != c {
		t.Error("services of one Consul do not share it")
	}
	for _, other := range []config.ConsulSource{{Server: "b", Token: "t"}, {Server: "a", Token: "u"}, {Server: "a", Token: "t", Stale: true}} {
		if consulKey(other) == c {
			t.Errorf("%+v shares what it should not", other)
		}
	}
}
