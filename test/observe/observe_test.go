package observe

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/metric"
	"github.com/poise-lb/poise/test/internal/rig"
)

const (
	rules = "../../deploy/prometheus/poise-rules.yaml"
	board = "../../deploy/grafana/poise.json"
)

// a world is a Poise with two endpoints, one of which can fail its checks, and a Prometheus that
// scrapes it every second, with rules that fire at once.
type world struct {
	config         string // path
	good           string // its text
	admin, monitor string // addresses
	poise          *rig.Process
	sick           atomic.Bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{admin: rig.Address(t), monitor: rig.Address(t)}
	var urls []string
	for i := range 2 {
		s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			if i == 0 && r.URL.Path == "/health" && w.sick.Load() {
				out.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		t.Cleanup(s.Close)
		urls = append(urls, fmt.Sprintf("%q", s.URL))
	}
	listen := rig.Address(t)
	w.good = fmt.Sprintf(`version: 1
listen: [%q]
admin: %q
services:
  users: {endpoints: [%s], health: {check: HEAD /health, interval: 200ms, timeout: 200ms}}
routes: [{name: users, service: users}]
`, listen, w.admin, strings.Join(urls, ", "))
	w.config = filepath.Join(t.TempDir(), "poise.yaml")
	rig.Write(t, w.config, w.good)
	w.poise = rig.Start(t, rig.Command{Path: rig.Poise(t), Args: []string{"run", "-c", w.config}})
	w.poise.Await("(?m)^poise: ready")
	w.load(t, listen)
	w.prometheus(t)
	return w
}

// load keeps some requests coming until the test ends.
func (w *world) load(t *testing.T, address string) {
	tick, stop := time.NewTicker(50*time.Millisecond), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if res, err := http.Get("http://" + address); err == nil {
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done; tick.Stop() })
}

var waits = regexp.MustCompile(`(?m)^( +)for: \S+$`)

// prometheus starts one with the rules of deploy, but without their delays.
func (w *world) prometheus(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	rig.Write(t, filepath.Join(dir, "rules.yaml"), waits.ReplaceAllString(string(text), "${1}for: 0s"))
	rig.Write(t, filepath.Join(dir, "prometheus.yaml"), fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s, scrape_timeout: 1s}
rule_files: [rules.yaml]
scrape_configs: [{job_name: poise, static_configs: [{targets: [%q]}]}]
`, w.admin))
	p := rig.Start(t, rig.Command{Path: rig.Program(t, "prometheus"), Args: []string{
		"--config.file=" + filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path=" + filepath.Join(dir, "data"),
		"--web.listen-address=" + w.monitor, "--log.level=warn",
	}})
	w.until(t, "Prometheus is ready", func() bool {
		res, err := http.Get("http://" + w.monitor + "/-/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == 200
	})
	_ = p
}

func (w *world) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(60 * time.Second); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// query asks Prometheus; the result is how many series there are.
func (w *world) query(t *testing.T, path string, values url.Values) json.RawMessage {
	t.Helper()
	res, err := http.Get("http://" + w.monitor + path + "?" + values.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s %v: %s %v", path, values, answer.Error, err)
	}
	return answer.Data
}

// series is how many series an expression has now.
func (w *world) series(t *testing.T, expression string) int {
	t.Helper()
	var data struct{ Result []json.RawMessage }
	if err := json.Unmarshal(w.query(t, "/api/v1/query", url.Values{"query": {expression}}), &data); err != nil {
		t.Fatal(err)
	}
	return len(data.Result)
}

func (w *world) fires(t *testing.T, alert string) bool {
	return w.series(t, fmt.Sprintf(`ALERTS{alertname=%q,alertstate="firing"}`, alert)) > 0
}

// An endpoint that fails its checks, and a configuration with a mistake, are alerts while they
// last; nothing else is.
func TestAlertsFireAndClear(t *testing.T) {
	w := newWorld(t)
	w.until(t, "the first scrape", func() bool { return w.series(t, "poise_requests_total") > 0 })
	if w.series(t, `ALERTS`) > 0 {
		t.Errorf("alerts though all is well: %s", w.query(t, "/api/v1/alerts", nil))
	}
	w.sick.Store(true)
	w.until(t, "PoiseEndpointDown fires", func() bool { return w.fires(t, "PoiseEndpointDown") })
	w.sick.Store(false)
	w.until(t, "PoiseEndpointDown clears", func() bool { return !w.fires(t, "PoiseEndpointDown") })
	rig.Write(t, w.config, strings.Replace(w.good, "service: users}", "service: user}", 1))
	w.poise.Signal(syscall.SIGHUP)
	w.until(t, "PoiseReloadRefused fires", func() bool { return w.fires(t, "PoiseReloadRefused") })
	rig.Write(t, w.config, w.good)
	w.poise.Signal(syscall.SIGHUP)
	w.until(t, "PoiseReloadRefused clears", func() bool { return !w.fires(t, "PoiseReloadRefused") })
	w.board(t)
	w.check(t)
}

// check has promtool look at the metrics.
func (w *world) check(t *testing.T) {
	res, err := http.Get("http://" + w.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	file := filepath.Join(t.TempDir(), "metrics")
	rig.Write(t, file, string(text))
	rig.Run(t, "sh", "-c", rig.Program(t, "promtool")+" check metrics < "+file)
}

// board runs every query of the Grafana board.
func (w *world) board(t *testing.T) {
	n := 0
	for _, q := range queries(t) {
		q = strings.NewReplacer("$service", "users", "$instance", ".*", "$__rate_interval", "10s").Replace(q)
		if w.series(t, q) == 0 && !strings.Contains(q, "retries") && !strings.Contains(q, "failures") && !strings.Contains(q, "certificate") && !strings.Contains(q, "code=~\"5") {
			t.Errorf("the board's query has no answer: %s", q)
		}
		n++
	}
	if n < 12 {
		t.Errorf("only %d queries were run", n)
	}
}

// queries are those of the board.
func queries(t *testing.T) (all []string) {
	t.Helper()
	data, err := os.ReadFile(board)
	if err != nil {
		t.Fatal(err)
	}
	var b struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	for _, p := range b.Panels {
		for _, q := range p.Targets {
			all = append(all, q.Expr)
		}
	}
	return all
}

var named = regexp.MustCompile(`poise_[a-z_]+`)

// Every metric that rules and board name exists.
func TestEveryMetricExists(t *testing.T) {
	known := make(map[string]bool)
	for _, f := range metric.Families() {
		known[f.Name] = true
		if f.Kind == metric.Histogram {
			known[f.Name+"_bucket"], known[f.Name+"_sum"], known[f.Name+"_count"] = true, true, true
		}
	}
	text, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	all := append(queries(t), string(text))
	seen := 0
	for _, q := range all {
		for _, name := range named.FindAllString(q, -1) {
			if seen++; !known[name] {
				t.Errorf("%s does not exist, in %s", name, q)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d names were looked at", seen)
	}
}

// promtool reads the golden files of package metric: the text of Prometheus by its checks, that of
// OpenMetrics by making a block of it, for which each sample needs a time.
func TestGoldenFilesAreRead(t *testing.T) {
	promtool, folder := rig.Program(t, "promtool"), "../../metric/testdata/"
	rig.Run(t, "sh", "-c", promtool+" check metrics < "+folder+"prometheus.txt")
	text, err := os.ReadFile(folder + "openmetrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	samples := regexp.MustCompile(`(?m)^[^#\n].*$`)
	timed := filepath.Join(t.TempDir(), "timed.txt")
	rig.Write(t, timed, samples.ReplaceAllString(string(text), "$0 1785844800"))
	said := rig.Run(t, promtool, "tsdb", "create-blocks-from", "openmetrics", timed, t.TempDir())
	if want := len(samples.FindAllString(string(text), -1)); want < 100 || !strings.Contains(said, fmt.Sprint(want)) {
		t.Errorf("not all of %d samples were read:\n%s", want, said)
	}
}

// promtool takes the rules as they are.
func TestRulesLoad(t *testing.T) {
	said := rig.Run(t, rig.Program(t, "promtool"), "check", "rules", rules)
	if !strings.Contains(said, "10 rules found") {
		t.Error(said)
	}
}
