package packages

// The chart, rendered by text/template with the few functions of Helm that it uses, so that the
// test needs neither Helm nor its modules; and the image's files.

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/template"

	"github.com/goccy/go-yaml"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
)

var (
	chart  = filepath.Join(repository, "deploy", "helm", "poise")
	docker = filepath.Join(repository, "deploy", "docker")
)

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

// render returns the objects of the chart by kind and name.
func render(t *testing.T, release, set string) map[string]object {
	t.Helper()
	all := template.New("").Option("missingkey=error")
	all.Funcs(functions(all))
	names, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	if err != nil || len(names) < 8 {
		t.Fatalf("templates: %v (%v)", names, err)
	}
	for _, name := range names {
		if _, err := all.New(filepath.Base(name)).Parse(read(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	about := parse(t, read(t, filepath.Join(chart, "Chart.yaml")))
	data := object{
		"Values": values(t, set), "Files": chartFiles{t},
		"Chart":   object{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
		"Release": object{"Name": release, "Namespace": "shop", "Service": "Helm"},
	}
	out := make(map[string]object)
	for _, name := range names {
		var text strings.Builder
		if err := all.ExecuteTemplate(&text, filepath.Base(name), data); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for part := range strings.SplitSeq(text.String(), "\n---\n") {
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

func TestChartByDefault(t *testing.T) {
	all := render(t, "edge", "{}")
	var got []string
	for name := range maps.Keys(all) {
		got = append(got, name)
	}
	if len(all) != 5 {
		t.Errorf("objects: %v", got)
	}
	pod := at(all["Deployment/edge-poise"], "spec", "template", "spec")
	container := at(pod, "containers", 0)
	for what, c := range map[string]struct{ got, want any }{
		"grace":          {at(pod, "terminationGracePeriodSeconds"), 30},
		"user":           {at(pod, "securityContext", "runAsUser"), 65532},
		"token":          {at(pod, "automountServiceAccountToken"), false},
		"image":          {at(container, "image"), "poise:0.0.0"},
		"readiness":      {at(container, "readinessProbe", "httpGet", "path"), "/readyz"},
		"read-only":      {at(container, "securityContext", "readOnlyRootFilesystem"), true},
		"replicas":       {at(all["Deployment/edge-poise"], "spec", "replicas"), 2},
		"spread":         {at(pod, "topologySpreadConstraints", 0, "labelSelector", "matchLabels", "app.kubernetes.io/instance"), "edge"},
		"config":         {at(pod, "volumes", 0, "configMap", "name"), "edge-poise"},
		"port":           {at(all["Service/edge-poise"], "spec", "ports", 0, "port"), 80},
		"status":         {at(all["Service/edge-poise-status"], "spec", "ports", 0, "port"), 9901},
		"status apart":   {at(all["Service/edge-poise"], "spec", "ports", 1), nil},
		"budget":         {at(all["PodDisruptionBudget/edge-poise"], "spec", "maxUnavailable"), 1},
		"budget selects": {at(all["PodDisruptionBudget/edge-poise"], "spec", "selector", "matchLabels", "app.kubernetes.io/name"), "poise"},
	} {
		if fmt.Sprint(c.got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", what, c.got, c.want)
		}
	}
	c := configured(t, fmt.Sprint(at(all["ConfigMap/edge-poise"], "data", "poise.yaml")))
	v := values(t, "{}")
	if drain, delay := c.Timeouts.Drain, c.Timeouts.DrainDelay; fmt.Sprint(drain) != fmt.Sprint(v["drain"], "s") || fmt.Sprint(delay) != fmt.Sprint(v["drainDelay"], "s") {
		t.Errorf("config drains %v after %v, values say %v after %v", drain, delay, v["drain"], v["drainDelay"])
	}
}

func TestChartWithEverything(t *testing.T) {
	all := render(t, "poise", `
autoscaling: {enabled: true, targetCPU: 55}
serviceMonitor: {enabled: true, labels: {team: edge}}
prometheusRule: {enabled: true}
serviceAccount: {create: true, annotations: {a: b}}
existingConfigMap: mine
drain: 60
imagePullSecrets: [{name: regcred}]
podAnnotations: {c: d}
podLabels: {e: f}
args: [--workers, "2"]
env: [{name: TOKEN, value: x}]
volumes: [{name: tls, secret: {secretName: s}}]
volumeMounts: [{name: tls, mountPath: /tls}]
nodeSelector: {disk: ssd}
tolerations: [{key: k, operator: Exists}]
affinity: {nodeAffinity: {}}
topologySpreadConstraints: [{maxSkew: 2}]
priorityClassName: high
service: {type: LoadBalancer, annotations: {g: h}, externalTrafficPolicy: Local}
`)
	deployment := all["Deployment/poise"]
	pod := at(deployment, "spec", "template", "spec")
	for what, c := range map[string]struct{ got, want any }{
		"replicas":    {at(deployment, "spec", "replicas"), nil},
		"grace":       {at(pod, "terminationGracePeriodSeconds"), 70},
		"account":     {at(pod, "serviceAccountName"), "poise"},
		"config":      {at(pod, "volumes", 0, "configMap", "name"), "mine"},
		"volume":      {at(pod, "volumes", 1, "name"), "tls"},
		"mount":       {at(pod, "containers", 0, "volumeMounts", 1, "mountPath"), "/tls"},
		"argument":    {at(pod, "containers", 0, "args", 4), "2"},
		"environment": {at(pod, "containers", 0, "env", 0, "name"), "TOKEN"},
		"secret":      {at(pod, "imagePullSecrets", 0, "name"), "regcred"},
		"label":       {at(deployment, "spec", "template", "metadata", "labels", "e"), "f"},
		"spread":      {at(pod, "topologySpreadConstraints", 0, "maxSkew"), 2},
		"priority":    {at(pod, "priorityClassName"), "high"},
		"policy":      {at(all["Service/poise"], "spec", "externalTrafficPolicy"), "Local"},
		"scaler":      {at(all["HorizontalPodAutoscaler/poise"], "spec", "metrics", 0, "resource", "target", "averageUtilization"), 55},
		"monitor":     {at(all["ServiceMonitor/poise"], "metadata", "labels", "team"), "edge"},
		"monitored":   {at(all["ServiceMonitor/poise"], "spec", "selector", "matchLabels", "poise/port"), at(all["Service/poise-status"], "metadata", "labels", "poise/port")},
		"no config":   {all["ConfigMap/poise"], object(nil)},
	} {
		if fmt.Sprint(c.got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", what, c.got, c.want)
		}
	}
	// The rules arrive as they are, the braces of Prometheus included.
	rules := parse(t, read(t, filepath.Join(repository, "deploy", "prometheus", "poise-rules.yaml")))
	if got := at(all["PrometheusRule/poise"], "spec", "groups"); fmt.Sprint(got) != fmt.Sprint(rules["groups"]) {
		t.Errorf("rules of the chart:\n%v\nof deploy/prometheus:\n%v", got, rules["groups"])
	}
}

// Helm reads only files of the chart, so it has a copy of the rules.
func TestChartHasTheRules(t *testing.T) {
	const from, to = "deploy/prometheus/poise-rules.yaml", "deploy/helm/poise/files/poise-rules.yaml"
	if read(t, filepath.Join(repository, from)) != read(t, filepath.Join(repository, to)) {
		t.Errorf("%s differs from %s: copy it", to, from)
	}
}

// configured is what a configuration file says, which must be sound.
func configured(t *testing.T, text string) config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "poise.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := configfile.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var copied = regexp.MustCompile(`(?m)^COPY ([^-].*)$`)

// What the Dockerfile copies from the repository is there, the linker's flag names a variable
// that exists, and the health check asks what the example configuration serves.
func TestImage(t *testing.T) {
	text := read(t, filepath.Join(docker, "Dockerfile"))
	for _, m := range copied.FindAllStringSubmatch(text, -1) {
		words := strings.Fields(m[1])
		for _, name := range words[:len(words)-1] {
			if _, err := os.Stat(filepath.Join(repository, name)); err != nil {
				t.Error(err)
			}
		}
	}
	if !strings.Contains(text, "poise/internal/front.Release=$VERSION") || !strings.Contains(read(t, filepath.Join(repository, "internal/front/metrics.go")), "\nvar Release string\n") {
		t.Error("the version does not get into the binary")
	}
	c := configured(t, read(t, filepath.Join(docker, "poise.yaml")))
	if !strings.Contains(text, "POISE_ADMIN=http://127.0.0.1"+c.Status.Address+"\n") {
		t.Errorf("the health check does not ask the status listener %s", c.Status.Address)
	}
}
