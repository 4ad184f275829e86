package packages

// A small part of Helm: the chart rendered by text/template, with the few functions of Helm
// that it uses, so that the test needs neither Helm nor its modules.

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/goccy/go-yaml"
)

var chart = filepath.Join(repository, "deploy", "helm", "poise")

type object = map[string]any

func parse(t *testing.T, text string) object {
	t.Helper()
	var out object
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return out
}

// values are the chart's defaults with what is set on top, merged as Helm does.
func values(t *testing.T, set string) object {
	v := parse(t, read(t, filepath.Join(chart, "values.yaml")))
	merge(v, parse(t, set))
	return v
}

func merge(into, from object) {
	for k, v := range from {
		old, was := into[k].(object)
		if add, is := v.(object); was && is {
			merge(old, add)
		} else {
			into[k] = v
		}
	}
}

// chartFiles is .Files of Helm.
type chartFiles struct{ t *testing.T }

func (f chartFiles) Get(name string) string { return read(f.t, filepath.Join(chart, name)) }

func functions(all *template.Template) template.FuncMap {
	indent := func(n int, s string) string {
		pad := strings.Repeat(" ", n)
		return pad + strings.ReplaceAll(s, "\n", "\n"+pad)
	}
	return template.FuncMap{
		"dict": func(pairs ...any) object {
			out := make(object)
			for i := 0; i < len(pairs); i += 2 {
				out[pairs[i].(string)] = pairs[i+1]
			}
			return out
		},
		"deepCopy":       func(o object) object { out := make(object); merge(out, o); return out },
		"mergeOverwrite": func(o, over object) object { merge(o, over); return o },
		"merge": func(o, under object) object {
			for k, v := range under {
				if _, has := o[k]; !has {
					o[k] = v
				}
			}
			return o
		},
		"fail": func(why string) (string, error) { return "", errors.New(why) },
		"include": func(name string, data any) (string, error) {
			var out strings.Builder
			err := all.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"toYaml": func(v any) (string, error) {
			text, err := yaml.Marshal(v)
			return strings.TrimSuffix(string(text), "\n"), err
		},
		"nindent": func(n int, s string) string { return "\n" + indent(n, s) },
		"default": func(otherwise, v any) any {
			if v == nil || v == "" {
				return otherwise
			}
			return v
		},
		"add": func(all ...any) (sum int64, err error) {
			for _, v := range all {
				var n int64
				if _, err = fmt.Sscan(fmt.Sprint(v), &n); err != nil {
					return 0, err
				}
				sum += n
			}
			return sum, nil
		},
		"quote":      func(v any) string { return fmt.Sprintf("%q", v) },
		"contains":   func(part, s string) bool { return strings.Contains(s, part) },
		"trimSuffix": func(end, s string) string { return strings.TrimSuffix(s, end) },
		"trunc":      func(n int, s string) string { return s[:min(n, len(s))] },
	}
}

// templates are the files of the chart's folder templates.
func templates(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	if err != nil || len(names) < 8 {
		t.Fatalf("templates: %v (%v)", names, err)
	}
	return names
}

// renderTemplate returns the text of one template, with what is set over the defaults.
func renderTemplate(t *testing.T, release, set, name string) (string, error) {
	t.Helper()
	all := template.New("").Option("missingkey=error")
	all.Funcs(functions(all))
	for _, name := range templates(t) {
		if _, err := all.New(filepath.Base(name)).Parse(read(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	about := parse(t, read(t, filepath.Join(chart, "Chart.yaml")))
	var text strings.Builder
	err := all.ExecuteTemplate(&text, name, object{
		"Values": values(t, set), "Files": chartFiles{t},
		"Chart":   object{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
		"Release": object{"Name": release, "Namespace": "shop", "Service": "Helm"},
	})
	return text.String(), err
}

// render returns the objects of the chart by kind and name.
func render(t *testing.T, release, set string) map[string]object {
	t.Helper()
	out := make(map[string]object)
	for _, name := range templates(t) {
		text, err := renderTemplate(t, release, set, filepath.Base(name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for part := range strings.SplitSeq(text, "\n---\n") {
			if strings.TrimSpace(part) == "" {
				continue
			}
			o := parse(t, part)
			out[fmt.Sprint(o["kind"], "/", at(o, "metadata", "name"))] = o
		}
	}
	return out
}

// at follows keys and numbers of list entries into an object; nil if there is nothing.
func at(v any, path ...any) any {
	for _, step := range path {
		switch key := step.(type) {
		case string:
			o, _ := v.(object)
			v = o[key]
		case int:
			list, _ := v.([]any)
			if key >= len(list) {
				return nil
			}
			v = list[key]
		}
	}
	return v
}
