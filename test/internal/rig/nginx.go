package rig

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nginxFrame surrounds the http block of a test. One process does it all: there is one
// id to stop it by, and one to read the processor time of. Its limits are out of the way.
const nginxFrame = `daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http {
    access_log off;
    client_body_temp_path %[1]s/client;
    proxy_temp_path %[1]s/proxy;
    fastcgi_temp_path %[1]s/fastcgi;
    uwsgi_temp_path %[1]s/uwsgi;
    scgi_temp_path %[1]s/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    tcp_nodelay on;
%[2]s
}
`

// Nginx starts nginx with the given content of its http block and waits until it listens
// on all addresses.
func Nginx(t testing.TB, core int, http string, addresses ...string) *Process {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxFrame, dir, "    "+strings.ReplaceAll(strings.TrimSpace(http), "\n", "\n    "))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := Start(t, Command{Path: Program(t, "nginx"), Args: []string{"-e", "stderr", "-p", dir, "-c", conf}, Core: core})
	for _, a := range addresses {
		p.Listens(a)
	}
	return p
}

// Listens waits until the process accepts connections at address.
func (p *Process) Listens(address string) {
	p.t.Helper()
	for deadline := time.Now().Add(Patience); ; time.Sleep(2 * time.Millisecond) {
		if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			c.Close()
			return
		}
		if p.Ended() || time.Now().After(deadline) {
			p.t.Fatalf("nobody listens on %s", address)
		}
	}
}
