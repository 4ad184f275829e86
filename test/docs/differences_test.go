// What two pages of a pair (pairs_test.go) have to have in common, and do not. Each difference
// says where it stands and what to do:
//
//	docs/grpc.zh.md:157: "## 路由" has 7 paragraphs, items and rows, "## Routes" at
//	docs/grpc.md:157 has 8: one of them is missing
package docs

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// differences says what two pages of a pair do not have in common; nil: nothing.
func differences(english, chinese page) []string {
	var out []string
	for _, p := range [][2]page{{english, chinese}, {chinese, english}} {
		if top, other := beginning(p[0].text), filepath.Base(p[1].path); !strings.Contains(top, "("+other+")") {
			out = append(out, p[0].at(0)+": the page needs a link to "+other+" below its title")
		}
	}
	if d := differentSection(english, chinese); d != nil {
		out = append(out, d...)
	} else {
		out = append(out, differentLines(english, chinese)...)
	}
	out = append(out, differentMark(english, chinese)...)
	out = append(out, differentTables(english, chinese)...)
	return append(out, differentCode(english, chinese)...)
}

// beginning is what stands before the second heading of a page.
func beginning(text string) string {
	top, _, _ := strings.Cut(text, "\n## ")
	return top
}

// A section is a heading with the number of lines below it that are not empty: paragraphs,
// items of lists, rows. Documents have a paragraph on one line.
type section struct {
	at      string
	heading string
	lines   int
}

// level is the mark of the heading: # for the title, ## for a section.
func (s section) level() string {
	mark, _, _ := strings.Cut(s.heading, " ")
	return mark
}

func sections(p page) []section {
	out := []section{{at: p.at(0), heading: "the beginning"}}
	i := -1
	for line := range strings.Lines(p.text) {
		i++
		switch line = strings.TrimSpace(line); {
		case headingPattern.MatchString(line):
			out = append(out, section{at: p.at(i), heading: line})
		case line != "":
			out[len(out)-1].lines++
		}
	}
	return out
}

// differentSection finds the first heading that only one page has, or else the sections that
// are longer in one.
func differentSection(english, chinese page) (out []string) {
	e, c := sections(english), sections(chinese)
	for i := range min(len(e), len(c)) {
		if e[i].level() != c[i].level() {
			return []string{fmt.Sprintf("%s: the heading %q stands where %q is at %s: write the same headings in the same order, or mend the level", c[i].at, c[i].heading, e[i].heading, e[i].at)}
		}
		if e[i].lines != c[i].lines {
			out = append(out, fmt.Sprintf("%s: %q has %d paragraphs, items and rows, %q at %s has %d: one of them is missing", c[i].at, c[i].heading, c[i].lines, e[i].heading, e[i].at, e[i].lines))
		}
	}
	for _, more := range append(e[min(len(e), len(c)):], c[min(len(e), len(c)):]...) {
		return append(out, fmt.Sprintf("%s: the other page ends before the heading %q: write it there, too", more.at, more.heading))
	}
	return out
}

// A line is a paragraph, an item or a row.
type line struct{ at, text string }

func lines(p page) (out []line) {
	i := -1
	for text := range strings.Lines(p.text) {
		if i++; strings.TrimSpace(text) != "" {
			out = append(out, line{p.at(i), text})
		}
	}
	return out
}

// differentLines finds paragraphs, items and rows that do not have the same code in their text and
// the same links. That is how a sentence is found that was added in one language:
//
//	English   a limit that is not reached stays, also over an [upgrade](upgrade.md)
//	Chinese   没有用满的上限保持不变
func differentLines(english, chinese page) (out []string) {
	e, c := lines(english), lines(chinese)
	for i := range e { // as many as in c, since the sections are alike
		if code := onlyHere(e[i].text, c[i].text); code != "" {
			out = append(out, fmt.Sprintf("%s: %s is not in the Chinese text at %s: translate what is said of it", e[i].at, code, c[i].at))
		} else if code := onlyHere(c[i].text, e[i].text); code != "" {
			out = append(out, fmt.Sprintf("%s: %s is not in the English text at %s: say there, too, what is said of it", c[i].at, code, e[i].at))
		}
		if i > 1 && !slices.Equal(linked(e[i].text), linked(c[i].text)) { // those before are the title and the other language
			out = append(out, fmt.Sprintf("%s: the links differ from those at %s: %v and %v", c[i].at, e[i].at, linked(c[i].text), linked(e[i].text)))
		}
	}
	return out
}

// onlyHere is the first code that other does not have. Code with a word that is translated, such
// as SERVICE, makes up for one that other has not.
func onlyHere(text, other string) string {
	have, translated := make(map[string]bool), 0
	for _, code := range codeSpan.FindAllString(other, -1) {
		have[code] = true
		if !isASCII(code) {
			translated++
		}
	}
	for _, code := range codeSpan.FindAllString(text, -1) {
		if have[code] || !isASCII(code) {
			continue
		}
		if translated--; translated < 0 {
			return code
		}
	}
	return ""
}

// linked are the files that a text links to, sorted, without what tells the languages apart.
func linked(text string) (out []string) {
	for _, m := range linkPattern.FindAllStringSubmatch(text, -1) {
		file, _, _ := strings.Cut(m[1], "#")
		out = append(out, strings.Replace(file, ".zh.md", ".md", 1))
	}
	slices.Sort(out)
	return out
}

// differentMark finds the first mark of a table of keys that only one page has.
func differentMark(english, chinese page) []string {
	e, c := keysMark.FindAllString(english.text, -1), keysMark.FindAllString(chinese.text, -1)
	for i := range max(len(e), len(c)) {
		switch {
		case i >= len(e):
			return []string{fmt.Sprintf("%s needs the mark %s, as %s has it", english.path, c[i], chinese.path)}
		case i >= len(c) || e[i] != c[i]:
			return []string{fmt.Sprintf("%s needs the mark %s, as %s has it", chinese.path, e[i], english.path)}
		}
	}
	return nil
}

// A cell is the first one of a row.
type cell struct{ at, text string }

// tables are the first cells of each table, without the line below its head.
func tables(p page) [][]cell {
	var out [][]cell
	inside := false
	i := -1
	for line := range strings.Lines(p.text) {
		i++
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
		first, _, _ := strings.Cut(row, "|")
		out[len(out)-1] = append(out[len(out)-1], cell{p.at(i), strings.TrimSpace(first)})
	}
	return out
}

// differentTables finds the first row of each table that only one page has.
func differentTables(english, chinese page) (out []string) {
	e, c := tables(english), tables(chinese)
	if len(e) != len(c) {
		return []string{fmt.Sprintf("%s has %d tables, %s has %d: one has more tables than the other", chinese.path, len(c), english.path, len(e))}
	}
	for i := range e {
		if d := differentRow(e[i], c[i]); d != "" {
			out = append(out, d)
		}
	}
	return out
}

var codeSpan = regexp.MustCompile("`[^`]*`")

// differentRow names the first row that only one of two tables has. Rows are known by the
// code in their first cell; a word in it that is translated, such as SERVICE, is not compared.
func differentRow(english, chinese []cell) string {
	for i := 1; i < min(len(english), len(chinese)); i++ { // the head of a table is words
		e, c := codeSpan.FindAllString(english[i].text, -1), codeSpan.FindAllString(chinese[i].text, -1)
		if len(e) != len(c) {
			return fmt.Sprintf("%s: the row %s and the row %s at %s differ: write the same code in the first column", chinese[i].at, chinese[i].text, english[i].text, english[i].at)
		}
		for k := range e {
			if isASCII(c[k]) && e[k] != c[k] {
				return fmt.Sprintf("%s: the row %s stands where %s is at %s: write the same rows in the same order", chinese[i].at, c[k], e[k], english[i].at)
			}
		}
	}
	if len(english) != len(chinese) {
		return fmt.Sprintf("%s: the table has %d rows, that at %s has %d: one has more rows than the other", chinese[0].at, len(chinese)-1, english[0].at, len(english)-1)
	}
	return ""
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 0x7f }) < 0
}

// differentCode finds the blocks of code that differ in more than comments.
func differentCode(english, chinese page) (out []string) {
	if len(english.fence) != len(chinese.fence) {
		return []string{fmt.Sprintf("%s has %d blocks of code, %s has %d: one has more blocks than the other", chinese.path, len(chinese.fence), english.path, len(english.fence))}
	}
	for i, e := range english.fence {
		if c := chinese.fence[i]; e.language != c.language || bare(e.code) != bare(c.code) {
			out = append(out, fmt.Sprintf("%s: the code differs from that at %s: copy it, and translate no more than its comments", c, e))
		}
	}
	return out
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
	const mark = "<!-- keys: Log -->\n"
	const table, code = "| 键 | |\n| --- | --- |\n| `x` | 十 |\n", "```sh\nrun # 现在\n```\n"
	english, _ := parsePage("a.md", "# A\n\n[zh](a.zh.md)\n\n## B\n\n"+mark+"| key | |\n| --- | --- |\n| `x` | ten |\n```sh\nrun # now\n```\n")
	const top = "# 甲\n\n[en](a.md)\n\n"
	for _, test := range []struct{ what, chinese string }{
		{"", top + "## 乙\n\n" + mark + table + code},
		{"a.zh.md:1: the page needs a link to a.md", "# 甲\n\n## 乙\n\n" + mark + table + code},
		{`a.zh.md:5: the heading "### 乙" stands where "## B" is at a.md:5`, top + "### 乙\n\n" + mark + table + code},
		{`a.zh.md:15: the other page ends before the heading "## 丙"`, top + "## 乙\n\n" + mark + table + code + "\n## 丙\n"},
		{`a.zh.md:5: "## 乙" has 5 paragraphs, items and rows, "## B" at a.md:5 has 4`, top + "## 乙\n\n" + mark + table + "\n完\n" + code},
		{"a.zh.md needs the mark <!-- keys: Log -->", top + "## 乙\n\n<!-- keys: Lag -->\n" + table + code},
		{"a.md:10: `x` is not in the Chinese text at a.zh.md:10", top + "## 乙\n\n" + mark + strings.Replace(table, "`x`", "x", 1) + code},
		{"a.zh.md:10: `z` is not in the English text at a.md:10", top + "## 乙\n\n" + mark + strings.Replace(table, "十", "`z`", 1) + code},
		{"a.zh.md:10: the links differ from those at a.md:10: [b.md] and []", top + "## 乙\n\n" + mark + strings.Replace(table, "十", "[十](b.zh.md#十)", 1) + code},
		{"more tables", top + "## 乙\n\n" + mark + code},
		{"a.zh.md:8: the table has 0 rows, that at a.md:8 has 1", top + "## 乙\n\n" + mark + "| 键 | |\n| --- | --- |\n" + code},
		{"a.zh.md:10: the row `y` stands where `x` is at a.md:10", top + "## 乙\n\n" + mark + strings.Replace(table, "x", "y", 1) + code},
		{"more blocks", top + "## 乙\n\n" + mark + table},
		{"a.zh.md:11: the code differs from that at a.md:11", top + "## 乙\n\n" + mark + table + strings.Replace(code, "run", "walk", 1)},
	} {
		chinese, _ := parsePage("a.zh.md", test.chinese)
		got := strings.Join(differences(english, chinese), "; ")
		if test.what == "" && got != "" || !strings.Contains(got, test.what) {
			t.Errorf("found %q, want %q", got, test.what)
		}
	}
}
