package config

// Splits, with their services and weights; lanes, and the labels of routes; sticky cookies.

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/poise-lb/poise/internal/nearest"
)

// split checks the split of the route at path.
func (v *validator) split(path string, s *Split, services []string) {
	if s == nil {
		return
	}
	total := 0
	seen := make(map[string]int)
	for i := range s.Services {
		one := &s.Services[i]
		at := Key(Index(Key(path, "services"), i), "service")
		first, twice := seen[one.Service]
		switch {
		case one.Service == "": // required: said already
		case twice:
			v.add(at, one.Service, "", fmt.Sprintf("%s is named already, by services[%d]: give that the weight of both", one.Service, first))
		case !slices.Contains(services, one.Service):
			v.add(at, one.Service, nearest.Word(one.Service, services), fmt.Sprintf("there is no service %q", one.Service))
		}
		if !twice {
			seen[one.Service] = i
		}
		total += one.Part()
	}
	if len(s.Services) > 0 && total == 0 {
		v.add(Key(path, "services"), "", "", "all weights are 0: no service would get requests")
	}
}

// labelMax bounds the name of a label and its value.
const labelMax = 256

// lanes checks the lanes of the service at path.
func (v *validator) lanes(path string, l *Lanes) {
	if l != nil && len(l.Label) > labelMax {
		v.add(Key(path, "label"), l.Label, "", fmt.Sprintf("a label has %d bytes at most", labelMax))
	}
}

// labels checks the labels of the route at path.
func (v *validator) labels(path string, labels map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		switch value := labels[key]; {
		case key == "":
			v.add(Key(path, key), value, "", "a label needs a name")
		case value == "":
			v.add(Key(path, key), "", "", "a label needs a value: that of the endpoints that are meant")
		}
	}
}

// sticky checks the sticky cookie of the service at path.
func (v *validator) sticky(path string, s *Sticky) {
	switch {
	case s == nil || s.Cookie == "": // required: said already
	case !isToken(s.Cookie):
		v.add(Key(path, "cookie"), s.Cookie, "", fmt.Sprintf("%q is not the name of a cookie", s.Cookie))
	case len(s.Cookie) > labelMax:
		v.add(Key(path, "cookie"), s.Cookie, "", fmt.Sprintf("the name of a cookie has %d bytes at most", labelMax))
	case strings.HasPrefix(s.Cookie, "__Secure-") || strings.HasPrefix(s.Cookie, "__Host-"):
		v.add(Key(path, "cookie"), s.Cookie, "", "browsers refuse a cookie with this prefix over http")
	}
}
