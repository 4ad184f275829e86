// The documents show commands. Each of them exists and has the flags that it is given.
package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestCommandsOfThePages(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/discovery/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) < 5 {
			t.Fatalf("%s: %d pages, %v", pattern, len(found), err)
		}
		pages = append(pages, found...)
	}
	commands := 0
	for _, page := range pages {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range commandLines(string(data)) {
			commands++
			if err := parses(line); err != nil {
				t.Errorf("%s: poise %s: %v", page, strings.Join(line, " "), err)
			}
		}
	}
	if commands < 60 {
		t.Errorf("only %d commands found", commands)
	}
}

// parses says why a command line without its program is none of poise's; nil: it is one.
func parses(args []string) error {
	root := newRoot(streams{})
	found, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if found == root {
		return errors.New("no such command")
	}
	return found.ParseFlags(rest)
}

var (
	anyFence  = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```")
	program   = regexp.MustCompile(`^(\$ )?((?:\./|bin/|go run \./cmd/)?poise) (.*)$`)
	aComment  = regexp.MustCompile(`\s#.*$`)
	shellWord = regexp.MustCompile(`'([^']*)'|"([^"]*)"|(\S+)`)
)

// commandLines are the arguments of poise in a page's blocks of shell. In a block without a
// language, which shows output as well, a command begins with a dollar sign or with bin/.
func commandLines(page string) [][]string {
	var out [][]string
	for _, fence := range anyFence.FindAllStringSubmatch(page, -1) {
		for line := range strings.Lines(fence[2]) {
			m := program.FindStringSubmatch(strings.TrimRight(line, "\n"))
			if m == nil || fence[1] != "sh" && (fence[1] != "" || m[1] == "" && m[2] == "poise") {
				continue
			}
			var words []string
			for _, word := range shellWord.FindAllStringSubmatch(aComment.ReplaceAllString(m[3], ""), -1) {
				words = append(words, word[1]+word[2]+word[3])
			}
			out = append(out, words)
		}
	}
	return out
}

// A command or a flag that does not exist is found, in each form that pages use.
func TestWrongCommandsOfPagesAreFound(t *testing.T) {
	page := "```sh\npoise chekc -c x   # look\n```\n\n```\n$ poise run --konfig x\nbin/poise ctl drain a --fro 3m --why \"a b\"\npoise v1.0.0, up\n```\n\n```text\npoise: ready\n```\n"
	lines := commandLines(page)
	if len(lines) != 3 {
		t.Fatalf("%d commands found: %q", len(lines), lines)
	}
	for _, line := range lines {
		if parses(line) == nil {
			t.Errorf("%q is accepted", line)
		}
	}
}
