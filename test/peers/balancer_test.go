//go:build linux

package peers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/poise-lb/poise/test/internal/queues"
	"github.com/poise-lb/poise/test/internal/rig"
)

// The proxies whose balancing is compared, each with the settings that its documentation
// recommends for endpoints that fail: retries elsewhere of what can be repeated, and its own way of
// taking an endpoint out. All have one worker, so that each sees all requests.

// A balancer is a proxy with one policy.
type balancer struct {
	name    string
	install func(*kit) (version string, err error)
	start   func(t *testing.T, k *kit, listen string, endpoints []string) *rig.Process
	remarks string
	rows    []string // nil: all of them
}

// balancers are in the order of tables: Poise first, and its default before its others.
var balancers = []balancer{
	poisePolicy("", "the default"),
	poisePolicy("peak_ewma", ""), poisePolicy("least_connections", ""), poisePolicy("p2c", ""),
	poiseWith("with hedges", "hedge: {after: p95}", "even", "slow", "stall"),
	poiseWith("prequal", "policy: prequal", "even", "slow", "shared"),
	poiseWith(limited, "overload: {endpoint_max_in_flight: auto, queue: 100}", "even", "overload"),
	nginxMethod("least_conn"), nginxMethod("random two"),
	haproxyAlgorithm("random"), haproxyAlgorithm("leastconn"),
	envoyLeast,
}

// ours are the policies of Poise beside its default: they are no rivals.
func (b *balancer) ours() bool { return strings.HasPrefix(b.name, "Poise") }

// limited is the default with limits by latency and a queue.
const limited = "Poise, with limits"

func poisePolicy(policy, name string) balancer {
	if policy == "" {
		return poiseWith(name, "")
	}
	return poiseWith(policy, "policy: "+policy)
}

// poiseWith is Poise with a line of configuration for the service, in some rows.
func poiseWith(name, setting string, rows ...string) balancer {
	remarks := "one worker; everything else as by default"
	if setting != "" {
		remarks = "one worker; `" + setting + "`"
	}
	return balancer{
		name:    "Poise, " + strings.TrimPrefix(name, "Poise, "),
		install: poise("loop").install,
		start: func(t *testing.T, k *kit, listen string, endpoints []string) *rig.Process {
			config := fmt.Sprintf("version: 1\nlisten: [%q]\nservices:\n  all:\n    %s\n    endpoints: [http://%s]\nroutes: [{service: all}]\n",
				listen, setting, strings.Join(endpoints, ", http://"))
			return rig.Start(t, rig.Command{Path: k.poise, Args: []string{"run", "--workers", "1", "-c", file(t, "poise.yaml", config)}})
		},
		remarks: remarks,
		rows:    rows,
	}
}

// in reports whether the balancer is compared in the row.
func (b *balancer) in(row string) bool { return b.rows == nil || slices.Contains(b.rows, row) }

func nginxMethod(method string) balancer {
	return balancer{
		name:    "nginx, " + method,
		install: nginxUnstable.install,
		start: func(t *testing.T, k *kit, listen string, endpoints []string) *rig.Process {
			dir := t.TempDir()
			c := k.mustUnpacked(t, "nginx")
			c.Args = append(c.Args, "-e", "stderr", "-p", dir, "-c", file(t, "nginx.conf", fmt.Sprintf(`daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr crit;
events { worker_connections 4096; }
http {
client_body_temp_path %[1]s/c; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
access_log off;
keepalive_requests 1000000000;
proxy_http_version 1.1;
proxy_set_header Connection "";
proxy_next_upstream error timeout http_502 http_503 http_504;
upstream all { %[2]s; server %[3]s; keepalive 256; keepalive_requests 1000000000; }
server { listen %[4]s backlog=4096; location / { proxy_pass http://all; } }
}
`, dir, method, strings.Join(endpoints, "; server "), listen)))
			return rig.Start(t, c)
		},
		remarks: "one process; `proxy_next_upstream error timeout http_502 http_503 http_504`; `max_fails` and `fail_timeout` as by default",
	}
}

func haproxyAlgorithm(algorithm string) balancer {
	return balancer{
		name:    "HAProxy, " + algorithm,
		install: haproxyUnstable.install,
		start: func(t *testing.T, k *kit, listen string, endpoints []string) *rig.Process {
			c := k.mustUnpacked(t, "haproxy")
			c.Args = append(c.Args, "-db", "-f", file(t, "haproxy.cfg", fmt.Sprintf(`global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response response-timeout 502 503 504
    http-reuse always
frontend front
    bind %s backlog 4096
    default_backend all
backend all
    balance %s
    option httpchk GET /health
    default-server check inter 1s fall 2 rise 2 observe layer7 error-limit 10 on-error mark-down pool-max-conn -1
%s`, listen, algorithm, each(len(endpoints), func(i int) string { return fmt.Sprintf("    server s%d %s\n", i, endpoints[i]) }))))
			return rig.Start(t, c)
		},
		remarks: "one thread; `retry-on` failures, 502, 503, 504 with `redispatch 1`; checks each second, `observe layer7` with `mark-down`",
	}
}

var envoyLeast = balancer{
	name:    "Envoy, LEAST_REQUEST",
	install: envoy.install,
	start: func(t *testing.T, k *kit, listen string, endpoints []string) *rig.Process {
		host, _, _ := strings.Cut(listen, ":")
		text := fmt.Sprintf(`static_resources:
  listeners:
  - address: {socket_address: {address: %s, port_value: %s}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: all
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route:
                  cluster: all
                  timeout: 60s
                  retry_policy:
                    retry_on: "5xx,reset,connect-failure,refused-stream"
                    num_retries: 3
                    retry_back_off: {base_interval: 0.001s, max_interval: 0.01s}
                    retry_host_predicate: [{name: envoy.retry_host_predicates.previous_hosts, typed_config: {"@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}]
                    host_selection_retry_max_attempts: 5
  clusters:
  - name: all
    type: STATIC
    connect_timeout: 1s
    lb_policy: LEAST_REQUEST
    circuit_breakers: {thresholds: [{max_connections: 10000, max_pending_requests: 10000, max_requests: 10000, max_retries: 10000}]}
    outlier_detection: {consecutive_5xx: 5, interval: 1s, base_ejection_time: 5s, max_ejection_percent: 50}
    load_assignment:
      cluster_name: all
      endpoints:
      - lb_endpoints:
%s`, host, port(listen), each(len(endpoints), func(i int) string {
			h, _, _ := strings.Cut(endpoints[i], ":")
			return fmt.Sprintf("        - {endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}\n", h, port(endpoints[i]))
		}))
		return rig.Start(t, rig.Command{Path: k.envoy(), Args: []string{"-c", file(t, "envoy.yaml", text), "--concurrency", "1", "--disable-hot-restart", "-l", "critical"}})
	},
	remarks: "`--concurrency 1`; outlier detection after five 5xx in a row; three retries on other hosts; no limits by its circuit breakers",
}

// startBalancers starts as many of them as the row has proxies, and waits until they answer.
func startBalancers(t *testing.T, k *kit, b *balancer, row *queues.Row, endpoints []string) (addresses []string) {
	t.Helper()
	for range max(row.Proxies, 1) {
		address := rig.Address(t)
		b.start(t, k, address, endpoints).Listens(address)
		addresses = append(addresses, address)
	}
	return addresses
}
