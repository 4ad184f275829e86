package live

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/test/internal/rig"
	"github.com/poise-lb/poise/test/live/recipe"
)

// kubernetes is the API server over an etcd, without the controllers that would write
// slices: the endpoints write their own. It accepts no slice with an address of this machine
// alone, so endpoints listen on one of its other addresses.
func kubernetes() *registry {
	return &registry{
		name: "kubernetes", kind: "kubernetes", spare: 2, host: outside(),
		refused: `(?i)\b401\b|unauthorized|not accepted`,
		missing: func() error {
			if outside() == "" {
				return recipe.Unavailable{Reason: "this machine has no address but 127.0.0.1, and slices may not have that"}
			}
			_, err := find("etcd34")
			return err
		},
		watches: kubernetesWatches, mostWatches: 2,
		run: kubernetesRun, put: kubernetesPut, drop: kubernetesDrop,
		ready: func(s *server) error {
			_, err := kubernetesCall(s.address(), s.token, "GET", "/readyz", nil)
			return err
		},
		secure: func(*server) error { return nil }, // it knows no token but ours
		source: func(s *server, at, service, password string) string {
			return fmt.Sprintf("kubernetes: {server: %q, namespace: default, service: %s, port: http, token: %q, tls: {insecure_skip_verify: true}}",
				"https://"+at, service, cmp.Or(password, s.token))
		},
		client: func(s *server, service string) (rig.Command, error) {
			return rig.Command{Path: filepath.Join(s.bin, "clients"), Args: []string{"kubernetes", "https://" + s.address(), service},
				Env: []string{"LIVE_TOKEN=" + s.token}}, nil
		},
	}
}

// outside is an address of this machine that is not a loopback one; empty: it has none.
func outside() string {
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return ""
}

func kubernetesRun(s *server) []rig.Command {
	bin, err := find("etcd34")
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		s.t.Fatal(err)
	}
	keyFile, tokens := filepath.Join(s.data, "sa.key"), filepath.Join(s.data, "tokens.csv")
	rig.Write(s.t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	rig.Write(s.t, tokens, s.token+`,live,1,"system:masters"`+"\n")
	const issuer = "https://kubernetes.default.svc"
	return []rig.Command{
		etcdCommand(filepath.Join(bin, "usr/bin/etcd"), s.data, s.spare[0], s.spare[1]),
		{Path: filepath.Join(s.bin, "kube-apiserver"), Args: []string{
			"--etcd-servers=http://" + local(s.spare[0]), "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", s.port),
			"--cert-dir=" + filepath.Join(s.data, "certs"), "--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none",
			"--authorization-mode=AlwaysAllow", "--token-auth-file=" + tokens, "--anonymous-auth=false",
			"--service-account-issuer=" + issuer, "--api-audiences=" + issuer,
			"--service-account-key-file=" + keyFile, "--service-account-signing-key-file=" + keyFile,
			"--disable-admission-plugins=ServiceAccount", "--profiling=false", "--storage-initialization-timeout=60s", "-v=0",
		}},
	}
}

// trusting is for a server that has made its certificate a moment ago.
var trusting = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
	TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 16}}

const slicesPath = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"

// kubernetesCall returns the status; every status that says no is an error.
func kubernetesCall(server, token, method, path string, in any) (int, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	q, err := http.NewRequest(method, "https://"+server+path, strings.NewReader(string(text)))
	if err != nil {
		return 0, err
	}
	q.Header.Set("Authorization", "Bearer "+token)
	q.Header.Set("Content-Type", "application/json")
	a, err := trusting.Do(q)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	var b [300]byte
	n, _ := a.Body.Read(b[:])
	if a.StatusCode >= 400 {
		return a.StatusCode, fmt.Errorf("%s %s: status %d: %s", method, path, a.StatusCode, b[:n])
	}
	return a.StatusCode, nil
}

// kubernetesWatches counts the watches of slices that are open, by the server's own metrics.
// Those of all namespaces at once are the server's own.
func kubernetesWatches(s *server) (int, error) {
	q, err := http.NewRequest("GET", "https://"+s.address()+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	q.Header.Set("Authorization", "Bearer "+s.token)
	a, err := trusting.Do(q)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		return 0, err
	}
	all, n := watching.FindAllSubmatch(text, -1), 0
	for _, m := range all {
		if strings.Contains(string(m[1]), `resource="endpointslices"`) && strings.Contains(string(m[1]), `scope="namespace"`) {
			open, err := strconv.ParseFloat(string(m[2]), 64)
			if err != nil {
				return 0, err
			}
			n += int(open)
		}
	}
	if len(all) == 0 {
		return 0, fmt.Errorf("status %d: no watches among the metrics", a.StatusCode)
	}
	return n, nil
}

var watching = regexp.MustCompile(`(?m)^apiserver_longrunning_requests\{(.*verb="WATCH".*)\} (\S+)$`)

// kubernetesSlice has one endpoint: a slice has the same ports for all of its addresses.
func kubernetesSlice(in discovery.Instance) (name string, slice any) {
	host, port := split(in)
	name = strings.NewReplacer(".", "-", ":", "-").Replace(in.Service + "-" + in.Address)
	return name, map[string]any{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
		"metadata":  map[string]any{"name": name, "labels": map[string]string{"kubernetes.io/service-name": in.Service}},
		"endpoints": []any{map[string]any{"addresses": []string{host}, "conditions": map[string]bool{"ready": true}}},
		"ports":     []any{map[string]any{"name": "http", "port": port, "protocol": "TCP"}},
	}
}

func kubernetesPut(s *server, in discovery.Instance) error {
	_, slice := kubernetesSlice(in)
	status, err := kubernetesCall(s.address(), s.token, "POST", slicesPath, slice)
	if status == http.StatusConflict {
		return nil // it is there
	}
	return err
}

func kubernetesDrop(s *server, in discovery.Instance) error {
	name, _ := kubernetesSlice(in)
	_, err := kubernetesCall(s.address(), s.token, "DELETE", slicesPath+"/"+name, nil)
	return err
}

// announceKubernetes does what the controllers do, which are not there: it writes the
// endpoint's slice, again when it is gone, and removes it at the end.
func announceKubernetes(c cast) announcer {
	return func(ctx context.Context, in discovery.Instance, report func(error)) error {
		name, slice := kubernetesSlice(in)
		there := false
		for ctx.Err() == nil {
			status, err := kubernetesCall(c.Server, c.Token, "GET", slicesPath+"/"+name, nil)
			if status == http.StatusNotFound {
				there = false
				_, err = kubernetesCall(c.Server, c.Token, "POST", slicesPath, slice)
			}
			switch {
			case err != nil:
				report(err)
			case !there:
				there = true
				report(nil)
			}
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Second):
			}
		}
		_, err := kubernetesCall(c.Server, c.Token, "DELETE", slicesPath+"/"+name, nil)
		return err
	}
}
