// A document in two languages is a pair, X.md and X.zh.md. What a machine can compare is
// compared (differences_test.go): headings, blocks of code, rows of tables, and the links from
// one to the other, so that a page that changes in one language only is noticed.
package docs

import (
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
			t.Errorf("%s. A change of one page belongs into both", difference)
		}
	}
}

// A reader of a page in Chinese stays in Chinese: its links lead to the Chinese page where there is one.
func TestLinksStayInTheLanguage(t *testing.T) {
	for _, pair := range pairs(t) {
		english, chinese := pair[0], pair[1]
		for _, l := range chinese.links() {
			file, _, _ := strings.Cut(l.to, "#")
			if file == filepath.Base(english.path) || filepath.Ext(file) != ".md" || strings.HasSuffix(file, ".zh.md") {
				continue
			}
			better := strings.TrimSuffix(file, ".md") + ".zh.md"
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(chinese.path), better)); err == nil {
				t.Errorf("%s: the link to %s should be one to %s", l.at, l.to, better)
			}
		}
		for _, l := range english.links() {
			if strings.Contains(l.to, ".zh.md#") {
				t.Errorf("%s: the link to %s leads to a section in Chinese: name the one in English", l.at, l.to)
			}
		}
	}
}

// What stands on a page in Chinese is in Chinese: a paragraph or a row that was copied from the
// page in English and not translated is noticed.
func TestPagesInChineseAreInChinese(t *testing.T) {
	word := regexp.MustCompile(`\b[A-Za-z]{2,}\b`)
	for _, pair := range pairs(t) {
		i := -1
		for line := range strings.Lines(pair[1].text) {
			i++
			words := word.FindAllString(codeSpan.ReplaceAllString(linkPattern.ReplaceAllString(line, ""), ""), -1)
			if isASCII(line) && len(words) > 5 && !strings.HasPrefix(line, "<!--") {
				t.Errorf("%s is in English: translate it", pair[1].at(i))
			}
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
