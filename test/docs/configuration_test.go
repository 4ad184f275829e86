// The page of the configuration, in both languages, against the structs of package config. A
// table that describes a struct stands below a mark, and has a row for each of its keys:
//
//	<!-- keys: Certificate -->
//	| key | default | meaning |
//	| --- | --- | --- |
//	| `cert` | | PEM file with the certificate chain |
package docs

import (
	"go/ast"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/tags"
)

// The page in each language, and its words for the short form of a struct.
var configurationPages = []struct{ path, short string }{
	{"docs/configuration.md", "*Short form*"},
	{"docs/configuration.zh.md", "*简写*"},
}

// A keyTable describes one struct: its keys, by name.
type keyTable struct {
	at   string // place of its mark
	rows map[string]row
}

// A row of it.
type row struct{ at, value, meaning string }

var keysMark = regexp.MustCompile(`<!-- keys: (\w+) -->`)

// keyTables reads the tables of a page, by the name of the struct they describe.
func keyTables(p page) map[string]keyTable {
	out := make(map[string]keyTable)
	current := ""
	i := -1
	for line := range strings.Lines(p.text) {
		i++
		line = strings.TrimSuffix(line, "\n")
		if m := keysMark.FindStringSubmatch(line); m != nil {
			current = m[1]
			out[current] = keyTable{p.at(i), make(map[string]row)}
			continue
		}
		if !strings.HasPrefix(line, "|") && len(out[current].rows) > 0 {
			current = "" // its table has ended
		}
		if current == "" {
			continue
		}
		cells := strings.SplitN(strings.Trim(line, "|"), "|", 3)
		if len(cells) == 3 && strings.HasPrefix(strings.TrimSpace(cells[0]), "`") {
			out[current].rows[strings.Trim(cells[0], " `")] = row{p.at(i), strings.TrimSpace(cells[1]), cells[2]}
		}
	}
	return out
}

// structs are the structs that a configuration file can be made of.
func structs(model tags.Model, t reflect.Type, into map[string]reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		structs(model, t.Elem(), into)
	case reflect.Struct:
		if into[t.Name()] != nil {
			return
		}
		into[t.Name()] = t
		for _, f := range model.Of(t) {
			if f.Name != "" {
				structs(model, f.Type, into)
			}
		}
	}
}

// The page has every key, in both languages, with its default and whether it is the short form.
func TestEveryKeyIsDocumented(t *testing.T) {
	model := make(tags.Model)
	known := make(map[string]reflect.Type)
	structs(model, reflect.TypeFor[config.Config](), known)
	for _, c := range configurationPages {
		tables := keyTables(readPage(t, c.path))
		for name, table := range tables {
			if known[name] == nil {
				t.Errorf("%s: %s is no struct of a configuration file: remove the table, or correct the name", table.at, name)
			}
		}
		for name, typ := range known {
			table, ok := tables[name]
			if !ok {
				t.Errorf("%s has no table for %s: it begins with the line <!-- keys: %s -->", c.path, name, name)
				continue
			}
			compareKeys(t, name, model.Of(typ), table, c.short)
		}
	}
}

// compareKeys compares the fields of a struct with the table that describes it.
func compareKeys(t *testing.T, name string, fields []tags.Field, table keyTable, short string) {
	t.Helper()
	for _, f := range fields {
		if f.Name == "" {
			continue
		}
		r, ok := table.rows[f.Name]
		if !ok {
			t.Errorf("%s: the table of %s needs a row | `%s` | %s | what it does |", table.at, name, f.Name, f.Default)
			continue
		}
		if r.value != f.Default {
			t.Errorf("%s: the default of %s.%s is %q: write that for %q", r.at, name, f.Name, f.Default, r.value)
		}
		if says := strings.Contains(r.meaning, short); says != f.Short {
			t.Errorf("%s: that %s.%s has the %s is %v: the row says %v", r.at, name, f.Name, short, f.Short, says)
		}
		for _, word := range f.Enum {
			if len(f.Enum) <= 4 && len(f.Enum) > 1 && !strings.Contains(r.meaning, word) {
				t.Errorf("%s: %s.%s may be %s: say so in the row", r.at, name, f.Name, word)
			}
		}
		delete(table.rows, f.Name)
	}
	for key, r := range table.rows {
		t.Errorf("%s: there is no %s.%s: remove the row", r.at, name, key)
	}
}

// Every policy has its row, and is named in both READMEs. The READMEs also show the message for
// a word that is none, which lists all of them.
func TestEveryPolicyIsDocumented(t *testing.T) {
	readmes := []page{readPage(t, "README.md"), readPage(t, "README.zh.md")}
	for _, f := range make(tags.Model).Of(reflect.TypeFor[config.Policy]()) {
		if f.Name != "type" {
			continue
		}
		for _, word := range f.Enum {
			for _, c := range configurationPages {
				if !strings.Contains(readPage(t, c.path).text, "| `"+word+"` |") {
					t.Errorf("%s does not say what %s does: its table of policies needs a row | `%s` | what it does |", c.path, word, word)
				}
			}
			for _, readme := range readmes {
				if !strings.Contains(readme.text, "`"+word+"`") {
					t.Errorf("%s does not name the policy %s where it lists them", readme.path, word)
				}
			}
		}
		for _, readme := range readmes {
			list := "is not one of " + strings.Join(f.Enum, ", ")
			if !slices.ContainsFunc(readme.fence, func(s fence) bool { return strings.Contains(s.code, list) }) {
				t.Errorf("%s shows another message for a policy that is none: it ends in %q", readme.path, list)
			}
		}
	}
}

// The root package has an alias for every struct of the configuration, so that programs need
// not import package config.
func TestEveryStructHasAnAlias(t *testing.T) {
	known := make(map[string]reflect.Type)
	structs(make(tags.Model), reflect.TypeFor[config.Config](), known)
	aliases := make(map[string]bool)
	for _, f := range files(t, ".") {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok && s.Assign.IsValid() {
				aliases[s.Name.Name] = true
			}
			return true
		})
	}
	for name := range known {
		if !aliases[name] {
			t.Errorf("config.go of the root package has no alias %s = config.%s", name, name)
		}
	}
}
