// Package registry makes what the clients of the registries need of what a configuration
// says: the settings of a server are the same for a source and for a registrar.
package registry

import (
	"errors"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery/consul"
	"github.com/poise-lb/poise/discovery/etcd"
	"github.com/poise-lb/poise/discovery/eureka"
	"github.com/poise-lb/poise/discovery/nacos"
	"github.com/poise-lb/poise/discovery/zookeeper"
)

// Etcd returns the client's configuration. Its errors, and those of the functions below,
// are those of reading certificates; they have Problems, with paths within c.
func Etcd(c config.EtcdSource) (etcd.Config, error) {
	secure, err := TLS(c.TLS)
	return etcd.Config{
		Servers: c.Servers, Prefix: c.Prefix, Username: c.Username, Password: c.Password, TLS: secure, Scheme: c.Scheme,
	}, err
}

// Consul returns the client's configuration.
func Consul(c config.ConsulSource) (consul.Config, error) {
	secure, err := TLS(c.TLS)
	return consul.Config{
		Servers: c.URLs(), Service: c.Service, Tags: c.AllTags(), Datacenter: c.Datacenter, Namespace: c.Namespace,
		Partition: c.Partition, Stale: c.Stale, Cached: c.Cached, Wait: c.Wait, Token: c.Token, TLS: secure, Scheme: c.Scheme, ZoneMeta: c.ZoneKey,
	}, err
}

// Nacos returns what sources of one namespace have in common.
func Nacos(c config.NacosSource) (nacos.Config, error) {
	secure, err := TLS(c.TLS)
	return nacos.Config{
		Servers: c.Servers, Namespace: c.Namespace, User: c.Username, Password: c.Password,
		AccessKey: c.AccessKey, SecretKey: c.SecretKey, TLS: secure, PortOffset: c.PortOffset, ZoneKey: c.ZoneKey,
	}, err
}

// Eureka returns what sources of one registry have in common.
func Eureka(c config.EurekaSource) (eureka.Config, error) {
	secure, err := TLS(c.TLS)
	return eureka.Config{
		Servers: c.Servers, User: c.Username, Password: c.Password, TLS: secure, Every: c.Interval,
		WeightKey: c.WeightKey, ZoneKey: c.ZoneKey, PreferHost: c.Prefer == "host",
	}, err
}

// Zookeeper returns the client's configuration, without a pool.
func Zookeeper(c config.ZookeeperSource) zookeeper.Config {
	return zookeeper.Config{
		Servers: c.Servers, Path: c.Path, Username: c.Username, Password: c.Password, Protocol: c.Protocol, Scheme: c.Scheme,
	}
}

// At puts path in front of the paths that the problems of err have.
func At(path string, err error) error {
	var known *config.Errors
	if !errors.As(err, &known) {
		return err
	}
	var out []config.Problem
	for _, p := range known.List {
		p.Path = path + "." + p.Path
		out = append(out, p)
	}
	return config.NewErrors(out...)
}
