//go:build linux

package peers

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

const (
	resultsFile = "results.json"
	pageFile    = "../../docs/benchmarks.md"
	pictureFile = "../../docs/benchmarks.svg"
)

// Between these lines the page is written by hand, and stays as it is.
const (
	notesBegin = "<!-- notes: written by hand; make bench leaves them as they are -->"
	notesEnd   = "<!-- end of notes -->"
)

func thisMachine(t *testing.T) machine {
	t.Helper()
	m := machine{Go: runtime.Version(), Cores: runtime.NumCPU()}
	for path, take := range map[string]func(string){
		"/proc/cpuinfo":              func(s string) { m.Processor = after(s, "model name") },
		"/proc/sys/kernel/osrelease": func(s string) { m.Kernel = release(s) },
		"/etc/os-release":            func(s string) { m.System = strings.Trim(after(s, "PRETTY_NAME"), `"`) },
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it is not said, then
		}
		take(string(text))
	}
	return m
}

// release is the version of a kernel, without what its builder adds to it.
func release(s string) string {
	version, _, _ := strings.Cut(strings.TrimSpace(s), "-")
	return version
}

// after is the value of the first line that has this name.
func after(text, name string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.Trim(rest, "\t\n :=")
		}
	}
	return ""
}

// publish writes the page and its picture.
func publish(r results) error {
	old, err := os.ReadFile(pageFile)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.WriteFile(pageFile, []byte(page(r, notesOf(string(old)))), 0o644); err != nil {
		return err
	}
	return os.WriteFile(pictureFile, []byte(picture(r)), 0o644)
}

// notesOf is what stands between the two lines.
func notesOf(text string) string {
	_, rest, ok := strings.Cut(text, notesBegin)
	notes, _, closed := strings.Cut(rest, notesEnd)
	if !ok || !closed {
		return "\n"
	}
	return notes
}

// page is the whole page.
func page(r results, notes string) string {
	var b strings.Builder
	b.WriteString(introduction)
	b.WriteString("## Targets\n\nOf Poise on its event loops, at most; the digits within one scenario come from one run, in turns.\n\n" +
		targetTable(r) + "\nThat a proxied request allocates nothing is not measured here but tested: [test/bench](../test/bench/doc.go), [test/loop](../test/loop/doc.go).\n\n")
	b.WriteString("## Against the best of the others\n\nOf nginx, HAProxy, Envoy, Caddy and httputil.ReverseProxy, whichever has the least, in whichever version. Above 1, the other is better.\n\n" + bestTable(r) + "\n")
	b.WriteString("## Notes\n\n" + notesBegin + notes + notesEnd + "\n\n")
	for _, s := range scenarios {
		o, ok := r.Scenarios[s.name]
		if !ok {
			continue
		}
		fmt.Fprintf(&b, "## %s\n\n%s\n\n%s", s.title, s.about, s.tables(o))
		fmt.Fprintf(&b, "*`BENCH_ONLY=%s`, %s, %s.*\n\n", s.name, o.Date, counted(o.Rounds, "round"))
	}
	b.WriteString(method)
	fmt.Fprintf(&b, "## Machine and versions\n\n%s, %s, %s, kernel %s; the stage and Poise built with %s.\n\n| | version | configuration |\n| --- | --- | --- |\n",
		r.Machine.Processor, counted(r.Machine.Cores, "core"), r.Machine.System, r.Machine.Kernel, r.Machine.Go)
	for _, p := range peers {
		version := r.Versions[p.name]
		if why, skipped := r.Skipped[p.name]; skipped {
			version = "could not be had: " + strings.NewReplacer("|", `\|`, "\n", " ").Replace(why)
		}
		if version != "" {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", p.name, version, p.remarks)
		}
	}
	return b.String()
}

const introduction = `# Benchmarks

Poise beside other proxies: one machine, one core for the proxy, the same load, the same endpoints, in turns. Tables and picture are written by

` + "```bash\nmake bench                                  # installs the peers; an hour\nBENCH_ONLY=h1,tls BENCH_ROUNDS=2 make bench # some of it\n```" + `

![CPU per request, latency and memory of Poise and its peers](benchmarks.svg)

`

const method = `## Method

* **Pinned.** The proxy has one core and one worker; the clients and the endpoints share the other core, and one epoll loop of one process, so that they cost as little as they can: [test/peers/stage](../test/peers/stage/doc.go).
* **In turns.** A round has one turn of each proxy, a second or two, after a time to warm up. Several rounds, so that whatever else the machine does hits all.
* **CPU per request** is the processor time of the proxy's process in user and system mode, by the kernel's own accounting, divided by the requests that were answered: at both ends of what counts the clients let all answers come in. Noise only ever adds, so the least of all rounds counts. Digits of two runs differ by up to 15 %; compare within one table.
* **requests/s** is the most of all rounds, and bounded by the clients' core if the column *core*, the share of its core that the proxy used, is below 95 %. Then it says little about the proxy.
* **p50 and p99** are the median over the rounds. Latency counts from the instant at which a request was due, so that a proxy gains nothing by holding requests up. Where connections never pause, latency is that of a queue: only the section Latency is about latency. *Client late* there is the p99 of what the client itself was late by, which is in the others' figures: above a tenth of them, the machine was busy.
* **HTTP/2.** The client is h2load, on the core of the stage, which sends as many requests as fit into half a second, and 160 for each connection at least, and connects anew for each turn; what connecting costs is in the figures. Where several things happen on one connection the client is a program of [test/peers](../test/peers/doc.go).
* **In two versions.** nginx and HAProxy are measured as the system's release has them, and as Debian's unstable suite (*sid*) has them on the day. The latter are unpacked, not installed, and run with the C library and OpenSSL of that suite, which are a part of the difference. Targets are of the better one.
* **The same for all.** Two endpoints unless said otherwise. All keep their connections to endpoints, and add X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host and X-Real-IP. TLS is 1.3 with TLS_AES_128_GCM_SHA256 and X25519. Everything else is as each does it by default, or in the table below; every line of configuration is in [test/peers](../test/peers/doc.go).

`

// tables are those of a scenario.
func (s scenario) tables(o outcome) string {
	switch s.view {
	case viewCost:
		if len(s.variants) == 1 {
			return s.table(o, costColumns(s.variants[0].name))
		}
		var byVariant, rates []column
		for _, v := range s.variants {
			byVariant = append(byVariant, column{v.name, v.name, cost, tenths})
			rates = append(rates, column{v.name, v.name, rate, grouped})
		}
		return "CPU per request, µs:\n\n" + s.table(o, byVariant) + "Requests/s:\n\n" + s.table(o, rates)
	case viewLatency:
		var b strings.Builder
		for _, v := range s.variants {
			fmt.Fprintf(&b, "### %s\n\n%s", v.name, s.table(o, []column{{"requests/s", v.name, offered, grouped},
				{"p50, ms", v.name, p50, millis}, {"p99, ms", v.name, p99, millis}, {"p99.9, ms", v.name, p999, millis}, {"client late, ms", v.name, late, millis}}))
		}
		return b.String()
	case viewMemory:
		var all []column
		for _, v := range s.variants {
			all = append(all, column{v.name, v.name, memory, grouped})
		}
		return s.table(o, all)
	case viewBeside:
		return s.table(o, s.besideColumns())
	case viewTail:
		a, b := s.variants[0].name, s.variants[1].name
		return s.table(o, []column{{a + ": p50, ms", a, p50, millis}, {"p99, ms", a, p99, millis},
			{b + ": p50, ms", b, p50, millis}, {"p99, ms", b, p99, millis}})
	default:
		return s.growth(o)
	}
}

// A column shows one figure of one variant.
type column struct {
	title, variant string
	figure         figure
	show           func(float64) string
}

func costColumns(v string) []column {
	return []column{{"CPU per request, µs", v, cost, tenths}, {"requests/s", v, rate, grouped},
		{"core, %", v, busy, grouped}, {"p50, ms", v, p50, millis}, {"p99, ms", v, p99, millis}}
}

// besideColumns are quantiles of each variant, and what else it is about.
func (s scenario) besideColumns() (all []column) {
	for _, v := range s.variants {
		all = append(all, column{v.name + ": p50, ms", v.name, p50, millis}, column{"p99, ms", v.name, p99, millis})
		switch v.name {
		case downloads:
			all = append(all, column{"MB/s", v.name, content, grouped})
		case resets:
			all = append(all, column{"memory, KB", v.name, memory, kilobytes})
		}
	}
	return all
}

// kilobytes shows bytes.
func kilobytes(v float64) string { return grouped(v / 1024) }

// table has a row for each peer that took part.
func (s scenario) table(o outcome, columns []column) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, c := range columns {
		b.WriteString(" " + c.title + " |")
	}
	b.WriteString("\n| --- |" + strings.Repeat(" ---: |", len(columns)) + "\n")
	for _, p := range peers {
		row, any := "| "+p.name+" |", false
		for _, c := range columns {
			cell := "–"
			if v, ok := o.value(c.variant, p.name, c.figure); ok {
				cell, any = c.show(v), true
			} else if o.failure(c.variant, p.name) != "" {
				cell, any = "failed", true
			}
			row += " " + cell + " |"
		}
		if any {
			b.WriteString(row + "\n")
		}
	}
	return b.String() + "\n"
}

// growth compares two variants.
func (s scenario) growth(o outcome) string {
	var b strings.Builder
	first, second := s.variants[0].name, s.variants[1].name
	fmt.Fprintf(&b, "| | %s, µs | %s, µs | times |\n| --- | ---: | ---: | ---: |\n", first, second)
	for _, p := range peers {
		x, one := o.value(first, p.name, cost)
		y, two := o.value(second, p.name, cost)
		switch {
		case one && two:
			fmt.Fprintf(&b, "| %s | %s | %s | %.2f |\n", p.name, tenths(x), tenths(y), y/x)
		case one:
			fmt.Fprintf(&b, "| %s | %s | – | |\n", p.name, tenths(x))
		}
	}
	return b.String() + "\n"
}

// tenths has one decimal up to 100, and none above.
func tenths(v float64) string {
	if v < 99.95 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return grouped(v)
}

// millis shows microseconds as milliseconds.
func millis(v float64) string {
	switch {
	case v < 9.995e3:
		return fmt.Sprintf("%.2f", v/1e3)
	case v < 99.95e3:
		return fmt.Sprintf("%.1f", v/1e3)
	}
	return grouped(v / 1e3)
}

// grouped is a whole number with commas.
func grouped(v float64) string {
	digits := strconv.FormatFloat(math.Abs(math.Round(v)), 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if math.Round(v) < 0 {
		return "-" + digits
	}
	return digits
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
