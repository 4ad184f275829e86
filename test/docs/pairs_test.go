// A document in two languages is a pair, X.md and X.zh.md. What a machine can compare is
// compared: headings, blocks of code, rows of tables, and the links from one to the other,
// so that a page that changes in one language only is noticed.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pairs are the documents in English that exist in Chinese too, with that.
func pairs(t *testing.T) [][2]page {
	t.Helper()
	var out [][2]page
	for _, p := range pages(t) {
		if english, ok := strings.CutSuffix(p.path, ".zh.md"); ok {
			english += ".md"
			if _, err := os.Stat(filepath.Join(root, english)); err != nil {
				t.Errorf("%s: there is no %s", p.path, english)
				continue
			}
			out = append(out, [2]page{readPage(t, english), p})
		}
	}
	if len(out) < 11 {
		t.Fatalf("only %d pairs found", len(out))
	}
	return out
}

func TestPagesInTwoLanguagesAgree(t *testing.T) {
	for _, pair := range pairs(t) {
		for _, difference := range differences(pair[0], pair[1]) {
			t.Errorf("%s and %s: %s; a change of one page belongs into both", pair[0].path, pair[1].path, difference)
		}
	}
}

// differences says what two pages of a pair do not have in common; nil: nothing.
func differences(english, chinese page) []string {
	var out []string
	for _, p := range [][2]page{{english, chinese}, {chinese, english}} {
		if top, other := beginning(p[0].text), filepath.Base(p[1].path); !strings.Contains(top, "("+other+")") {
			out = append(out, p[0].path+" does not begin with a link to "+other)
		}
	}
	if e, c := levels(english.text), levels(chinese.text); !slices.Equal(e, c) {
		out = append(out, "the headings differ: "+strings.Join(e, " ")+" and "+strings.Join(c, " "))
	} else {
		e, c := sections(english.text), sections(chinese.text)
		for i := range e {
			if e[i].lines != c[i].lines {
				out = append(out, fmt.Sprintf("%q has %d paragraphs and items, %q has %d", e[i].heading, e[i].lines, c[i].heading, c[i].lines))
			}
		}
	}
	if e, c := tables(english.text), tables(chinese.text); len(e) != len(c) {
		out = append(out, "one has more tables than the other")
	} else {
		for i := range e {
			if d := differentRow(e[i], c[i]); d != "" {
				out = append(out, d)
			}
		}
	}
	if len(english.fence) != len(chinese.fence) {
		return append(out, "one has more blocks of code than the other")
	}
	for i, e := range english.fence {
		if c := chinese.fence[i]; e.language != c.language || bare(e.code) != bare(c.code) {
			out = append(out, "the code at "+e.String()+" and "+c.String()+" differs")
		}
	}
	return out
}

// A reader of a page in Chinese stays in Chinese: its links lead to the Chinese page where there is one.
func TestLinksStayInTheLanguage(t *testing.T) {
	for _, pair := range pairs(t) {
		english, chinese := pair[0], pair[1]
		for _, m := range linkPattern.FindAllStringSubmatch(chinese.text, -1) {
			file, _, _ := strings.Cut(m[1], "#")
			if file == filepath.Base(english.path) || filepath.Ext(file) != ".md" || strings.HasSuffix(file, ".zh.md") {
				continue
			}
			better := strings.TrimSuffix(file, ".md") + ".zh.md"
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(chinese.path), better)); err == nil {
				t.Errorf("%s: the link to %s should be one to %s", chinese.path, m[1], better)
			}
		}
		if strings.Contains(english.text, ".zh.md#") {
			t.Errorf("%s: a link leads to a section in Chinese", english.path)
		}
	}
}

// beginning is what stands before the second heading of a page.
func beginning(text string) string {
	top, _, _ := strings.Cut(text, "\n## ")
	return top
}

// levels are the marks of the headings: # for the title, ## for a section.
func levels(text string) []string {
	var out []string
	for _, heading := range headingPattern.FindAllString(text, -1) {
		mark, _, _ := strings.Cut(heading, " ")
		out = append(out, mark)
	}
	return out
}

// A section is a heading with the number of lines below it that are not empty: paragraphs,
// items of lists, rows. Documents have a paragraph on one line.
type section struct {
	heading string
	lines   int
}

func sections(text string) []section {
	out := []section{{heading: "the beginning"}}
	for line := range strings.Lines(text) {
		switch line = strings.TrimSpace(line); {
		case headingPattern.MatchString(line):
			out = append(out, section{heading: line})
		case line != "":
			out[len(out)-1].lines++
		}
	}
	return out
}

// tables are the first cells of each table, without the line below its head.
func tables(text string) [][]string {
	var out [][]string
	inside := false
	for line := range strings.Lines(text) {
		row, isRow := strings.CutPrefix(strings.TrimSpace(line), "|")
		switch {
		case !isRow:
			inside = false
			continue
		case !inside:
			inside = true
			out = append(out, nil)
		case strings.HasPrefix(strings.TrimSpace(row), "---"):
			continue
		}
		cell, _, _ := strings.Cut(row, "|")
		out[len(out)-1] = append(out[len(out)-1], strings.TrimSpace(cell))
	}
	return out
}

var codeSpan = regexp.MustCompile("`[^`]*`")

// differentRow names the first row that only one of two tables has. Rows are known by the
// code in their first cell; a word in it that is translated, such as SERVICE, is not compared.
func differentRow(english, chinese []string) string {
	if len(english) != len(chinese) {
		return "the table that begins with " + english[0] + " has more rows in one"
	}
	for i := 1; i < len(english); i++ { // the head of a table is words
		e, c := codeSpan.FindAllString(english[i], -1), codeSpan.FindAllString(chinese[i], -1)
		if len(e) != len(c) {
			return "the row " + english[i] + " and the row " + chinese[i] + " differ"
		}
		for k := range e {
			if isASCII(c[k]) && e[k] != c[k] {
				return "the row " + e[k] + " stands where the other has " + c[k]
			}
		}
	}
	return ""
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 0x7f }) < 0
}

var comment = regexp.MustCompile(`(?m)(^|\s)(#|//)\s.*$`)

// bare is code without its comments, which are translated.
func bare(code string) string {
	var out []string
	for line := range strings.Lines(comment.ReplaceAllString(code, "")) {
		if line = strings.TrimRight(line, " \n"); line != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// Each kind of difference is found, or the test above would pass whatever the pages say.
func TestDifferencesAreFound(t *testing.T) {
	read := func(name, text string) page {
		p := page{path: name, text: text}
		before, code, found := strings.Cut(text, "~~~\n")
		if found {
			p.text, p.fence = before, []fence{{page: name, code: code}}
		}
		return p
	}
	english := read("a.md", "# A\n\n[zh](a.zh.md)\n\n## B\n\n| key | |\n| --- | --- |\n| `x` | ten |\n~~~\nrun # now\n")
	for _, test := range []struct{ what, chinese string }{
		{"", "# 甲\n\n[en](a.md)\n\n## 乙\n\n| 键 | |\n| --- | --- |\n| `x` | 十 |\n~~~\nrun # 现在\n"},
		{"does not begin with a link", "# 甲\n\n## 乙\n\n| 键 | |\n| --- | --- |\n| `x` | 十 |\n~~~\nrun\n"},
		{"the headings differ", "# 甲\n\n[en](a.md)\n\n### 乙\n\n| 键 | |\n| --- | --- |\n| `x` | 十 |\n~~~\nrun\n"},
		{"paragraphs and items", "# 甲\n\n[en](a.md)\n\n## 乙\n\n| 键 | |\n| --- | --- |\n| `x` | 十 |\n\n完\n~~~\nrun\n"},
		{"more tables", "# 甲\n\n[en](a.md)\n\n## 乙\n~~~\nrun\n"},
		{"more rows", "# 甲\n\n[en](a.md)\n\n## 乙\n\n| 键 | |\n| --- | --- |\n~~~\nrun\n"},
		{"stands where the other has `y`", "# 甲\n\n[en](a.md)\n\n## 乙\n\n| 键 | |\n| --- | --- |\n| `y` | 十 |\n~~~\nrun\n"},
		{"more blocks of code", "# 甲\n\n[en](a.md)\n\n## 乙\n\n| 键 | |\n| --- | --- |\n| `x` | 十 |\n"},
		{"the code at", "# 甲\n\n[en](a.md)\n\n## 乙\n\n| 键 | |\n| --- | --- |\n| `x` | 十 |\n~~~\nwalk # 现在\n"},
	} {
		got := strings.Join(differences(english, read("a.zh.md", test.chinese)), "; ")
		if test.what == "" && got != "" || !strings.Contains(got, test.what) {
			t.Errorf("found %q, want %q", got, test.what)
		}
	}
}

// The table of metrics in Chinese has the rows of the generated one: name, type and labels.
func TestMetricsAreDescribedInBothLanguages(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `\\w+` \\| (counter|gauge|histogram) \\| [^|]* \\|")
	english := rows.FindAllString(readPage(t, "docs/metrics.md").text, -1)
	chinese := rows.FindAllString(readPage(t, "docs/metrics.zh.md").text, -1)
	for _, row := range english {
		if !slices.Contains(chinese, row) {
			t.Errorf("docs/metrics.zh.md has no row that begins with %s", row)
		}
	}
	if !slices.Equal(english, chinese) || len(english) < 40 {
		t.Errorf("%d metrics in English, %d in Chinese, or in another order", len(english), len(chinese))
	}
}
