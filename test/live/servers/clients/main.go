// Command clients watches one service with a registry's official client and prints every
// view as one line: the time in nanoseconds, and the addresses. Tests compare with it how
// soon a change is seen.
//
//	clients etcd      http://127.0.0.1:2379 /services/web/
//	clients consul    127.0.0.1:8500        web
//	clients nacos     127.0.0.1:8848        web
//	clients zookeeper 127.0.0.1:2181        /services/web
package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
	"github.com/nacos-group/nacos-sdk-go/v2/clients"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: clients etcd|consul|nacos|zookeeper server service"))
	}
	run := map[string]func(ctx context.Context, server, service string) error{
		"etcd": etcd, "consul": consul, "nacos": nacos, "zookeeper": zookeeper,
	}[os.Args[1]]
	if run == nil {
		fail(fmt.Errorf("no client for %q", os.Args[1]))
	}
	if err := run(ctx, os.Args[2], os.Args[3]); err != nil && ctx.Err() == nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// show prints a view. Lines are written whole, since callbacks come from several goroutines.
func show(addresses []string) {
	now := time.Now().UnixNano()
	slices.Sort(addresses)
	fmt.Fprintf(os.Stdout, "%d %s\n", now, strings.Join(addresses, " "))
}

// etcd lists and watches keys, whose last parts are addresses.
func etcd(ctx context.Context, server, prefix string) error {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{server}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer c.Close()
	list, err := c.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, kv := range list.Kvs {
		known[string(bytes.TrimPrefix(kv.Key, []byte(prefix)))] = true
	}
	view := func() {
		var out []string
		for key := range known {
			out = append(out, key)
		}
		show(out)
	}
	view()
	for w := range c.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(), clientv3.WithRev(list.Header.Revision+1)) {
		if err := w.Err(); err != nil {
			return err
		}
		for _, e := range w.Events {
			key := string(bytes.TrimPrefix(e.Kv.Key, []byte(prefix)))
			if e.Type == clientv3.EventTypeDelete {
				delete(known, key)
			} else {
				known[key] = true
			}
		}
		view()
	}
	return nil
}

// consul runs the watch plan that the agent's own watches are made of.
func consul(ctx context.Context, server, service string) error {
	plan, err := watch.Parse(map[string]any{"type": "service", "service": service, "passingonly": true})
	if err != nil {
		return err
	}
	plan.Handler = func(_ uint64, result any) {
		entries, _ := result.([]*api.ServiceEntry)
		var out []string
		for _, e := range entries {
			out = append(out, net.JoinHostPort(e.Service.Address, strconv.Itoa(e.Service.Port)))
		}
		show(out)
	}
	defer context.AfterFunc(ctx, plan.Stop)()
	return plan.Run(server)
}

// nacos subscribes.
func nacos(ctx context.Context, server, service string) error {
	host, text, err := net.SplitHostPort(server)
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "nacos-client")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := clients.NewNamingClient(vo.NacosClientParam{
		ClientConfig: constant.NewClientConfig(constant.WithNotLoadCacheAtStart(true), constant.WithUpdateCacheWhenEmpty(true),
			constant.WithTimeoutMs(5000), constant.WithLogDir(dir), constant.WithCacheDir(dir), constant.WithLogLevel("error")),
		ServerConfigs: []constant.ServerConfig{*constant.NewServerConfig(host, port)},
	})
	if err != nil {
		return err
	}
	defer c.CloseClient()
	err = c.Subscribe(&vo.SubscribeParam{ServiceName: service, GroupName: "DEFAULT_GROUP", SubscribeCallback: func(in []model.Instance, err error) {
		var out []string
		for _, i := range in {
			out = append(out, net.JoinHostPort(i.Ip, strconv.FormatUint(i.Port, 10)))
		}
		if err == nil {
			show(out)
		}
	}})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// zookeeper watches the children of a node, whose names are addresses.
func zookeeper(ctx context.Context, server, path string) error {
	c, _, err := zk.Connect([]string{server}, 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		children, _, event, err := c.ChildrenW(path)
		if err != nil {
			return err
		}
		show(children)
		select {
		case <-event:
		case <-ctx.Done():
			return nil
		}
	}
}
