package kubeconfig

// What a program is told (KUBERNETES_EXEC_INFO) and what it writes (an ExecCredential).

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery/kubernetes"
)

// execInfo is what the program learns of the cluster and of us.
func execInfo(c execConfig, cl *cluster, dir string) (string, error) {
	type clusterInfo struct {
		Server   string `json:"server"`
		Name     string `json:"tls-server-name,omitempty"`
		Insecure bool   `json:"insecure-skip-tls-verify,omitempty"`
		CA       string `json:"certificate-authority-data,omitempty"` // base64 of PEM
		Config   any    `json:"config,omitempty"`
	}
	type spec struct {
		Cluster     *clusterInfo `json:"cluster,omitempty"`
		Interactive bool         `json:"interactive"`
	}
	info := struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       spec   `json:"spec"`
	}{c.APIVersion, "ExecCredential", spec{}}
	if c.ClusterInfo {
		ca, err := content(cl.CAData, cl.CAFile, dir, "certificate-authority")
		if err != nil {
			return "", err
		}
		info.Spec.Cluster = &clusterInfo{Server: cl.Server, Name: cl.Name, Insecure: cl.Insecure, CA: base64.StdEncoding.EncodeToString(ca)}
		for _, e := range cl.Extensions {
			if e.Name == execGroup+"exec" {
				info.Spec.Cluster.Config = e.Extension
			}
		}
	}
	text, err := json.Marshal(info)
	if err != nil {
		return "", errors.New("the cluster's extension for exec cannot be passed on")
	}
	return string(text), nil
}

// parse reads an ExecCredential. Errors do not repeat it.
func (p *program) parse(data []byte) (*kubernetes.Credential, time.Time, error) {
	var e struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Status     *struct {
			Expires *time.Time `json:"expirationTimestamp"`
			Token   string     `json:"token"`
			Cert    string     `json:"clientCertificateData"`
			Key     string     `json:"clientKeyData"`
		} `json:"status"`
	}
	switch err := json.Unmarshal(data, &e); {
	case err != nil || e.Kind != "ExecCredential":
		return nil, time.Time{}, errors.New("does not write an ExecCredential")
	case e.APIVersion != p.config.APIVersion:
		return nil, time.Time{}, fmt.Errorf("writes the apiVersion %.60q, and the kubeconfig says %q", e.APIVersion, p.config.APIVersion)
	case e.Status == nil || e.Status.Token == "" && e.Status.Cert == "" && e.Status.Key == "":
		return nil, time.Time{}, errors.New("writes neither a token nor a certificate")
	case strings.ContainsAny(e.Status.Token, "\r\n\x00"):
		return nil, time.Time{}, errors.New("writes a token that is none")
	}
	out := &kubernetes.Credential{Token: e.Status.Token}
	var expires time.Time
	if e.Status.Expires != nil {
		expires = *e.Status.Expires
	}
	if e.Status.Cert != "" || e.Status.Key != "" {
		pair, err := tls.X509KeyPair([]byte(e.Status.Cert), []byte(e.Status.Key))
		if err != nil {
			return nil, time.Time{}, errors.New("writes a certificate and a key that do not make a pair")
		}
		out.Certificate = &pair
		if end := pair.Leaf.NotAfter; expires.IsZero() || end.Before(expires) {
			expires = end
		}
	}
	return out, expires, nil
}

// after is text in one line with something before it, or nothing.
func after(before, text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if text == "" {
		return ""
	}
	return before + text
}

// A head keeps the first bytes that are written, and fails after them.
type head struct {
	most int
	data []byte
	full bool
}

func (h *head) Write(b []byte) (int, error) {
	if len(h.data)+len(b) > h.most {
		h.full = true
		return 0, errors.New("too much output")
	}
	h.data = append(h.data, b...)
	return len(b), nil
}

// A tail keeps the last bytes that are written.
type tail struct {
	most int
	data bytes.Buffer
}

func (t *tail) Write(b []byte) (int, error) {
	t.data.Write(b[max(0, len(b)-t.most):])
	t.data.Next(max(0, t.data.Len()-t.most))
	return len(b), nil
}

func (t *tail) String() string { return t.data.String() }
