package plan

import (
	"encoding/json"
	"flag"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/testgolden"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestDiffNamesEveryKey(t *testing.T) {
	a := config.Service{Policy: config.Policy{Type: "consistent_hash", BoundedLoad: 1.25}, Retry: config.Retry{On: []string{"connect"}}}
	b := config.Service{
		Policy: config.Policy{Type: "consistent_hash", BoundedLoad: 1.1}, TLS: &config.EndpointTLS{CA: "/ca.pem"},
		Health:  &config.Health{Check: "HEAD /", Headers: map[string]string{"Authorization": "Bearer s3cret", "X-A": "b"}},
		Breaker: config.Breaker{Off: true, OpenFor: 3 * time.Second},
	}
	want := []Edit{
		{"policy.bounded_load", "1.25", "1.1"},
		{"health", "", "{check: HEAD /, headers: {Authorization: (not shown), X-A: b}}"},
		{"breaker.off", "false", "true"},
		{"breaker.open_for", "", "3s"},
		{"retry.on", "[connect]", ""},
		{"tls", "", "{ca: /ca.pem}"},
	}
	if got := diff(a, b); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if got := diff(b, b); got != nil {
		t.Errorf("equal, and yet %v", got)
	}
	if got := diff(a, b, "policy", "health", "breaker", "retry"); len(got) != 1 || got[0].Key != "tls" {
		t.Errorf("but for the others: %v", got)
	}
}

// A secret that changes is an edit, whose values are not shown. Two secrets that differ make two
// hashes.
func TestSecretsAreNotShown(t *testing.T) {
	with := func(secret string) config.Config {
		return config.Config{
			Tracing: config.Tracing{OTLP: config.OTLP{Headers: map[string]string{"X-Scope": secret}}},
			Services: map[string]config.Service{"s": {
				Source: &config.Source{Etcd: &config.EtcdSource{Username: "u", Password: secret}},
				Health: &config.Health{Check: "HEAD /", Headers: map[string]string{"Authorization": secret}},
			}},
		}
	}
	a, b := with("first-secret"), with("second-secret")
	edits := diff(a, b)
	text, err := json.Marshal(edits)
	if err != nil || len(edits) == 0 || strings.Contains(string(text), "-secret") {
		t.Errorf("%v, %s", err, text)
	}
	again := with("first-secret")
	if hash(1, &a) == hash(1, &b) || hash(1, &a) == hash(2, &a) || hash(1, &a) != hash(1, &again) {
		t.Error("the hash does not tell configurations and generations apart")
	}
}

func TestListeners(t *testing.T) {
	of := func(addresses ...string) *config.Config {
		c := &config.Config{}
		for _, a := range addresses {
			l := config.Listen{Address: strings.TrimSuffix(a, "+tls")}
			if l.Address != a {
				l.TLS = &config.TLS{}
			}
			c.Listen = append(c.Listen, l)
		}
		return c
	}
	for _, x := range []struct {
		old, next *config.Config
		want      string // do and address of each, ! for a restart
	}{
		{of(":80"), of(":80"), ""},
		{of(":80"), of(":81"), "add :81 remove :80"},
		{of(":80"), of("127.0.0.1:80"), "add! 127.0.0.1:80 remove :80"},
		{of("127.0.0.1:80"), of("0.0.0.0:80"), "add! 0.0.0.0:80 remove 127.0.0.1:80"},
		{of("127.0.0.1:80"), of("127.0.0.2:80", "127.0.0.1:80"), "add 127.0.0.2:80"},
		{of(":80"), of(":80+tls"), "change :80"},
		{of("127.0.0.1:0"), of(":0"), "add :0 remove 127.0.0.1:0"},
	} {
		var got []string
		for _, l := range listeners(x.old, x.next) {
			if l.Restart != "" {
				l.Do += "!"
			}
			got = append(got, l.Do, l.Address)
		}
		if strings.Join(got, " ") != x.want {
			t.Errorf("%v → %v: %v, want %s", x.old.Listen, x.next.Listen, got, x.want)
		}
	}
}

func specs(addresses ...string) (out []endpoint.Spec) {
	for _, a := range addresses {
		out = append(out, endpoint.Spec{ID: endpoint.ID{Scheme: "http", Address: a}})
	}
	return out
}

// A fourth endpoint takes a quarter of the keys, and rings move hardly more; an endpoint that
// drains gives its third away; another algorithm moves nearly all.
func TestKeysThatMove(t *testing.T) {
	ring := &config.Policy{Type: "consistent_hash", Algorithm: "ring", Key: "client_ip"}
	maglev := &config.Policy{Type: "consistent_hash", Algorithm: "maglev", Key: "client_ip"}
	three, four := specs("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"), specs("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80")
	drained := specs("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
	drained[2].Out = true
	for _, x := range []struct {
		name         string
		was, is      *config.Policy
		before, next []endpoint.Spec
		least, most  float64 // of Moved
		wantLeast    float64
	}{
		{"one more", ring, ring, three, four, 0.20, 0.30, 0.25},
		{"one drains", ring, ring, three, drained, 0.25, 0.42, 1.0 / 3},
		{"another algorithm", ring, maglev, three, three, 0.4, 0.9, 0},
	} {
		k := keysMoved(x.was, x.is, x.before, x.next)
		if k == nil || k.Moved < x.least || k.Moved > x.most || math.Abs(k.Least-x.wantLeast) > 0.1 || k.Moved < k.Least {
			t.Errorf("%s: %+v", x.name, k)
		}
	}
	if k := keysMoved(ring, ring, three, three); k != nil {
		t.Errorf("nothing changes: %+v", k)
	}
	if k := keysMoved(ring, &config.Policy{Type: "p2c"}, three, four); k != nil {
		t.Errorf("no hashing any more: %+v", k)
	}
	other := *ring
	other.Key = "path"
	if k := keysMoved(ring, &other, three, three); k == nil || !k.Renamed {
		t.Errorf("another key: %+v", k)
	}
}

// The text of a plan that was decoded from JSON.
func TestText(t *testing.T) {
	testgolden.Texts(t, *update, func(data []byte) (string, error) {
		var p Plan
		if err := json.Unmarshal(data, &p); err != nil {
			return "", err
		}
		var b strings.Builder
		err := p.WriteText(&b)
		return b.String(), err
	})
}

func TestMistakesAreThoseOfTheNewConfiguration(t *testing.T) {
	bad := config.Config{Services: map[string]config.Service{"s": {Endpoints: []config.Endpoint{{URL: "http://127.0.0.1:1"}}}}, Routes: []config.Route{{Service: "t"}}}
	_, err := Make(State{}, bad)
	with, ok := err.(interface{ Problems() []config.Problem })
	if !ok || len(with.Problems()) != 1 || with.Problems()[0].Path != "routes[0].service" {
		t.Errorf("%v", err)
	}
}
