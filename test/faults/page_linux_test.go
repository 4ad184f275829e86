package faults

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/poise-lb/poise/test/internal/rig"
)

// page writes docs/faults.md.
func (tb *table) page(t *testing.T) string {
	var b strings.Builder
	b.WriteString("# Faults\n\n<!-- written by make faults -->\n\n")
	b.WriteString("What clients lose while endpoints fail, and what nginx and HAProxy lose in the same stories. ")
	fmt.Fprintf(&b, "`make faults` plays them: real processes, %d requests a second in an open loop, every fourth a POST. ", rate)
	b.WriteString("Endpoints refuse connections (the process is killed), reset them after reading the request, answer 503, freeze (SIGSTOP), or become a black hole (their address is taken away in a network namespace). Then they return one by one.\n\n")
	b.WriteString("A GET is lost if its answer is not 200 within 75 s. A POST is lost if it failed although it reached no endpoint; one that may have been delivered is not repeated by any of these proxies, and is not counted. Each field says *lost GETs / lost POSTs*, and the longest wait of a client.\n\n")
	tb.rows(&b, "fault", tb.cells, cellNames(), func(r result) string {
		return fmt.Sprintf("%d / %d, %s", r.lostGets, r.lostPosts, seconds(r.slowest.Seconds()))
	})
	b.WriteString("\n## Outages\n\nAll endpoints have the fault for 80 s under 4 requests a second; then one returns. Each field says how long it took until the first answer, and how many GETs were lost after it.\n\n")
	tb.rows(&b, "fault", tb.outages, outageNames(), func(r result) string {
		if r.back > outageTail {
			return fmt.Sprintf("over %.0f s, –", outageTail.Seconds())
		}
		return fmt.Sprintf("%s, %d", seconds(r.back.Seconds()), r.lostGets)
	})
	b.WriteString("\n## How they were configured\n\n| program | version | settings |\n| --- | --- | --- |\n")
	for _, p := range proxies {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", p.name, version(t, p.name), p.remarks)
	}
	return b.String()
}

func (tb *table) rows(b *strings.Builder, head string, rows map[string]map[string]result, names []string, show func(result) string) {
	b.WriteString("| " + head + " |")
	for _, p := range proxies {
		b.WriteString(" " + p.name + " |")
	}
	b.WriteString("\n|" + strings.Repeat(" --- |", len(proxies)+1) + "\n")
	for _, name := range names {
		if rows[name] == nil {
			continue
		}
		b.WriteString("| " + name + " |")
		for _, p := range proxies {
			text := "–"
			if r, ok := rows[name][p.name]; ok {
				text = show(r)
			}
			b.WriteString(" " + text + " |")
		}
		b.WriteString("\n")
	}
}

func cellNames() (names []string) {
	for _, c := range cells() {
		names = append(names, c.String())
	}
	return names
}

func outageNames() (names []string) {
	for _, f := range faults {
		for _, n := range []int{1, 2} {
			names = append(names, fmt.Sprintf("%s: all of %d", f.name, n))
		}
	}
	return names
}

func seconds(s float64) string {
	if s < 0.1 {
		return fmt.Sprintf("%.0f ms", 1000*s)
	}
	return fmt.Sprintf("%.1f s", s)
}

var versionNumber = regexp.MustCompile(`\d+\.\d+(\.\d+)?`)

func version(t *testing.T, name string) string {
	var out []byte
	switch name {
	case "nginx":
		out, _ = exec.Command(rig.Program(t, "nginx"), "-v").CombinedOutput()
	case "HAProxy":
		out, _ = exec.Command(rig.Program(t, "haproxy"), "-v").CombinedOutput()
	default:
		return "this one"
	}
	return versionNumber.FindString(string(out))
}
