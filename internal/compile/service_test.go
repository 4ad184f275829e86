package compile

import (
	"reflect"
	"slices"
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/tags"
)

// TestEveryPolicyIsCompiled: each word that the configuration takes makes a policy.
func TestEveryPolicyIsCompiled(t *testing.T) {
	for _, f := range make(tags.Model).Of(reflect.TypeFor[config.Policy]()) {
		if f.Name != "type" {
			continue
		}
		made := make(map[reflect.Type]string)
		for _, word := range f.Enum {
			p, _, err := compilePolicy("services.x", config.Policy{Type: word, Algorithm: "ring"}, true)
			if err != nil {
				t.Errorf("%v: add it to compilePolicy", err)
				continue
			}
			if other := made[reflect.TypeOf(p)]; other != "" {
				t.Errorf("%s and %s make the same policy, %T", word, other, p)
			}
			made[reflect.TypeOf(p)] = word
		}
		if len(made) < 7 {
			t.Errorf("only %d policies", len(made))
		}
	}
}

// TestEveryShadowIsCompiled: the words of shadow are off and those of policies without a key.
func TestEveryShadowIsCompiled(t *testing.T) {
	words := func(of reflect.Type, key string) (words []string) {
		for _, f := range make(tags.Model).Of(of) {
			if f.Name == key {
				words = append(words, f.Enum...)
			}
		}
		return slices.DeleteFunc(words, func(w string) bool { return w == "off" || w == "consistent_hash" })
	}
	policies := words(reflect.TypeFor[config.Policy](), "type")
	for _, of := range []reflect.Type{reflect.TypeFor[config.Service](), reflect.TypeFor[config.Discover]()} {
		shadows := words(of, "shadow")
		if !slices.Equal(shadows, policies) {
			t.Errorf("%v: shadows %v, policies %v", of, shadows, policies)
		}
		for _, word := range shadows {
			if p, err := compileShadow("services.x", word, false); p == nil || err != nil {
				t.Errorf("%s: %v, %v", word, p, err)
			}
		}
	}
	if p, err := compileShadow("services.x", "off", false); p != nil || err != nil {
		t.Errorf("off: %v, %v", p, err)
	}
}
