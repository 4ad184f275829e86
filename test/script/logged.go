package script

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/record"
)

// logged plays TEXT: it waits for the oldest line of the access log that was not asked about yet,
// and demands that it contains TEXT.
func (p *play) logged(words []string) error {
	if len(words) != 1 {
		return errors.New("want: logged TEXT")
	}
	if p.log == nil {
		return errors.New("the stage has no access log")
	}
	var line string
	if !sleepUntil(p.stage, p.patience, func() (found bool) {
		line, _, found = strings.Cut(p.log.text()[p.logRead:], "\n")
		return found
	}) {
		return errors.New("no further line is in the access log")
	}
	p.logRead += len(line) + 1
	if !strings.Contains(line, words[0]) {
		return fmt.Errorf("the line is %s", line)
	}
	return nil
}

// A logReader has what was written to the access log so far.
type logReader interface{ text() string }

// fileLog is the file of that name.
type fileLog string

func (f fileLog) text() string {
	b, _ := os.ReadFile(string(f)) // there is none before the first line
	return string(b)
}

// ringLog is what a proxy without a file leaves in its rings.
type ringLog struct {
	conf    config.AccessLog
	rings   []*record.Sink
	written bytes.Buffer
}

// open is the Sink of core.Options.
func (r *ringLog) open(c config.AccessLog) *record.Sink {
	if c.Path == "" {
		return nil
	}
	last := len(r.rings) - 1
	if last >= 0 && reflect.DeepEqual(r.conf, c) {
		return r.rings[last]
	}
	next := record.NewSink(c.Buffer)
	next.Format = record.Compile(c)
	if last >= 0 {
		r.rings[last].ReplaceBy(next)
	}
	r.conf, r.rings = c, append(r.rings, next)
	return next
}

func (r *ringLog) text() string {
	for _, ring := range r.rings {
		ring.Drain(&r.written)
	}
	return r.written.String()
}
