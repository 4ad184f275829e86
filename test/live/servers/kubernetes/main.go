// Command clients watches the EndpointSlices of one service by client-go's informer, and
// prints what the command of the same name in servers/clients prints.
//
//	LIVE_TOKEN=... clients kubernetes https://127.0.0.1:6443 web
package main

import (
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

	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: clients kubernetes server service"))
	}
	if err := watch(ctx, os.Args[2], os.Args[3]); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func watch(ctx context.Context, server, service string) error {
	c, err := kubernetes.NewForConfig(&rest.Config{
		Host: server, BearerToken: os.Getenv("LIVE_TOKEN"),
		TLSClientConfig: rest.TLSClientConfig{Insecure: true}, // a certificate made a moment ago, on loopback
	})
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(c, 0, informers.WithNamespace("default"),
		informers.WithTweakListOptions(func(o *v1.ListOptions) { o.LabelSelector = discovery.LabelServiceName + "=" + service }))
	informer := factory.Discovery().V1().EndpointSlices().Informer()
	view := func() {
		now := time.Now().UnixNano()
		var out []string
		for _, o := range informer.GetStore().List() {
			out = append(out, addresses(o.(*discovery.EndpointSlice))...)
		}
		slices.Sort(out)
		fmt.Fprintf(os.Stdout, "%d %s\n", now, strings.Join(out, " "))
	}
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { view() },
		UpdateFunc: func(any, any) { view() },
		DeleteFunc: func(any) { view() },
	})
	if err != nil {
		return err
	}
	informer.RunWithContext(ctx)
	return nil
}

func addresses(s *discovery.EndpointSlice) (out []string) {
	for _, e := range s.Endpoints {
		if e.Conditions.Ready != nil && !*e.Conditions.Ready {
			continue
		}
		for _, p := range s.Ports {
			for _, a := range e.Addresses {
				out = append(out, net.JoinHostPort(a, strconv.Itoa(int(*p.Port))))
			}
		}
	}
	return out
}
