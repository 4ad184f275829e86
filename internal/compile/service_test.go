package compile

import (
	"reflect"
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
			p, _, err := compilePolicy("services.x", config.Policy{Type: word, Algorithm: "ring"})
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
