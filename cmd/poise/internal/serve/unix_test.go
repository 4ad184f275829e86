package serve

import (
	"context"
	"crypto/tls"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
)

// askUnix makes a request over a unix socket.
func askUnix(path string, secure bool) (string, error) {
	tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "a.example"}}
	tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	url := "http://a.example/"
	if secure {
		url = "https://a.example/"
	}
	res, err := (&http.Client{Timeout: 5 * time.Second, Transport: tr}).Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

// A unix socket has its mode, keeps its path over reloads that change its listener, and loses it at
// the end. One that a killed process has left is replaced; another file is not.
func TestUnixSockets(t *testing.T) {
	eachEngine(t, func(t *testing.T, s fixture) {
		dir := t.TempDir()
		path := filepath.Join(dir, "s")
		left, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		left.(*net.UnixListener).SetUnlinkOnClose(false)
		left.Close()
		check := func(mode fs.FileMode, secure bool) {
			t.Helper()
			if got, err := askUnix(path, secure); got != "echo" {
				t.Errorf("TLS %v: %q, %v", secure, got, err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%v, %v, want mode %v", info, err, mode)
			}
		}
		unix := config.Listen{Address: "unix:" + path}
		if urls := s.apply(t, unix); len(urls) != 1 || urls[0] != unix.Address {
			t.Errorf("%q", urls)
		}
		check(0o660, false)
		unix.Mode = "0600"
		s.apply(t, unix)
		check(0o600, false)
		unix.TLS = &config.TLS{Certificates: []config.Certificate{pair(t, dir, "a", 1)}}
		s.apply(t, unix)
		check(0o600, true)
		s.apply(t, unix, config.Listen{Address: freeAddress(t)})
		check(0o600, true)

		file := filepath.Join(dir, "file")
		os.WriteFile(file, nil, 0o600)
		if _, err := s.Prepare(config.Config{Listen: []config.Listen{{Address: "unix:" + file}}}); err == nil {
			t.Error("a file was replaced by a socket")
		}
		s.apply(t)
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			if _, err := os.Stat(path); os.IsNotExist(err) {
				return
			}
			if time.Now().After(end) {
				t.Fatal("the path is still there")
			}
		}
	})
}
