package script

import (
	"fmt"
	"strings"
)

// An archive is a txtar file: a comment, then files that begin with a line "-- name --".
type archive struct {
	comment string
	files   []file
}

type file struct {
	name string
	line int // of its first line of content, from 1, for messages
	data string
}

func parseArchive(text string) (archive, error) {
	var a archive
	body := &a.comment
	line := 0
	for l := range strings.Lines(text) {
		line++
		name, ok := strings.CutPrefix(strings.TrimRight(l, "\r\n"), "-- ")
		if ok {
			name, ok = strings.CutSuffix(name, " --")
		}
		if !ok {
			*body += l
			continue
		}
		if _, twice := a.get(name); twice {
			return a, fmt.Errorf("%d: file %s is there twice", line, name)
		}
		a.files = append(a.files, file{name: name, line: line + 1})
		body = &a.files[len(a.files)-1].data
	}
	return a, nil
}

func (a *archive) get(name string) (file, bool) {
	for _, f := range a.files {
		if f.name == name {
			return f, true
		}
	}
	return file{}, false
}
