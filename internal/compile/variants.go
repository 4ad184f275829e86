package compile

// Splits of routes; lanes and cookies of services, and the labels that routes ask for. A service has a part for
// the labels of each route that leads to it, whether the route names the service or discover finds it.

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/affinity"
	"github.com/poise-lb/poise/internal/exchange"
	"github.com/poise-lb/poise/internal/service"
	"github.com/poise-lb/poise/policy"
)

// compileSplit is the split of the route at the path at, without its services; nil: it has none.
func compileSplit(at string, c *config.Split) (*exchange.Split, error) {
	if c == nil {
		return nil, nil
	}
	s := &exchange.Split{Variants: make([]exchange.Variant, len(c.Services)), Strict: c.Otherwise == "none"}
	names, weights := make([]string, len(c.Services)), make([]int, len(c.Services))
	for i := range c.Services {
		names[i], weights[i] = c.Services[i].Service, c.Services[i].Part()
	}
	s.Shares = policy.NewShares(names, weights)
	var err error
	s.Key, err = compileKey(config.Key(config.Key(at, "split"), "by"), c.By)
	return s, err
}

// otherwise are the words of the key otherwise of lanes.
var otherwise = map[string]service.Otherwise{
	"any": service.AnyEndpoint, "unlabelled": service.Unlabelled, "none": service.NoEndpoint,
}

// compileLanes fills in what the plan has about lanes, which stand at the path at. labels are those of
// routes.
func (p *ServicePlan) compileLanes(at string, c *config.Lanes, labels []map[string]string) (err error) {
	if c == nil && labels == nil {
		return nil
	}
	p.Settings.Lanes = &service.Lanes{Labels: labels}
	if c != nil {
		p.Settings.Lanes.Label, p.Settings.Lanes.Otherwise = c.Label, otherwise[c.Otherwise]
		p.Lanes, err = compileKey(at+".by", c.By)
	}
	return err
}

// labelsOf are those of the routes that lead to a service, or to an entry of discover, each once.
func labelsOf(c *config.Config, name, discover string) (all []map[string]string) {
	for i := range c.Routes {
		r := &c.Routes[i]
		leads := discover != "" && r.Discover == discover || name != "" && slices.Contains(r.Names(), name)
		same := func(s map[string]string) bool { return maps.Equal(s, r.Labels) }
		if leads && len(r.Labels) > 0 && !slices.ContainsFunc(all, same) {
			all = append(all, r.Labels)
		}
	}
	return all
}

// laneOf is what attempts of a route with labels want; 0: it has none.
func laneOf(labels map[string]string) uint64 {
	if len(labels) == 0 {
		return 0
	}
	return service.LabelsOf(labels)
}

// compileSticky fills in what the plan has about the cookie. at is the path of the service, which is part
// of what tokens are made of: services with common endpoints have tokens of their own.
func (p *ServicePlan) compileSticky(at string, c *config.Sticky) error {
	if c == nil {
		return nil
	}
	key, err := affinity.Parse("cookie(" + c.Cookie + ")")
	if err != nil { // a few characters that names may have
		return config.NewErrors(config.Problem{Path: at + ".sticky.cookie", Value: c.Cookie, Message: fmt.Sprintf("%q is not the name of a cookie", c.Cookie)})
	}
	s := &exchange.Sticky{Name: c.Cookie, Key: key, Token: tokens(c.Secret, at)}
	common := "; Path=/; HttpOnly"
	if c.TTL > 0 {
		common = fmt.Sprintf("; Max-Age=%d", int64((c.TTL+time.Second-1)/time.Second)) + common
	}
	site := "; SameSite=" + map[string]string{"lax": "Lax", "strict": "Strict", "none": "None"}[c.SameSite]
	s.Plain, s.Secure = common+site, common+"; Secure"+site
	if c.SameSite == "none" {
		s.Plain = common
	}
	p.Sticky, p.Settings.Token = s, s.Token
	return nil
}

// tokens returns the function that makes the tokens of a service's endpoints: the first bytes of an
// HMAC of service and endpoint. Proxies with the same configuration make the same ones. Never 0.
func tokens(secret, service string) func(id endpoint.ID) uint64 {
	return func(id endpoint.ID) uint64 {
		h := hmac.New(sha256.New, []byte(secret))
		for _, part := range [...]string{service, id.Scheme, id.Address, id.Instance} {
			h.Write([]byte(part))
			h.Write([]byte{0})
		}
		return cmp.Or(binary.BigEndian.Uint64(h.Sum(nil)), 1)
	}
}
