package eureka

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/internal/client"
)

// RegistrarConfig says where to announce an instance, and for how long.
type RegistrarConfig struct {
	Config // Every is not used

	// Lease is how long the server keeps the instance without a sign of life, which is sent
	// three times as often; 0 means 30 s, and less than 3 s counts as 3 s. It is in whole
	// seconds. Servers wait twice as long once the lease has been renewed, and longer still
	// while they protect themselves against mass expiry: this is Eureka's known behaviour.
	Lease time.Duration
}

// removal bounds how long Run may take to remove the instance in the end.
const removal = 3 * time.Second

// A Registrar announces one instance. Make it with NewRegistrar. Its Run may be called
// again, but not concurrently.
type Registrar struct {
	config RegistrarConfig
}

// NewRegistrar returns a registrar for the servers of c.
func NewRegistrar(c RegistrarConfig) *Registrar {
	c.Config = c.withDefaults()
	c.Lease = max(cmp.Or(c.Lease, 30*time.Second), 3*time.Second).Truncate(time.Second)
	return &Registrar{config: c}
}

// Run announces in and keeps it announced until ctx is done; then it removes it, within
// three seconds, and returns an error if that failed. in.Address must be an IP address and
// a port. report is called from Run's goroutine: with nil when the instance has been
// announced, also again, and with an error when it may not be announced at present.
// Without in.ID the address is the id, so that a restarted instance replaces itself.
func (r *Registrar) Run(ctx context.Context, in discovery.Instance, report func(error)) error {
	servers, err := parseServers(r.config.Config)
	if err != nil {
		return err
	}
	a, err := newAnnouncement(in, r.config)
	if err != nil {
		return err
	}
	a.servers, a.Report = newReplicas(r.config.Config, servers), report
	defer a.servers.close()
	loop := client.Loop{Name: "eureka", First: 250 * time.Millisecond, Most: 3 * time.Second}
	loop.Run(ctx, func() client.Turn { // as often as the instance says that it will
		t := client.Turn{Wait: client.Jitter(r.config.Lease / 3), Err: a.beat(ctx)}
		if t.Err == nil {
			t.Answered = time.Now()
		}
		return t
	}, a.Fail)
	return a.remove(ctx)
}

// An announcement is one instance and what is known of it at the servers.
type announcement struct {
	client.Announcement
	servers *replicas
	app, id string
	content []byte
	sent    bool // it may be at a server
	there   bool // it is, as far as we know
}

// The shape of an instance, as the servers read it.
type (
	instanceJSON struct {
		ID         string            `json:"instanceId"`
		Host       string            `json:"hostName"`
		App        string            `json:"app"`
		IP         string            `json:"ipAddr"`
		VIP        string            `json:"vipAddress"`
		SecureVIP  string            `json:"secureVipAddress"`
		Status     string            `json:"status"`
		Port       portJSON          `json:"port"`
		SecurePort portJSON          `json:"securePort"`
		DataCenter map[string]string `json:"dataCenterInfo"`
		Lease      map[string]int    `json:"leaseInfo"`
		Dirty      string            `json:"lastDirtyTimestamp"`
		Metadata   map[string]string `json:"metadata"`
	}
	portJSON struct {
		Number  int    `json:"$"`
		Enabled string `json:"@enabled"`
	}
)

func newAnnouncement(in discovery.Instance, c RegistrarConfig) (*announcement, error) {
	addr, err := client.Announced(in)
	if err != nil {
		return nil, fmt.Errorf("eureka: %w", err)
	}
	if in.Service == "" {
		return nil, errors.New("eureka: the instance names no service")
	}
	weight := ""
	if in.Weight > 0 {
		weight = strconv.Itoa(in.Weight)
	}
	lease := int(c.Lease / time.Second)
	i := instanceJSON{
		ID: cmp.Or(in.ID, in.Address), Host: addr.Addr().String(), IP: addr.Addr().String(),
		App: strings.ToUpper(in.Service), VIP: strings.ToLower(in.Service), SecureVIP: strings.ToLower(in.Service),
		Status: statusUp,
		Port:   portJSON{int(addr.Port()), "true"}, SecurePort: portJSON{443, "false"},
		DataCenter: map[string]string{"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
		Lease:      map[string]int{"renewalIntervalInSecs": lease / 3, "durationInSecs": lease},
		Dirty:      strconv.FormatInt(time.Now().UnixMilli(), 10),
		Metadata:   client.Metadata(in, map[string]string{c.WeightKey: weight, c.ZoneKey: in.Zone}),
	}
	if in.Scheme == "https" {
		i.Port, i.SecurePort = portJSON{80, "false"}, portJSON{int(addr.Port()), "true"}
	}
	content, err := json.Marshal(map[string]any{"instance": i})
	return &announcement{app: i.App, id: i.ID, content: content}, err
}

func (a *announcement) path() string {
	return "/apps/" + url.PathEscape(a.app) + "/" + url.PathEscape(a.id)
}

// beat gives a sign of life, or announces the instance if the server does not know it. The
// servers tell each other; so any of them will do, and one that was not told in time will
// say so and be told.
func (a *announcement) beat(ctx context.Context) error {
	again := false
	err := a.servers.each(ctx, func() error {
		if a.there {
			res, _, err := a.servers.do(ctx, http.MethodPut, a.path(), nil)
			if err != nil || res.StatusCode == http.StatusOK {
				return err
			}
			if res.StatusCode != http.StatusNotFound {
				return refused(res)
			}
			a.there = false
		}
		a.sent, again = true, true
		res, _, err := a.servers.do(ctx, http.MethodPost, "/apps/"+url.PathEscape(a.app), a.content)
		if err != nil {
			return err
		}
		if res.StatusCode != http.StatusNoContent && res.StatusCode != http.StatusOK {
			return refused(res)
		}
		a.there = true
		return nil
	})
	if err == nil {
		a.Succeed(again)
	}
	return err
}

// remove takes the instance out. One that may have arrived, though no answer came, is
// removed too.
func (a *announcement) remove(ctx context.Context) error {
	if !a.sent {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removal)
	defer cancel()
	err := a.servers.each(ctx, func() error {
		res, _, err := a.servers.do(ctx, http.MethodDelete, a.path(), nil)
		if err != nil || res.StatusCode == http.StatusOK || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotFound {
			return err
		}
		return refused(res)
	})
	if err != nil {
		return fmt.Errorf("eureka: %s is not removed, its lease has to end: %w", a.id, err)
	}
	return nil
}
