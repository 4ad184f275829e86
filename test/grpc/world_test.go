package grpctest

// What all tests of this package stand on: servers of gRPC on 127.0.0.1, and poise run in front.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/poise-lb/poise/internal/testcert"
	"github.com/poise-lb/poise/test/internal/rig"
)

// A proxy is a poise run with a listener in the clear and one with TLS, for localhost.
type proxy struct {
	*rig.Process
	clear, secure string // addresses
	dir           string // with ca.pem, by which all certificates of the test are verified
}

// start starts poise on an engine. services is the rest of its configuration.
func start(t *testing.T, poised, engine, dir, services string) *proxy {
	t.Helper()
	p := &proxy{clear: rig.Address(t), secure: rig.Address(t), dir: dir}
	file := filepath.Join(t.TempDir(), "poise.yaml")
	rig.Write(t, file, fmt.Sprintf(`version: 1
listen:
  - %s
  - address: %s
    tls: {certificates: [{cert: %s, key: %s}]}
%s`, p.clear, p.secure, filepath.Join(dir, "ca.pem"), filepath.Join(dir, "key.pem"), services))
	p.Process = rig.Start(t, rig.Command{Path: poised, Args: []string{"run", "-c", file, "--engine", engine}})
	p.Await("poise: ready on")
	return p
}

// certificates makes a certificate that is its own authority, in a folder of its own.
func certificates(t *testing.T) (dir string, cert *testcert.Cert) {
	t.Helper()
	dir, cert = t.TempDir(), testcert.New(t, testcert.Template{})
	cert.Write(t, filepath.Join(dir, "ca.pem"), filepath.Join(dir, "key.pem"))
	return dir, cert
}

// serve starts a server of grpc-go at an address; cert nil: in the clear. register adds the
// services. The server is stopped when the test ends, if it was not before.
func serve(t *testing.T, address string, cert *testcert.Cert, register func(*grpc.Server), options ...grpc.ServerOption) *grpc.Server {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if cert != nil {
		options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(&cert.TLS)))
	}
	s := grpc.NewServer(options...)
	register(s)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { s.Stop(); <-ended })
	return s
}

// dial makes a client of grpc-go; cert nil: in the clear.
func dial(t *testing.T, address string, cert *testcert.Cert) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if cert != nil {
		creds = credentials.NewTLS(&tls.Config{RootCAs: cert.Pool(), ServerName: "localhost"})
	}
	// A client that repeats calls by itself would hide what Poise loses.
	c, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// tool builds a program of ../../tools/grpc and returns where it is.
func tool(t *testing.T, name string) string {
	t.Helper()
	c := exec.Command("go", "tool", "-n", name)
	c.Dir, c.Env = "../../tools/grpc", append(os.Environ(), "GOWORK=off")
	out, err := c.Output()
	if err != nil {
		t.Fatalf("go tool -n %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// python is the interpreter that has grpcio.
func python(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "poise-grpc", "bin", "python")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run make grpc-deps", err)
	}
	return path
}
