package config

// Rules for sources that no tag can state: which of two fields goes with which, what a
// server's address looks like, that a password needs a user. Passwords are never repeated in a
// message.

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
)

// source checks one source; inner ones are parts of a merge. What may hold a password is
// never repeated in a message.
func (v *validator) source(path string, s *Source, inner bool) {
	var names, given []string
	val := reflect.ValueOf(*s)
	for _, f := range v.model.Of(val.Type()) {
		if f.Name != "" {
			names = append(names, f.Name)
			if !val.FieldByIndex(f.Index).IsNil() {
				given = append(given, f.Name)
			}
		}
	}
	if s.Custom != nil {
		given = append(given, "custom")
	}
	switch {
	case len(given) == 0:
		v.add(path, "", "", "a source needs one of "+strings.Join(names, ", "))
	case len(given) > 1:
		v.add(path, "", "", fmt.Sprintf("a source is one of %s, and this one is %s", strings.Join(names, ", "), strings.Join(given, " and ")))
	}
	if s.DNS != nil {
		v.dns(Key(path, "dns"), s.DNS)
	}
	v.registries(path, s)
	if s.Merge != nil {
		v.merge(Key(path, "merge"), s.Merge, inner)
	}
}

func (v *validator) dns(path string, d *DNSSource) {
	switch {
	case d.URL == "" && d.SRV == "":
		v.add(path, "", "", "it needs url, a host name whose addresses are the endpoints, or srv, the name of an SRV record")
	case d.URL != "" && d.SRV != "":
		v.add(Key(path, "srv"), d.SRV, "", "there is a url as well: one name is asked for, so leave one of them out")
	case d.SRV != "":
		if near, err := checkRecord(d.SRV); err != nil {
			v.add(Key(path, "srv"), d.SRV, near, err.Error())
		}
	default:
		if _, _, _, err := (DNSSource{URL: d.URL}).Target(); err != nil {
			v.add(Key(path, "url"), d.URL, "", err.Error())
		}
	}
	switch {
	case d.Scheme != "" && d.SRV == "":
		v.add(Key(path, "scheme"), d.Scheme, "", "only srv has one: a url begins with it")
	case d.Scheme != "" && d.Scheme != "http" && d.Scheme != "https" && d.Scheme != "h2c":
		v.add(Key(path, "scheme"), d.Scheme, "", fmt.Sprintf("%q is not one of http, https, h2c", d.Scheme))
	}
	if d.Server != "" {
		if _, err := parseServer(d.Server); err != nil {
			v.add(Key(path, "server"), d.Server, "", err.Error())
		}
	}
}

func (v *validator) merge(path string, parts []SourcePart, inner bool) {
	if inner {
		v.add(path, "", "", "a part of a merge is no merge: list its parts beside the others")
		return
	}
	live := 0
	for i := range parts {
		v.source(Index(path, i), &parts[i].Source, true)
		if !parts[i].Shadow {
			live++
		}
	}
	switch {
	case len(parts) < 2:
		v.add(path, "", "", "a merge has at least two parts")
	case live == 0:
		v.add(path, "", "", "every part is a shadow: at least one must be used")
	}
}

// registries checks those of s that are registries.
func (v *validator) registries(path string, s *Source) {
	if e := s.Etcd; e != nil {
		at := Key(path, "etcd")
		v.servers(at, e.Servers, e.TLS, serverForm{example: "http://127.0.0.1:2379", url: true, bare: true})
		v.login(at, e.Username, e.Password)
	}
	if c := s.Consul; c != nil {
		v.consul(Key(path, "consul"), c)
	}
	if n := s.Nacos; n != nil {
		at := Key(path, "nacos")
		v.servers(at, n.Servers, nil, serverForm{example: "127.0.0.1:8848", url: true, bare: true, path: true})
		v.pair(Key(at, "tls"), n.TLS)
		v.login(at, n.Username, n.Password)
		if (n.AccessKey == "") != (n.SecretKey == "") {
			v.add(Key(at, "access_key"), n.AccessKey, "", "access_key and secret_key belong together")
		}
	}
	if e := s.Eureka; e != nil {
		at := Key(path, "eureka")
		v.servers(at, e.Servers, e.TLS, serverForm{example: "http://127.0.0.1:8761/eureka", url: true, path: true, user: true})
		v.login(at, e.Username, e.Password)
	}
	if z := s.Zookeeper; z != nil {
		at := Key(path, "zookeeper")
		v.servers(at, z.Servers, nil, serverForm{example: "127.0.0.1:2181", bare: true})
		v.login(at, z.Username, z.Password)
		if err := checkNode(z.Path); err != nil && z.Path != "" {
			v.add(Key(at, "path"), z.Path, "", err.Error())
		}
	}
	if k := s.Kubernetes; k != nil {
		v.kubernetes(Key(path, "kubernetes"), k)
	}
}

func (v *validator) consul(path string, c *ConsulSource) {
	form := serverForm{example: "http://127.0.0.1:8500", url: true, bare: true}
	if c.Server != "" {
		if err := form.check(c.Server, c.TLS); err != nil {
			v.add(Key(path, "server"), "", "", err.Error())
		}
		if c.Servers != nil {
			v.add(Key(path, "servers"), "", "", "there is a server as well: list it here, and leave that out")
		}
	}
	v.servers(path, c.Servers, c.TLS, form)
	if c.Tag != "" && c.Tags != nil {
		v.add(Key(path, "tags"), "", "", "there is a tag as well: list it here, and leave that out")
	}
}

func (v *validator) kubernetes(path string, k *KubernetesSource) {
	if k.Kubeconfig != "" && (k.Server != "" || k.Token != "" || k.TokenFile != "" || k.TLS != nil) {
		v.add(Key(path, "kubeconfig"), "", "", "it says which server, token and tls: leave those out")
	}
	if k.Context != "" && k.Kubeconfig == "" {
		v.add(Key(path, "context"), k.Context, "", "only a kubeconfig has one")
	}
	if k.Token != "" && k.TokenFile != "" {
		v.add(Key(path, "token"), "", "", "there is a token_file as well: one is enough")
	}
	if k.Scheme != "" && k.Scheme != "http" && k.Scheme != "https" && k.Scheme != "h2c" {
		v.add(Key(path, "scheme"), k.Scheme, "", fmt.Sprintf("%q is not one of http, https, h2c", k.Scheme))
	}
	if k.Server != "" {
		if err := (serverForm{example: "https://10.0.0.1:6443", url: true, path: true}).check(k.Server, k.TLS); err != nil {
			v.add(Key(path, "server"), "", "", err.Error())
		}
	}
	for _, one := range []struct{ key, name string }{{"namespace", k.Namespace}, {"service", k.Service}} {
		if n := one.name; n != "" && (!plain(n) || strings.Contains(n, "_") || strings.ToLower(n) != n) {
			v.add(Key(path, one.key), n, "", fmt.Sprintf("%q is not a name in Kubernetes: lower-case letters, digits and -", n))
		}
	}
	v.pair(Key(path, "tls"), k.TLS)
}

func (v *validator) servers(path string, servers []string, t *SourceTLS, form serverForm) {
	for i, text := range servers {
		if err := form.check(text, t); err != nil {
			v.add(Index(Key(path, "servers"), i), "", "", err.Error())
		}
	}
	v.pair(Key(path, "tls"), t)
}

// pair checks that a certificate has its key.
func (v *validator) pair(path string, t *SourceTLS) {
	if t != nil && (t.Cert == "") != (t.Key == "") {
		v.add(path, "", "", "cert and key belong together")
	}
}

func (v *validator) login(path, username, password string) {
	if username == "" && password != "" {
		v.add(Key(path, "password"), "", "", "there is no username")
	}
}

// A serverForm is how the servers of a registry may be written.
type serverForm struct {
	example string
	url     bool // http://host:port or https://host:port
	bare    bool // host:port
	path    bool // a path after it
	user    bool // user and password before it
}

// check does not repeat the text, which may have a password in it.
func (f serverForm) check(text string, t *SourceTLS) error {
	wrong := errors.New("a server is written as in " + f.example)
	if !strings.Contains(text, "://") {
		if !f.bare || text == "" {
			return wrong
		}
		text = "http://" + text
		t = nil // the scheme is as it must be
	} else if !f.url {
		return wrong
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return wrong
	case u.User != nil && !f.user:
		return errors.New("a server has no user and no password in it: give username and password apart")
	case !f.path && u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "", strings.HasSuffix(u.Host, ":"):
		return wrong
	case t != nil && u.Scheme == "http":
		return errors.New("the server is http, and tls says how https is verified")
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil {
		if err := checkName(u.Hostname()); err != nil {
			return err
		}
	}
	if u.Port() != "" {
		return checkPort(u.Port(), 1)
	}
	return nil
}

// checkNode accepts the path of a node of ZooKeeper.
func checkNode(path string) error {
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("%q does not begin with a slash", path)
	}
	for part := range strings.SplitSeq(path[1:], "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("%q has a part that no node can have, %q", path, part)
		}
	}
	return nil
}

// URLs returns Server or Servers, whichever is given.
func (c ConsulSource) URLs() []string {
	if c.Server != "" {
		return []string{c.Server}
	}
	return c.Servers
}

// AllTags returns Tag or Tags, whichever is given.
func (c ConsulSource) AllTags() []string {
	if c.Tag != "" {
		return []string{c.Tag}
	}
	return c.Tags
}
