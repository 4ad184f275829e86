package plan

// Addresses: what the binary opens and closes, and what it cannot open while another address holds
// the port. It opens first and closes afterwards, so that no connection is refused in between:
//
//	:8443 → 127.0.0.1:8443    refused while the proxy runs: the old address still has the port
//	:8443 → :9443             opened, then the old one is closed

import (
	"fmt"
	"net"
	"reflect"
	"strings"

	"github.com/poise-lb/poise/config"
)

// listeners compares the lists of addresses.
func listeners(old, next *config.Config) (out []Listener) {
	before := make(map[string]*config.Listen)
	for i := range old.Listen {
		before[old.Listen[i].Address] = &old.Listen[i]
	}
	stays := make(map[string]bool)
	for i := range next.Listen {
		l := &next.Listen[i]
		one := Listener{Address: l.Address, TLS: l.TLS != nil, Key: config.Index("listen", i)}
		stays[l.Address] = true
		switch was := before[l.Address]; {
		case was == nil:
			one.Do, one.Restart = Add, held(l.Address, old.Listen)
		case reflect.DeepEqual(was, l):
			continue
		default:
			one.Do = Modify
		}
		out = append(out, one)
	}
	for i := range old.Listen {
		if l := &old.Listen[i]; !stays[l.Address] {
			out = append(out, Listener{Do: Remove, Address: l.Address, TLS: l.TLS != nil, Key: config.Index("listen", i)})
		}
	}
	return out
}

// held says why an address cannot be opened beside those that are open; empty: it can.
func held(address string, open []config.Listen) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" {
		return ""
	}
	for i := range open {
		other, taken, err := net.SplitHostPort(open[i].Address)
		if err != nil || taken != port {
			continue
		}
		if everyAddress(host) || everyAddress(other) || strings.EqualFold(host, other) {
			return fmt.Sprintf("%s holds the port until the proxy is restarted or upgraded", open[i].Address)
		}
	}
	return ""
}

// everyAddress reports whether a host of a listener stands for all addresses.
func everyAddress(host string) bool {
	return host == "" || host == "0.0.0.0" || host == "::"
}

// restart lists the keys that a running proxy does not take over.
func restart(old, next *config.Config) (out []string) {
	if old.Log.Format != next.Log.Format {
		out = append(out, "log.format")
	}
	return out
}
