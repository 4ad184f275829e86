package kubeconfig

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/kubernetes"
	"github.com/poise-lb/poise/internal/testcert"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// config is a file with one context.
func config(cluster, user string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: c
clusters: [{name: k, cluster: {%s}}]
contexts: [{name: c, context: {cluster: k, user: u}}, {name: other, context: {cluster: k, user: u, namespace: shop}}, {name: lost, context: {cluster: x, user: u}}, {name: stranger, context: {cluster: k, user: x}}, {name: nobody, context: {cluster: k}}]
users: [{name: u, user: {%s}}]
`, cluster, user)
}

const server = "server: https://192.0.2.1:6443"

func TestLoad(t *testing.T) {
	path := write(t, config(server+", insecure-skip-tls-verify: true, tls-server-name: api", "token: secret"))
	c, err := Load(path, "")
	if err != nil || c.Server != "https://192.0.2.1:6443" || c.Token != "secret" || c.Namespace != "default" || !c.TLS.InsecureSkipVerify || c.TLS.ServerName != "api" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = Load(path, "other"); err != nil || c.Namespace != "shop" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = Load(path, "nobody"); err != nil || c.Token != "" {
		t.Errorf("%+v, %v", c, err)
	}
	t.Setenv("KUBECONFIG", path)
	if c, err = Load("", ""); err != nil || c.Token != "secret" {
		t.Errorf("%+v, %v", c, err)
	}
	path = write(t, config(server, "token: secret, tokenFile: t/token"))
	if c, err = Load(path, ""); err != nil || c.Token != "" || c.TokenFile != filepath.Join(filepath.Dir(path), "t/token") {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestFiles: what Load reads is followed, also where the file names further ones.
func TestFiles(t *testing.T) {
	for text, want := range map[string]string{
		config(server, "token: a"):                                                                       "",
		config(server+", certificate-authority: a/ca.pem", "token: a"):                                   "a/ca.pem",
		config(server+", certificate-authority: a/ca.pem, certificate-authority-data: eA==", "token: a"): "",
		"users: secret\n": "",
	} {
		path := write(t, text)
		files := []string{path}
		if want != "" {
			files = append(files, filepath.Join(filepath.Dir(path), want))
		}
		if got := Files(path, ""); !slices.Equal(got, files) {
			t.Errorf("%q, want %q", got, files)
		}
	}
	if got := Files("none", ""); !slices.Equal(got, []string{"none"}) {
		t.Errorf("%q", got)
	}
}

func TestRefused(t *testing.T) {
	for name, test := range map[string]struct{ text, context, want string }{
		"no context":      {config(server, ""), "none", `has no context "none"`},
		"no current one":  {"kind: Config\n", "", "has no current context"},
		"no cluster":      {config(server, ""), "lost", "names a cluster that is not there"},
		"no user":         {config(server, ""), "stranger", "names a user who is not there"},
		"no server":       {config("", ""), "", "the cluster has no server"},
		"a proxy":         {config(server+", proxy-url: http://secret", ""), "", "HTTPS_PROXY"},
		"a provider":      {config(server, "auth-provider: {name: secret}"), "", "auth-provider"},
		"a password":      {config(server, "username: u, password: secret"), "", "has given up"},
		"impersonation":   {config(server, "as: secret"), "", "impersonates"},
		"no base64":       {config(server+`, certificate-authority-data: "secret!"`, ""), "", "is not base64"},
		"no certificates": {config(server+", certificate-authority-data: c2VjcmV0", ""), "", "has no certificates"},
		"no file":         {config(server+", certificate-authority: none.pem", ""), "", "none.pem"},
		"half a pair":     {config(server, "client-certificate-data: c2VjcmV0"), "", "the client's certificate"},
		"no YAML":         {"users:\n- user: {token: secret\n", "", "it is not a kubeconfig"},
		"another shape":   {"users: secret\n", "", "it is not a kubeconfig"},
	} {
		_, err := Load(write(t, test.text), test.context)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none"), ""); err == nil {
		t.Error("a file that is not there was read")
	}
	t.Setenv("KUBECONFIG", "a"+string(os.PathListSeparator)+"b")
	if _, err := Load("", ""); err == nil {
		t.Error("two files were read")
	}
}

// TestClientCertificate asks a server that wants one, whose own is verified.
func TestClientCertificate(t *testing.T) {
	client := testcert.New(t, testcert.Template{Names: []string{"client"}})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS.PeerCertificates[0].Subject.CommonName == "client" && r.URL.Query().Get("watch") == "" {
			io.WriteString(w, `{"kind":"EndpointSliceList","metadata":{"resourceVersion":"72"},"items":[]}`)
		}
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: client.Pool()}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	path := write(t, config("server: "+s.URL+", certificate-authority-data: "+base64.StdEncoding.EncodeToString(ca), "client-certificate: c.pem, client-key-data: "+base64.StdEncoding.EncodeToString(client.Key)))
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "c.pem"), client.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []discovery.Update
	kubernetes.New(c, kubernetes.ServiceConfig{Service: "web"}).Run(ctx, func(u discovery.Update) { got = append(got, u); cancel() })
	if len(got) == 0 || got[0].Err != nil {
		t.Errorf("%+v", got)
	}
}
