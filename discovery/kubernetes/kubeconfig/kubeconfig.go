// Package kubeconfig reads the files that kubectl uses, for package kubernetes: which
// server there is, and how it and its client prove who they are.
package kubeconfig

import (
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
}

type user struct {
	Token     string `yaml:"token"`
	TokenFile string `yaml:"tokenFile"`
	CertFile  string `yaml:"client-certificate"`
	CertData  string `yaml:"client-certificate-data"`
	KeyFile   string `yaml:"client-key"`
	KeyData   string `yaml:"client-key-data"`
	Username  string `yaml:"username"`
	Exec      any    `yaml:"exec"`
	Provider  any    `yaml:"auth-provider"`
	As        string `yaml:"as"`
}

// Load reads a file and returns the server, credentials and namespace of one of its
// contexts. The caller adds the service. An empty path is $KUBECONFIG, which must be one
// file, or else .kube/config in the home directory; an empty context is the current one.
// Paths in the file are relative to it. The client's certificate, if it is in files, is
// read again for every connection.
//
// Users that have their credentials from a program ("exec", "auth-provider"), a user name
// and password, proxies and impersonation are refused.
func Load(path, context string) (kubernetes.Config, error) {
	c, err := load(path, context)
	if err != nil {
		return kubernetes.Config{}, fmt.Errorf("kubeconfig: %w", err)
	}
	return c, nil
}

func load(path, context string) (kubernetes.Config, error) {
	var none kubernetes.Config
	path, err := find(path)
	if err != nil {
		return none, err
	}
	f, err := read(path)
	if err != nil {
		return none, err
	}
	if context == "" {
		context = f.Current
	}
	for _, c := range f.Contexts {
		if c.Name != context {
			continue
		}
		out := kubernetes.Config{Namespace: c.Context.Namespace}
		if out.Namespace == "" {
			out.Namespace = "default"
		}
		var cl *cluster
		for i := range f.Clusters {
			if f.Clusters[i].Name == c.Context.Cluster {
				cl = &f.Clusters[i].Cluster
			}
		}
		if cl == nil {
			return none, fmt.Errorf("%s: the context %q names a cluster that is not there", path, context)
		}
		var u *user
		for i := range f.Users {
			if f.Users[i].Name == c.Context.User {
				u = &f.Users[i].User
			}
		}
		if u == nil {
			if c.Context.User != "" {
				return none, fmt.Errorf("%s: the context %q names a user who is not there", path, context)
			}
			u = new(user)
		}
		if err := fill(&out, cl, u, filepath.Dir(path)); err != nil {
			return none, fmt.Errorf("%s: %w", path, err)
		}
		return out, nil
	}
	if context == "" {
		return none, fmt.Errorf("%s has no current context", path)
	}
	return none, fmt.Errorf("%s has no context %q", path, context)
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
	case u.Exec != nil || u.Provider != nil:
		return errors.New("the user's credentials come from a program: use a token or a certificate")
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
	return nil
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
