package packages

// The chart and the files of the image.

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
)

func TestChartByDefault(t *testing.T) {
	all := render(t, "edge", `config: {services: {users: {endpoints: ["http://users:80"]}}, routes: [{service: users}], timeouts: {head: 2s}}`)
	if len(all) != 5 {
		t.Errorf("objects: %v", slices.Sorted(maps.Keys(all)))
	}
	pod := at(all["Deployment/edge-poise"], "spec", "template", "spec")
	container := at(pod, "containers", 0)
	for what, c := range map[string]struct{ got, want any }{
		"grace":          {at(pod, "terminationGracePeriodSeconds"), 30},
		"user":           {at(pod, "securityContext", "runAsUser"), 65532},
		"token":          {at(pod, "automountServiceAccountToken"), false},
		"image":          {at(container, "image"), "poise:v0.0.0"},
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
	if times := c.Timeouts; times.Drain != 20*time.Second || times.DrainDelay != 5*time.Second || times.Head != 2*time.Second {
		t.Errorf("timeouts: %+v", times)
	}
	if len(c.Services) != 1 || c.Status.Address != ":9901" || fmt.Sprint(c.Listen[0].Address) != ":8080" {
		t.Errorf("%d services, status %s, listen %v", len(c.Services), c.Status.Address, c.Listen)
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
	text := read(t, filepath.Join(repository, "deploy", "docker", "Dockerfile"))
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
	c := configured(t, read(t, filepath.Join(repository, "deploy", "docker", "poise.yaml")))
	if !strings.Contains(text, "POISE_ADMIN=http://127.0.0.1"+c.Status.Address+"\n") {
		t.Errorf("the health check does not ask the status listener %s", c.Status.Address)
	}
}

// Without a service there is nothing to run: the chart says so before anything is installed.
func TestChartWantsServices(t *testing.T) {
	if _, err := renderTemplate(t, "edge", "{}", "configmap.yaml"); err == nil || !strings.Contains(err.Error(), "config.services is empty") {
		t.Errorf("error %v", err)
	}
}
