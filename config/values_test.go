package config

import (
	"strings"
	"testing"
	"time"
)

// Values are all that is said, with defaults, and no secret among them.
func TestValues(t *testing.T) {
	c := Config{
		Listen:  []Listen{{Address: "127.0.0.1:80"}},
		Admin:   Admin{Address: "127.0.0.1:9900", Tokens: []AdminToken{{Name: "ops", Token: "very-secret-token"}}},
		Tracing: Tracing{OTLP: OTLP{Endpoint: "http://otlp", Headers: map[string]string{"X-Scope": "very-secret"}}},
		Services: map[string]Service{
			"users": {Source: &Source{Consul: &ConsulSource{Token: "very-secret-token", Service: "users"}}},
			"carts": {Source: &Source{Eureka: &EurekaSource{Servers: []string{"http://me:very-secret@eureka:8761/eureka"}}}},
			"etcd":  {Source: &Source{Etcd: &EtcdSource{Password: "very-secret"}}},
		},
		Routes: []Route{{Match: Match{Path: "/a", Methods: []string{"GET", "PUT"}}, Service: "users", Timeout: 3 * time.Second}},
	}.WithDefaults()
	values := make(map[string]string)
	for _, v := range c.Values() {
		if strings.Contains(v.Value, "very-secret") {
			t.Errorf("%s shows its secret: %s", v.Path, v.Value)
		}
		if values[v.Path] != "" {
			t.Errorf("%s is there twice", v.Path)
		}
		values[v.Path] = v.Value
	}
	for path, want := range map[string]string{
		"listen[0].address": "127.0.0.1:80", "timeouts.idle": "1m15s", "limits.head": "64KiB",
		"tracing.otlp.headers.X-Scope": Redacted,
		"admin.tokens[0].name":         "ops", "admin.tokens[0].token": Redacted, "services.users.source.consul.token": Redacted,
		"services.etcd.source.etcd.password": Redacted, "services.carts.source.eureka.servers": "[http://me:(secret)@eureka:8761/eureka]",
		"routes[0].match.methods": "[GET, PUT]", "routes[0].timeout": "3s", "services.users.policy.type": "least_time",
	} {
		if values[path] != want {
			t.Errorf("%s is %q, want %q", path, values[path], want)
		}
	}
}
