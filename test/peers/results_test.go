//go:build linux

package peers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/poise-lb/poise/test/peers/stage"
)

// results are what has been measured: results.json, from which page and picture are made.
type results struct {
	Machine   machine
	Versions  map[string]string  `json:",omitempty"` // by peer
	Skipped   map[string]string  `json:",omitempty"` // peers that could not be had, and why
	Scenarios map[string]outcome // by name
}

// outcome is what came of a scenario.
type outcome struct {
	Date   string
	Rounds int
	Turns  map[string]map[string][]turn // by variant and peer, in order
}

// A turn is one measurement.
type turn struct {
	stage.Result
	Rate  float64 `json:",omitempty"` // of requests, in an open loop
	Bytes float64 `json:",omitempty"` // of memory, per connection
}

// machine is where it was measured.
type machine struct {
	Processor, Kernel, System, Go string
	Cores                         int
}

// read reads a file of results; one that is not there is empty.
func read(path string) (r results, err error) {
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if r.Scenarios == nil {
		r.Scenarios = make(map[string]outcome)
	}
	return r, err
}

// write has a line for each peer of a variant, so that two runs can be compared.
func (r results) write(path string) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	deep := 0
	for line := range bytes.Lines(data) {
		text := bytes.TrimSpace(line)
		if bytes.HasSuffix(text, []byte("[")) {
			deep++
			b.Write(bytes.TrimRight(line, "\n"))
			continue
		}
		if deep > 0 && bytes.HasPrefix(text, []byte("]")) {
			deep--
			b.Write(append(text, '\n'))
			continue
		}
		if deep > 0 {
			b.Write(text)
			continue
		}
		b.Write(line)
	}
	return os.WriteFile(path, append(b.Bytes(), '\n'), 0o644)
}

// requestsMin is how many requests a turn has that counts: with fewer the machine was
// busy with something else.
const requestsMin = 50

// A figure is one number of many turns.
type figure struct {
	of   func(turn) float64
	best func([]float64) float64
}

func least(all []float64) float64 { return slices.Min(all) }
func most(all []float64) float64  { return slices.Max(all) }

func median(all []float64) float64 {
	all = slices.Clone(all)
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// Noise only ever adds to cost, so the least counts; of quantiles, which are made of the
// same noise, the one in the middle.
var (
	cost    = figure{func(t turn) float64 { return micros(t.CPU) / float64(t.Requests) }, least}
	rate    = figure{func(t turn) float64 { return float64(t.Requests) / t.Elapsed.Seconds() }, most}
	offered = figure{func(t turn) float64 { return t.Rate }, median}
	p50     = figure{func(t turn) float64 { return micros(t.P50) }, median}
	p99     = figure{func(t turn) float64 { return micros(t.P99) }, median}
	p999    = figure{func(t turn) float64 { return micros(t.P999) }, median}
	late    = figure{func(t turn) float64 { return micros(t.Late) }, median}
	memory  = figure{func(t turn) float64 { return t.Bytes }, least}
	content = figure{func(t turn) float64 { return float64(t.Content) / t.Elapsed.Seconds() / 1e6 }, median}
	busy    = figure{func(t turn) float64 { return 100 * float64(t.CPU) / float64(t.Elapsed) }, most}
)

func micros(d time.Duration) float64 { return float64(d) / 1e3 }

// value is a figure of a peer; false if there is none.
func (o outcome) value(variant, peer string, f figure) (float64, bool) {
	var all []float64
	for _, t := range o.Turns[variant][peer] {
		if t.Errors == 0 && t.Error == "" && (t.Requests >= requestsMin || t.Held > 0) {
			all = append(all, f.of(t))
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	return f.best(all), true
}

// failure is the first thing that went wrong with a peer, if nothing went well.
func (o outcome) failure(variant, peer string) string {
	turns := o.Turns[variant][peer]
	why := ""
	for _, t := range turns {
		if t.Error == "" && t.Errors == 0 {
			return ""
		}
		why = cmp.Or(why, t.Error)
	}
	return why
}

func (o *outcome) add(variant, peer string, t turn) {
	if o.Turns == nil {
		o.Turns = make(map[string]map[string][]turn)
	}
	if o.Turns[variant] == nil {
		o.Turns[variant] = make(map[string][]turn)
	}
	o.Turns[variant][peer] = append(o.Turns[variant][peer], t)
}
