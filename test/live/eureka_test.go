package live

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	registrar "github.com/poise-lb/poise/discovery/eureka"
	"github.com/poise-lb/poise/test/internal/rig"
)

// eurekaInterval is between two polls, in the file.
const eurekaInterval = time.Second

func eureka() *registry {
	return &registry{
		name: "eureka", kind: "eureka", weights: true, interval: eurekaInterval,
		lease: 3 * time.Second, expiry: 12 * time.Second, // Eureka waits for twice the lease, and looks once a second
		refused: `(?i)\b401\b|credentials|not accepted`,
		run:     eurekaRun,
		ready:   func(s *server) error { _, err := s.eureka("GET", "/apps", ""); return err },
		secure:  func(*server) error { return nil }, // it is started with a password
		put:     eurekaPut, drop: eurekaDrop, out: eurekaOut, holds: eurekaHolds, forgets: eurekaForgets,
		source: func(_ *server, at, service, password string) string {
			text := fmt.Sprintf("eureka: {servers: [%q], app: %s, interval: %v", "http://"+at+"/eureka", strings.ToUpper(service), eurekaInterval)
			if password != "" {
				text += fmt.Sprintf(", username: live, password: %q", password)
			}
			return text + "}"
		},
	}
}

// eurekaRun has the server evict at once what is to be evicted, and answer without its cache
// of 30 s, which would hide what the source does.
func eurekaRun(s *server) []rig.Command {
	args := []string{"-cp", filepath.Join(s.bin, "target/classes") + ":" + filepath.Join(s.bin, "target/lib/*"), "live.RunEureka",
		fmt.Sprintf("--server.port=%d", s.port), "--server.address=127.0.0.1", "--spring.application.name=eureka",
		"--spring.main.banner-mode=off", "--logging.level.root=error", "--eureka.instance.hostname=127.0.0.1",
		"--eureka.client.registerWithEureka=false", "--eureka.client.fetchRegistry=false",
		"--eureka.client.serviceUrl.defaultZone=" + s.url("/eureka/"),
		"--eureka.server.enableSelfPreservation=false", "--eureka.server.evictionIntervalTimerInMs=1000",
		"--eureka.server.useReadOnlyResponseCache=false", "--eureka.server.waitTimeInMsWhenSyncEmpty=0"}
	if s.password != "" {
		args = append(args, "--live.password="+s.password, "--spring.security.user.name=live", "--spring.security.user.password="+s.password)
	}
	return []rig.Command{java("256m", args...)}
}

func (s *server) eureka(method, path, body string) ([]byte, error) {
	r := request{method: method, url: s.url("/eureka%s", path), body: body, json: true, fields: map[string]string{"Accept": "application/json"}}
	if s.password != "" {
		r.fields["Authorization"] = "Basic " + b64("live:"+s.password)
	}
	return r.do()
}

// eurekaPut changes the weight of an instance, or registers it for a while.
func eurekaPut(s *server, in discovery.Instance) error {
	path := "/apps/" + strings.ToUpper(in.Service)
	if _, err := s.eureka("PUT", fmt.Sprintf("%s/%s/metadata?weight=%d", path, url.PathEscape(in.Address), max(in.Weight, 1)), ""); err == nil {
		return nil
	}
	host, port := split(in)
	text, err := json.Marshal(map[string]any{"instance": map[string]any{
		"instanceId": in.Address, "hostName": host, "ipAddr": host, "app": strings.ToUpper(in.Service), "vipAddress": in.Service, "status": "UP",
		"port":           map[string]any{"$": port, "@enabled": "true"},
		"securePort":     map[string]any{"$": 443, "@enabled": "false"},
		"dataCenterInfo": map[string]string{"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
		"leaseInfo":      map[string]int{"renewalIntervalInSecs": 30, "durationInSecs": 90},
	}})
	if err != nil {
		return err
	}
	_, err = s.eureka("POST", path, string(text))
	return err
}

func eurekaDrop(s *server, in discovery.Instance) error {
	_, err := s.eureka("DELETE", "/apps/"+strings.ToUpper(in.Service)+"/"+url.PathEscape(in.Address), "")
	return err
}

// eurekaHolds asks for the whole registry, as clients do: the answer for one instance comes
// from elsewhere, and sooner.
func eurekaHolds(s *server, in discovery.Instance) (bool, error) {
	b, err := s.eureka("GET", "/apps", "")
	return strings.Contains(string(b), `"`+in.Address+`"`), err
}

// eurekaForgets asks for the list of changes, which has those of the last three minutes, and
// which clients poll. The server keeps the answer until the next change. But a change that
// comes while the answer is being made is not in it, and does not have it made again: then
// it is missing until there is another one, or for three minutes.
func eurekaForgets(s *server, in discovery.Instance) (bool, error) {
	b, err := s.eureka("GET", "/apps/delta", "")
	return !strings.Contains(string(b), `"`+in.Address+`"`), err
}

func announceEureka(c cast) announcer {
	return func(ctx context.Context, in discovery.Instance, report func(error)) error {
		r := registrar.RegistrarConfig{Config: registrar.Config{Servers: []string{"http://" + c.Server + "/eureka"}}, Lease: c.Lease}
		return registrar.NewRegistrar(r).Run(ctx, in, report)
	}
}
