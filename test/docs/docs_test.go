package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// root is the folder of the repository, from here.
const root = "../.."

// A page is one Markdown document.
type page struct {
	path  string // from the root, with slashes
	text  string // without its fences
	line  []int  // where each line of text stands in the file
	fence []fence
}

// at is the place of a line of the text, as editors open it; i counts from 0.
func (p page) at(i int) string { return fmt.Sprintf("%s:%d", p.path, p.line[i]) }

// A fence is a block of code.
type fence struct {
	page     string
	line     int
	language string
	code     string
}

func (f fence) String() string { return fmt.Sprintf("%s:%d", f.page, f.line) }

// pages reads every Markdown document of the repository.
func pages(t *testing.T) []page {
	t.Helper()
	var out []page
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != root) {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".md" {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		out = append(out, readPage(t, filepath.ToSlash(rel)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 12 {
		t.Fatalf("only %d documents found", len(out))
	}
	return out
}

func readPage(t *testing.T, path string) page {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	p, open := parsePage(path, string(data))
	if open {
		t.Errorf("%s: a fence is not closed", p.fence[len(p.fence)-1])
	}
	return p
}

// parsePage divides a page into its text and its fences; open: the last fence is not closed.
func parsePage(path, data string) (p page, open bool) {
	p.path = path
	var text strings.Builder
	for i, line := range strings.Split(data, "\n") {
		mark, isMark := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isMark && !open:
			open = true
			p.fence = append(p.fence, fence{page: path, line: i + 1, language: mark})
		case isMark:
			open = false
		case open:
			p.fence[len(p.fence)-1].code += line + "\n"
		default:
			text.WriteString(line + "\n")
			p.line = append(p.line, i+1)
		}
	}
	p.text = text.String()
	return p, open
}

var linkPattern = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// A link of a page.
type link struct{ at, to string }

func (p page) links() []link {
	var out []link
	i := -1
	for line := range strings.Lines(p.text) {
		i++
		for _, m := range linkPattern.FindAllStringSubmatch(line, -1) {
			out = append(out, link{p.at(i), m[1]})
		}
	}
	return out
}

func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	for _, p := range pages(t) {
		for _, l := range p.links() {
			if strings.Contains(l.to, "://") || strings.HasPrefix(l.to, "mailto:") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(l.to, "#")
			target := p.path
			if file != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(p.path), file))
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", l.at, l.to)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(readPage(t, target).text), anchor) {
				t.Errorf("%s: %s has no heading for #%s", l.at, target, anchor)
			}
		}
	}
	if links < 40 {
		t.Errorf("only %d links found", links)
	}
}

var headingPattern = regexp.MustCompile(`(?m)^#+ (.*)$`)

// anchors are the names of headings as links use them. GitHub leaves out punctuation, that of
// Chinese too: the heading 位置（places） is #位置places.
func anchors(text string) []string {
	var out []string
	for _, m := range headingPattern.FindAllStringSubmatch(text, -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Pc):
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		out = append(out, name)
	}
	return out
}

func TestAnchorsAreThoseOfGitHub(t *testing.T) {
	text := "# HTTP/2 to endpoints\n\n## `fail`, `answer`\n\n## 链路追踪与请求 ID\n\n## 位置（places）\n"
	want := []string{"http2-to-endpoints", "fail-answer", "链路追踪与请求-id", "位置places"}
	if got := anchors(text); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Both READMEs show the same commands, code and figures.
func TestTheReadmesAgree(t *testing.T) {
	english, chinese := readPage(t, "README.md"), readPage(t, "README.zh.md")
	if len(english.fence) != len(chinese.fence) {
		t.Fatalf("%d blocks of code in English, %d in Chinese", len(english.fence), len(chinese.fence))
	}
	for i, e := range english.fence {
		if c := chinese.fence[i]; c.code != e.code || c.language != e.language {
			t.Errorf("%s and %s differ", e, c)
		}
	}
	number := regexp.MustCompile(`[0-9][0-9.]*`)
	for _, name := range []string{"bench", "quality"} {
		e := number.FindAllString(figures(t, english, name), -1)
		c := number.FindAllString(figures(t, chinese, name), -1)
		if !slices.Equal(e, c) || len(e) < 4 {
			t.Errorf("figures of %s: %v in English, %v in Chinese", name, e, c)
		}
	}
	if n := len(strings.Split(english.text, "\n")); n > 200 {
		t.Errorf("README.md has %d lines beside its code: more than anybody reads", n)
	}
}

// figures is the table of that name, between its two marks.
func figures(t *testing.T, p page, name string) string {
	t.Helper()
	_, after, found := strings.Cut(p.text, "<!-- figures: "+name+" -->")
	table, _, ended := strings.Cut(after, "<!-- end of figures -->")
	if !found || !ended {
		t.Fatalf("%s: no place for the figures of %s", p.path, name)
	}
	return table
}

// The index of decisions names every decision, and a decision says what would reverse it.
func TestDecisionsAreInTheirIndex(t *testing.T) {
	index := readPage(t, "docs/decisions/README.md").text
	files, err := filepath.Glob(filepath.Join(root, "docs/decisions/[0-9]*.md"))
	if err != nil || len(files) < 7 {
		t.Fatalf("%d decisions, %v", len(files), err)
	}
	numbers := make(map[string]string)
	for _, file := range files {
		name := filepath.Base(file)
		if !strings.Contains(index, "("+name+")") {
			t.Errorf("docs/decisions/README.md does not name %s", name)
		}
		if other := numbers[name[:4]]; other != "" {
			t.Errorf("%s and %s have the same number", name, other)
		}
		numbers[name[:4]] = name
		text := readPage(t, "docs/decisions/"+name).text
		if !strings.HasPrefix(text, "# "+name[:4]+": ") {
			t.Errorf("%s: the title does not begin with its number", name)
		}
		if !strings.Contains(text, "would reverse") {
			t.Errorf("%s does not say what would reverse it", name)
		}
	}
}

var mention = regexp.MustCompile(`\b(docs/[a-z0-9/-]+\.md)\b`)

// What comments in the code say of documents leads somewhere, too.
func TestCommentsNameDocumentsThatExist(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range mention.FindAllString(string(data), -1) {
			if _, err := os.Stat(filepath.Join(root, m)); err != nil {
				t.Errorf("%s names %s, which does not exist", path, m)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
