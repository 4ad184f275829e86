package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/test/internal/rig"
)

// page is where the results stand.
const page = "../../docs/conformance.md"

// peerPatience is enough for peers: what they do not do they will not do later either.
const peerPatience = 5 * time.Second

// results are verdicts by subject and case.
type results map[string]map[*testCase]string

// TestPage judges all subjects and writes the page, if that is asked for.
func TestPage(t *testing.T) {
	if *writeFlag == "" {
		t.Skip("without -write")
	}
	subjects := append(engines(), nginx(t), haproxy(t))
	all := make(results)
	for _, s := range subjects {
		all[s.name] = s.verdicts(t)
	}
	text := write(subjects, all, versions(t))
	if err := os.WriteFile(*writeFlag, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if *writeFlag == page && !t.Failed() {
		checkPage(t, text)
	}
}

// verdicts plays all cases, several at a time.
func (s *subject) verdicts(t *testing.T) map[*testCase]string {
	out := make(map[*testCase]string)
	var mu sync.Mutex
	var running sync.WaitGroup
	free := make(chan struct{}, together)
	for _, g := range groups {
		for i := range g.cases {
			c := &g.cases[i]
			stage := s.stage(t, c)
			free <- struct{}{}
			running.Go(func() {
				verdict := run(c, stage, peerPatience)
				<-free
				mu.Lock()
				out[c] = verdict
				mu.Unlock()
			})
		}
	}
	running.Wait()
	return out
}

// versions are those of the programs, as they tell them.
func versions(t *testing.T) string {
	first := func(name, pattern string) string {
		out, err := exec.Command(rig.Program(t, name), "-v").CombinedOutput()
		v := regexp.MustCompile(pattern).FindSubmatch(out)
		if err != nil || v == nil {
			t.Fatalf("%s -v: %v\n%s", name, err, out)
		}
		return string(v[1])
	}
	return fmt.Sprintf("Poise as it is in this repository, built with %s · nginx %s · HAProxy %s", runtime.Version(),
		first("nginx", `nginx/(\S+)`), first("haproxy", `version (\S+)`))
}

const introduction = `# Conformance

What a proxy has to do by RFC 9110, RFC 9112 and their neighbours, case by case, on raw sockets: [test/conformance](../test/conformance/doc.go). This page is written by

` + "```bash\nmake conformance\n```" + `

and a test compares its rows with the cases. Versions: %s.

%s
*loop* is ` + "`poise`" + ` by default on Linux, and ` + "`Serve`" + ` of the library; *goroutine* is the same elsewhere, and runs the same code with the same codec. *std* is the library mounted in a server of net/http, which reads and writes the client's side. All run with nothing configured but endpoints, and ` + "`half_close: leave`" + `. nginx and HAProxy have keep-alive and upgrades to the endpoint, no buffering, the fields that say who the client is, and retries as Poise makes them by itself: [peers_test.go](../test/conformance/peers_test.go) has every line.

A case that leaves a choice, because the RFC does, is passed by every choice. So to pass is not the same as to be strict: Poise refuses much that others may repair, such as a bare LF.

## What is left out

* **Via.** RFC 9110 §7.6.3 wants it of every gateway in requests. Poise does not write it, nor do nginx and HAProxy unless configured to: some endpoints then leave out what they think a proxy cannot take; nginx, for one, stops compressing (` + "`gzip_proxied`" + `).
* **A client that ends its sending side** before it has the response is answered, unless ` + "`half_close: leave`" + ` says that it leaves; under net/http it leaves. RFC 9112 leaves it open.
* **HTTP/2 and caching.** Cases of HTTP/2 are in [test/h2](../test/h2/doc.go), and h2spec judges it (make h2spec). None of these caches.

## Where net/http decides otherwise

On the engine std these cases fail, and have to, because net/http decides before Poise is asked:

%s
`

// write makes the page.
func write(subjects []subject, all results, versions string) string {
	var totals, details strings.Builder
	titles := "| |"
	for _, s := range subjects {
		titles += " " + s.name + " |"
	}
	rule := "\n| --- |" + strings.Repeat(" ---: |", len(subjects)) + "\n"
	fmt.Fprintf(&totals, "%s", titles+rule)
	sums := make([]int, len(subjects))
	number := 0
	for _, g := range groups {
		number += len(g.cases)
		fmt.Fprintf(&totals, "| [%s](#%s), %d |", g.name, anchor(g.name), len(g.cases))
		for i, s := range subjects {
			n := 0
			for k := range g.cases {
				if all[s.name][&g.cases[k]] == "" {
					n++
				}
			}
			sums[i] += n
			fmt.Fprintf(&totals, " %d |", n)
		}
		totals.WriteString("\n")
		writeGroup(&details, g, subjects, all)
	}
	fmt.Fprintf(&totals, "| **All %d** |", number)
	for _, n := range sums {
		fmt.Fprintf(&totals, " **%d** |", n)
	}
	return fmt.Sprintf(introduction, versions, totals.String()+"\n", knownDifferences()) + details.String()
}

func writeGroup(b *strings.Builder, g group, subjects []subject, all results) {
	fmt.Fprintf(b, "\n## %s\n\n| case | section |", g.name)
	for _, s := range subjects {
		fmt.Fprintf(b, " %s |", s.name)
	}
	b.WriteString("\n| --- | --- |" + strings.Repeat(" --- |", len(subjects)) + "\n")
	for i := range g.cases {
		c := &g.cases[i]
		b.WriteString(rowOf(c))
		for _, s := range subjects {
			b.WriteString(" " + cell(all[s.name][c]) + " |")
		}
		b.WriteString("\n")
	}
}

// rowOf is how the row of a case begins.
func rowOf(c *testCase) string { return fmt.Sprintf("| %s | %s |", escape(c.name), c.rfc) }

// cell is yes, or what happened instead.
func cell(verdict string) string {
	if verdict == "" {
		return "yes"
	}
	return "no: " + escape(verdict)
}

func escape(s string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", `\<`, "_", `\_`, "`", "'", "\n", " ").Replace(s)
}

func anchor(name string) string {
	return strings.NewReplacer(" ", "-", "(", "", ")", "").Replace(strings.ToLower(name))
}

// knownDifferences lists the reasons of the engine std, with their cases.
func knownDifferences() string {
	var reasons []string
	cases := make(map[string][]string)
	for _, g := range groups {
		for _, c := range g.cases {
			if c.std == "" {
				continue
			}
			if !slices.Contains(reasons, c.std) {
				reasons = append(reasons, c.std)
			}
			cases[c.std] = append(cases[c.std], escape(c.name))
		}
	}
	var b strings.Builder
	for _, r := range reasons {
		fmt.Fprintf(&b, "* *%s*: %s\n", strings.Join(cases[r], "; "), r)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// The page has a row for every case, no other, and says of Poise what the tests say.
func TestPageIsThatOfTheseCases(t *testing.T) {
	if *writeFlag != "" {
		t.Skip("it is being written")
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	checkPage(t, string(text))
}

func checkPage(t *testing.T, text string) {
	_, details, _ := strings.Cut(text, "\n## "+groups[0].name+"\n")
	number := 0
	for _, g := range groups {
		for i := range g.cases {
			c := &g.cases[i]
			number++
			want := rowOf(c) + " yes | yes | yes |"
			if c.std != "" {
				want = rowOf(c) + " yes | yes | no: "
			}
			if !strings.Contains(details, "\n"+want) {
				t.Errorf("no row begins with %s: run make conformance", want)
			}
		}
	}
	if rows := strings.Count(details, "\n| ") - 2*len(groups); rows != number {
		t.Errorf("%d rows for %d cases: run make conformance", rows, number)
	}
	if !strings.Contains(text, knownDifferences()) {
		t.Error("the reasons of the engine std are others: run make conformance")
	}
}

// Names tell cases apart, and sections can be looked up.
func TestCasesAreNamed(t *testing.T) {
	section := regexp.MustCompile(`^RFC \d{4} §\d+(\.\d+)*$`)
	known, number := 0, 0
	for _, g := range groups {
		seen := make(map[string]bool)
		for _, c := range g.cases {
			number++
			if seen[slug(c.name)] || slug(c.name) == "" {
				t.Errorf("%s: %q twice", g.name, c.name)
			}
			seen[slug(c.name)] = true
			if !section.MatchString(c.rfc) {
				t.Errorf("%s: %s: section %q", g.name, c.name, c.rfc)
			}
			if c.std != "" {
				known++
			}
		}
	}
	if number < 120 || known > 8 {
		t.Errorf("%d cases, %d of them left to net/http", number, known)
	}
}
