package docs

import (
	"strings"
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/internal/compile"
)

// TestRecipesCompile: the configurations of recipes are whole, and nothing that compiling finds is wrong
// with them.
func TestRecipesCompile(t *testing.T) {
	n := 0
	for _, f := range snippets(t, "yaml") {
		if !strings.HasPrefix(f.String(), "docs/recipes/") {
			continue
		}
		n++
		c, err := configfile.Parse(f.String(), []byte(f.code), nil)
		if err == nil {
			_, err = compile.Config(c, func(string, config.Service) (compile.Feed, error) { return compile.Feed{}, nil })
		}
		if err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
	if n < 8 {
		t.Errorf("only %d recipes found", n)
	}
}
