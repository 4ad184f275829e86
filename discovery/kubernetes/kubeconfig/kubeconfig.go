// Package kubeconfig reads the files that kubectl uses, for package kubernetes: which
// server there is, and how it and its client prove who they are.
package kubeconfig

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"github.com/poise-lb/poise/discovery/kubernetes"
)

// fileBytes is the largest file that is read.
const fileBytes = 4 << 20

type file struct {
	Current  string `yaml:"current-context"`
	Clusters []struct {
		Name    string  `yaml:"name"`
		Cluster cluster `yaml:"cluster"`
	} `yaml:"clusters"`
	Contexts []struct {
		Name    string `yaml:"name"`
		Context struct {
			Cluster   string `yaml:"cluster"`
			User      string `yaml:"user"`
			Namespace string `yaml:"namespace"`
		} `yaml:"context"`
	} `yaml:"contexts"`
	Users []struct {
		Name string `yaml:"name"`
		User user   `yaml:"user"`
	} `yaml:"users"`
}

type cluster struct {
	Server   string `yaml:"server"`
	CAFile   string `yaml:"certificate-authority"`
	CAData   string `yaml:"certificate-authority-data"`
	Insecure bool   `yaml:"insecure-skip-tls-verify"`
	Name     string `yaml:"tls-server-name"`
	Proxy    string `yaml:"proxy-url"`

	Extensions []struct {
		Name      string `yaml:"name"`
		Extension any    `yaml:"extension"`
	} `yaml:"extensions"`
}

type user struct {
	Token     string `yaml:"token"`
	TokenFile string `yaml:"tokenFile"`
	CertFile  string `yaml:"client-certificate"`
	CertData  string `yaml:"client-certificate-data"`
	KeyFile   string `yaml:"client-key"`
	KeyData   string `yaml:"client-key-data"`
	Username  string `yaml:"username"`
	Provider  any    `yaml:"auth-provider"`
	As        string `yaml:"as"`

	Exec *execConfig `yaml:"exec"`
}

// Load reads a file and returns the server, credentials and namespace of one of its
// contexts. The caller adds the service. An empty path is $KUBECONFIG, which must be one
// file, or else .kube/config in the home directory; an empty context is the current one.
// Paths in the file are relative to it. The client's certificate, if it is in files, is
// read again for every connection.
//
// A user may have its credentials from a program ("exec"): see exec.go. It is run when a
// source needs them, not by Load, and only if path names the file: a program of a file that
// was merely found is refused. So are users with an "auth-provider", with a user name and a
// password, proxies and impersonation.
func Load(path, context string) (kubernetes.Config, error) {
	c, err := load(path, context)
	if err != nil {
		return kubernetes.Config{}, fmt.Errorf("kubeconfig: %w", err)
	}
	return c, nil
}

// Files are the files whose content Load reads once, so that a change of one makes another
// Config: the kubeconfig, and that of the authorities that its cluster names. If path cannot
// be read, it is path alone.
func Files(path, context string) []string {
	out := []string{path}
	f, err := read(path)
	if err != nil {
		return out
	}
	if s, err := f.find(path, context); err == nil && s.cluster.CAFile != "" && s.cluster.CAData == "" {
		out = append(out, relative(filepath.Dir(path), s.cluster.CAFile))
	}
	return out
}

func load(path, context string) (kubernetes.Config, error) {
	var none kubernetes.Config
	named := path != ""
	path, err := find(path)
	if err != nil {
		return none, err
	}
	f, err := read(path)
	if err != nil {
		return none, err
	}
	s, err := f.find(path, context)
	if err != nil {
		return none, err
	}
	if s.user.Exec != nil && !named && !s.user.static() {
		return none, fmt.Errorf("%s: the user's credentials come from a program: to have it run, give the path of the file", path)
	}
	out := kubernetes.Config{Namespace: cmp.Or(s.namespace, "default")}
	if err := fill(&out, s.cluster, s.user, filepath.Dir(path)); err != nil {
		return none, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// A selection is what a context names.
type selection struct {
	namespace string
	cluster   *cluster
	user      *user // without anything if the context names none
}

// find returns what a context names; an empty name is the current context's.
func (f *file) find(path, context string) (selection, error) {
	if context == "" {
		context = f.Current
	}
	if context == "" {
		return selection{}, fmt.Errorf("%s has no current context", path)
	}
	for _, c := range f.Contexts {
		if c.Name != context {
			continue
		}
		out := selection{namespace: c.Context.Namespace}
		for i := range f.Clusters {
			if f.Clusters[i].Name == c.Context.Cluster {
				out.cluster = &f.Clusters[i].Cluster
			}
		}
		if out.cluster == nil {
			return out, fmt.Errorf("%s: the context %q names a cluster that is not there", path, context)
		}
		for i := range f.Users {
			if f.Users[i].Name == c.Context.User {
				out.user = &f.Users[i].User
			}
		}
		if out.user == nil && c.Context.User != "" {
			return out, fmt.Errorf("%s: the context %q names a user who is not there", path, context)
		}
		if out.user == nil {
			out.user = new(user)
		}
		return out, nil
	}
	return selection{}, fmt.Errorf("%s has no context %q", path, context)
}

func find(path string) (string, error) {
	if path != "" {
		return path, nil
	}
	if list := filepath.SplitList(os.Getenv("KUBECONFIG")); len(list) > 1 {
		return "", errors.New("KUBECONFIG names several files: say which one to read")
	} else if len(list) == 1 {
		return list[0], nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".kube", "config"), nil
}

// read parses the file. Errors do not repeat it, as the parser's own would: it has
// secrets in it.
func read(path string) (*file, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > fileBytes {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, fileBytes>>20)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f file
	if err := yaml.Unmarshal(data, &f); err != nil {
		if e := (yaml.Error)(nil); errors.As(err, &e) && e.GetToken() != nil && e.GetToken().Position != nil {
			return nil, fmt.Errorf("%s:%d: it is not a kubeconfig", path, e.GetToken().Position.Line)
		}
		return nil, fmt.Errorf("%s: it is not a kubeconfig", path)
	}
	return &f, nil
}

// fill sets the server and the credentials.
func fill(c *kubernetes.Config, cl *cluster, u *user, dir string) error {
	switch {
	case cl.Server == "":
		return errors.New("the cluster has no server")
	case cl.Proxy != "":
		return errors.New("the cluster has a proxy-url: set HTTPS_PROXY instead")
	case u.Provider != nil:
		return errors.New("the user has an auth-provider, which Kubernetes has given up: use exec, a token or a certificate")
	case u.Username != "":
		return errors.New("the user has a user name and a password, which Kubernetes has given up")
	case u.As != "":
		return errors.New("the user impersonates another")
	}
	c.Server, c.Token = cl.Server, u.Token
	if u.TokenFile != "" {
		c.TokenFile, c.Token = relative(dir, u.TokenFile), ""
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cl.Name, InsecureSkipVerify: cl.Insecure}
	ca, err := content(cl.CAData, cl.CAFile, dir, "certificate-authority")
	if err != nil {
		return err
	}
	if ca != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return errors.New("certificate-authority has no certificates")
		}
	}
	if u.CertData != "" || u.CertFile != "" {
		get := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return keyPair(u, dir) }
		if _, err := get(nil); err != nil {
			return err
		}
		config.GetClientCertificate = get
	}
	c.TLS = config
	if u.Exec != nil && !u.static() {
		p, err := newProgram(*u.Exec, cl, dir)
		if err != nil {
			return err
		}
		c.Credentials = p
	}
	return nil
}

// static reports whether the user has credentials without a program, which go before it.
func (u *user) static() bool {
	return u.Token != "" || u.TokenFile != "" || u.CertData != "" || u.CertFile != ""
}

func keyPair(u *user, dir string) (*tls.Certificate, error) {
	cert, err := content(u.CertData, u.CertFile, dir, "client-certificate")
	if err != nil {
		return nil, err
	}
	key, err := content(u.KeyData, u.KeyFile, dir, "client-key")
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("the client's certificate: %w", err)
	}
	return &pair, nil
}

// content is what data encodes, or else what the file has in it; nil without either.
func content(data, name, dir, what string) ([]byte, error) {
	if data != "" {
		out, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return nil, fmt.Errorf("%s-data is not base64", what)
		}
		return out, nil
	}
	if name == "" {
		return nil, nil
	}
	return os.ReadFile(relative(dir, name))
}

func relative(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}
