//go:build linux

package peers

import (
	"fmt"
	"strings"
	"testing"

	"github.com/poise-lb/poise/test/internal/rig"
)

var nginx = peer{
	name: "nginx",
	install: func(k *kit) (string, error) {
		path, err := k.debian("nginx", "nginx-light")
		if err != nil {
			return "", err
		}
		return k.version(`nginx/(\S+)`, path, "-v")
	},
	start: func(t *testing.T, _ *kit, s setup) *rig.Process {
		return startNginx(t, rig.Command{Path: rig.Program(t, "nginx")}, s)
	},
	cannot:  func(s setup) bool { return s.Inner && !s.Calls },
	remarks: "one process; keep-alive to the endpoints; large bodies are not written to files, and requests are not buffered; gRPC by `grpc_pass`",
}

var nginxUnstable = peer{
	name:    "nginx, " + unstableSuite,
	install: func(k *kit) (string, error) { return k.newerVersion("nginx", `nginx/(\S+)`, "-v") },
	start: func(t *testing.T, k *kit, s setup) *rig.Process {
		return startNginx(t, k.mustUnpacked(t, "nginx"), s)
	},
	remarks: "the same configuration; the version of Debian's unstable suite",
}

// nginxInner is the version of HTTP that endpoints are spoken to with.
func nginxInner(s setup) string {
	if s.Inner && !s.Calls {
		return "2"
	}
	return "1.1"
}

// startNginx starts the program that c runs.
func startNginx(t *testing.T, c rig.Command, s setup) *rig.Process {
	dir := t.TempDir()
	var b strings.Builder
	fmt.Fprintf(&b, `daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr error;
worker_rlimit_nofile %[2]d;
events { worker_connections %[2]d; }
http {
client_body_temp_path %[1]s/c; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
keepalive_requests 1000000000;
keepalive_timeout 300s;
tcp_nodelay on;
proxy_http_version %[3]s;
proxy_set_header Host $http_host;
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $remote_addr;
proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Forwarded-Host $http_host;
`, dir, filesMax, nginxInner(s))
	if s.Upgrade {
		b.WriteString("map $http_upgrade $connection_upgrade { default upgrade; '' ''; }\n" +
			"proxy_set_header Connection $connection_upgrade;\nproxy_set_header Upgrade $http_upgrade;\n")
	} else {
		b.WriteString("proxy_set_header Connection \"\";\n")
	}
	if s.Bodies {
		b.WriteString("client_max_body_size 0;\nproxy_request_buffering off;\n" +
			"proxy_buffer_size 16k;\nproxy_buffers 8 16k;\nproxy_max_temp_file_size 0;\n")
	}
	if s.Log == "" {
		b.WriteString("access_log off;\n")
	} else {
		fmt.Fprintf(&b, "access_log %s;\n", s.Log)
	}
	b.WriteString("upstream endpoints {\n")
	for _, e := range s.Endpoints {
		fmt.Fprintf(&b, "server %s max_fails=0;\n", e)
	}
	fmt.Fprintf(&b, "keepalive %d;\nkeepalive_requests 1000000000;\n}\nserver {\n", max(1024, s.Pool*len(s.Endpoints)))
	multi, pass := "", "proxy_pass http"
	if s.Multi {
		multi = " http2" // newer versions have a directive for it, and warn
	}
	if s.Calls {
		pass = "grpc_pass grpc"
	}
	if s.Cert == "" {
		fmt.Fprintf(&b, "listen %s%s backlog=4096;\n", s.Listen, multi)
	} else {
		fmt.Fprintf(&b, "listen %s ssl%s backlog=4096;\nssl_certificate %s;\nssl_certificate_key %s;\n"+
			"ssl_protocols TLSv1.3;\nssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;\nssl_ecdh_curve X25519;\n", s.Listen, multi, s.Cert, s.Key)
	}
	if s.Routes == 0 {
		b.WriteString("location / { " + pass + "://endpoints; }\n")
	}
	b.WriteString(each(s.Routes, func(i int) string {
		return fmt.Sprintf("location /r%d/ { proxy_pass http://endpoints; }\n", i)
	}))
	b.WriteString("}\n}\n")
	c.Core = proxyCore
	c.Args = append(c.Args, "-e", "stderr", "-p", dir, "-c", file(t, "nginx.conf", b.String()))
	return rig.Start(t, c)
}
