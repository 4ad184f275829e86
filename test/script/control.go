package script

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// apply plays FILE [refused TEXT].
func (p *play) apply(words []string) error {
	if len(words) != 1 && !(len(words) == 3 && words[1] == "refused") {
		return errors.New("want: apply FILE [refused TEXT]")
	}
	cfg, err := p.config(words[0])
	if err == nil {
		err = p.proxy.Apply(cfg)
	}
	if len(words) == 1 {
		return err
	}
	if err == nil || !strings.Contains(err.Error(), words[2]) {
		return fmt.Errorf("it said: %v", err)
	}
	return nil
}

// operate plays KIND NAME, or weight N NAME: what an operator says of an endpoint.
func (p *play) operate(words []string) (err error) {
	weight := 0.0
	if len(words) == 3 && words[0] == "weight" {
		weight, err = strconv.ParseFloat(words[1], 64)
		words = []string{words[0], words[2]}
	}
	if err != nil || len(words) != 2 || (words[0] == "weight") != (weight > 0) {
		return errors.New("want: operator drain | undrain | eject | admit | weight N, and the name of an endpoint")
	}
	name := words[1]
	if bound, ok := p.variables[name]; ok {
		name = bound
	}
	e := p.endpoints[name]
	if e == nil {
		return fmt.Errorf("no configuration speaks of it: endpoint %s", name)
	}
	return p.proxy.Operate(words[0], e.address, weight)
}

// status plays TEXT: what one of the services knows contains it, now or soon.
func (p *play) status(words []string) error {
	if len(words) != 1 {
		return errors.New("want: status TEXT")
	}
	var said []string
	if sleepUntil(p.stage, p.patience, func() bool {
		said = p.proxy.Status()
		return slices.ContainsFunc(said, func(line string) bool { return strings.Contains(line, words[0]) })
	}) {
		return nil
	}
	return fmt.Errorf("it says: %s", strings.Join(said, "; "))
}

// statusLine is what a service knows of its shadow and of load reports, as in
//
//	web: shadow p2c, 8 picks, 5 agreed; reports: 3 taken, 1 refused
//
// Without a shadow its name is empty.
func statusLine(service, shadow string, picks, agreed, taken, refused uint64) string {
	return fmt.Sprintf("%s: shadow %s, %d picks, %d agreed; reports: %d taken, %d refused", service, shadow, picks, agreed, taken, refused)
}

// shortage plays begins or ends: whether the proxy lacks descriptors for new connections to
// endpoints. Only a stage that can take them away plays it.
func (p *play) shortage(words []string) error {
	if len(words) != 1 || words[0] != "begins" && words[0] != "ends" {
		return errors.New("want: shortage begins | ends")
	}
	s, can := p.stage.(interface{ Shortage(bool) })
	if !can {
		return errors.New("only virtual can: say so in a line \"only:\"")
	}
	s.Shortage(words[0] == "begins")
	return nil
}

// startDrain closes the proxy on a task of its own.
func (p *play) startDrain(words []string) error {
	d, err := parseDuration(words)
	if err != nil {
		return err
	}
	drained := &drain{done: make(chan struct{})}
	p.drained = drained
	p.stage.Go("drain", func() {
		drained.err = p.proxy.Close(p.stage.Now() + d)
		close(drained.done)
	})
	p.stage.Sleep(time.Millisecond) // so that the next statement finds it begun
	return nil
}

func (p *play) awaitDrain() error {
	if p.drained == nil {
		return errors.New("no drain began")
	}
	isOver := func() bool {
		select {
		case <-p.drained.done:
			return true
		default:
			return false
		}
	}
	if !sleepUntil(p.stage, p.patience, isOver) {
		return errors.New("the drain does not end")
	}
	return p.drained.err
}
