package h2

// The page of results: docs/conformance-http2.md.

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/poise-lb/poise/test/internal/rig"
)

var writeFlag = flag.String("write", "", "play all cases on nginx and HAProxy, too, and write the page to this file")

// page is where the results stand.
const page = "../../docs/conformance-http2.md"

// A row is a case on the page.
type row struct {
	section, name string
	verdict       func(v *verdicts) (string, bool) // false: the subject does not take part
}

// A chapter is a part of the page.
type chapter struct {
	name string
	rows []row
}

func chapters() []chapter {
	var all []chapter
	for _, g := range []struct {
		name  string
		rules []rule
	}{{"Clients: frames, streams, flow control", frames}, {"Clients: messages", messages}, {"Clients: how connections begin", beginnings}} {
		c := chapter{name: g.name}
		for i := range g.rules {
			r := &g.rules[i]
			c.rows = append(c.rows, row{r.section, r.name, func(v *verdicts) (string, bool) { text, ok := v.rules[r]; return text, ok }})
		}
		all = append(all, c)
	}
	parts := map[string]*chapter{}
	answers := answerings()
	for i := range answers {
		a := &answers[i]
		c := parts[a.part]
		if c == nil {
			c = &chapter{name: "Endpoints: " + a.part}
			parts[a.part] = c
		}
		c.rows = append(c.rows, row{a.section, a.name, func(v *verdicts) (string, bool) { text, ok := v.answerings[a]; return text, ok }})
	}
	for _, part := range answeringParts {
		all = append(all, *parts[part])
	}
	return all
}

// TestPage judges all subjects and writes the page, if that is asked for.
func TestPage(t *testing.T) {
	if *writeFlag == "" {
		t.Skip("without -write")
	}
	all := subjects(t)
	var results []verdicts
	for _, s := range all {
		results = append(results, s.judge())
	}
	text := write(all, results, versions(t))
	if err := os.WriteFile(*writeFlag, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	checkPage(t, text)
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

const introduction = `# Conformance of HTTP/2

What a proxy has to do by RFC 9113 (and RFC 7541, 8441, 9110 where it says so), towards clients and towards endpoints, case by case: [test/h2](../test/h2/doc.go). A client or an endpoint that is made of frames of its own sends what is allowed and what is not. This page is written by

` + "```bash\nmake conformance\n```" + `

and a test compares its rows with the cases. Versions: %s.

%s
*loop* is ` + "`poise`" + ` by default on Linux, *goroutine* the same elsewhere. After every case a connection that goes on has to answer another request, and one that does not has to be closed; behind a hostile endpoint the next request has to be answered, too.

Of nginx and HAProxy only what the RFC demands is judged, of Poise also the reason that the client is given, the code that the endpoint is told, whether a request that was not processed is repeated, and that errors of one stream leave the others alone. What they say no to may be a choice: a proxy that closes the connection without GOAWAY does no harm. Towards clients both run as the manual has it; nginx takes no part in the cases of endpoints, since this version speaks HTTP/1.1 to them.

Cases that take timeouts or floods of clients are in the tests only, as are drains, reloads and cancels.
`

// write makes the page.
func write(all []*subject, results []verdicts, versions string) string {
	var totals, details strings.Builder
	titles := "| |"
	for _, s := range all {
		titles += " " + s.name + " |"
	}
	fmt.Fprintf(&totals, "%s\n| --- |%s\n", titles, strings.Repeat(" ---: |", len(all)))
	for _, c := range chapters() {
		fmt.Fprintf(&totals, "| [%s](#%s), %d |", c.name, anchor(c.name), len(c.rows))
		fmt.Fprintf(&details, "\n## %s\n\n| case | section |", c.name)
		for _, s := range all {
			fmt.Fprintf(&details, " %s |", s.name)
		}
		details.WriteString("\n| --- | --- |" + strings.Repeat(" --- |", len(all)) + "\n")
		passed, judged := make([]int, len(all)), make([]int, len(all))
		for i := range c.rows {
			details.WriteString(c.rows[i].begin())
			for k := range all {
				text, there := c.rows[i].verdict(&results[k])
				cell := "–"
				if there {
					if judged[k]++; text == "" {
						passed[k]++
					}
					cell = verdictCell(text)
				}
				details.WriteString(" " + cell + " |")
			}
			details.WriteString("\n")
		}
		for k := range all {
			if judged[k] == 0 {
				totals.WriteString(" – |")
			} else {
				fmt.Fprintf(&totals, " %d |", passed[k])
			}
		}
		totals.WriteString("\n")
	}
	return fmt.Sprintf(introduction, versions, totals.String()) + details.String()
}

// begin is how the row of a case begins.
func (r *row) begin() string { return fmt.Sprintf("| %s | %s |", escape(r.name), r.section) }

// verdictCell is yes, or what happened instead.
func verdictCell(text string) string {
	if text == "" {
		return "yes"
	}
	text = regexp.MustCompile(`^RFC [^:]*: |0x[0-9a-f]{6,}|127\.0\.0\.1:\d+(->)?`).ReplaceAllString(text, "")
	if len(text) > 160 {
		text = strings.ToValidUTF8(text[:160], "") + "…"
	}
	return "no: " + escape(text)
}

func escape(s string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", `\<`, "_", `\_`, "`", "'", "\n", " ").Replace(s)
}

func anchor(name string) string {
	return strings.NewReplacer(" ", "-", ":", "", ",", "").Replace(strings.ToLower(name))
}

// The page has a row for every case, no other, and Poise passes each.
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
	number := 0
	_, details, _ := strings.Cut(text, "\n## ")
	for _, c := range chapters() {
		for i := range c.rows {
			number++
			if want := c.rows[i].begin() + " yes | yes |"; !strings.Contains(details, "\n"+want) {
				t.Errorf("no row begins with %s: run make conformance", want)
			}
		}
	}
	if rows := strings.Count(details, "\n| ") - 2*len(chapters()); rows != number {
		t.Errorf("%d rows for %d cases: run make conformance", rows, number)
	}
}
