package script

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// saw asks for the oldest request the endpoint got and the script has not asked for yet.
func (p *play) saw(e *endpointActor, words []string) error {
	if len(words) == 1 && words[0] == "nothing" {
		if m := e.take(); m != nil {
			return fmt.Errorf("it saw %v", m)
		}
		return nil
	}
	if len(words) == 1 && words[0] == "hangup" {
		if !sleepUntil(p.stage, p.patience, e.takeHangup) {
			return errors.New("it did not")
		}
		return nil
	}
	if len(words) < 2 {
		return errors.New("want: nothing, hangup, or a method and a target")
	}
	o, err := parseOptions(words[2:])
	if err != nil {
		return err
	}
	var m *message
	if !sleepUntil(p.stage, p.patience, func() bool { m = e.take(); return m != nil }) {
		return errors.New("it saw no request")
	}
	if want := words[0] + " " + words[1] + " HTTP/1.1"; m.start != want {
		return fmt.Errorf("it saw %q, want %q", m.start, want)
	}
	if o.host != "example.com" {
		o.fields = append(o.fields, field{"Host", o.host})
	}
	if err := m.match(o); err != nil {
		return fmt.Errorf("%w, in:\n%v", err, m)
	}
	return nil
}

func (e *endpointActor) takeHangup() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hangups == 0 {
		return false
	}
	e.hangups--
	return true
}

func (e *endpointActor) takeCount() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.seen)
	e.seen = nil
	return n
}

func (e *endpointActor) takeConnections() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.accepted
	e.accepted = 0
	return n
}

// counts checks NAME=N or NAME=MIN..MAX for several endpoints, and starts counting anew.
func (p *play) counts(words []string, take func(*endpointActor) int) error {
	var wrong []string
	for _, word := range words {
		name, want, _ := strings.Cut(word, "=")
		if bound, ok := p.variables[name]; ok {
			name = bound
		}
		low, high, isRange := strings.Cut(want, "..")
		if !isRange {
			high = low
		}
		least, err1 := strconv.Atoi(low)
		most, err2 := strconv.Atoi(high)
		e := p.endpoints[name]
		if e == nil || err1 != nil || err2 != nil {
			return fmt.Errorf("%s: want NAME=N or NAME=MIN..MAX", word)
		}
		if got := take(e); got < least || got > most {
			wrong = append(wrong, fmt.Sprintf("%s=%d", name, got))
		}
	}
	if wrong != nil {
		return fmt.Errorf("got %s", strings.Join(wrong, " "))
	}
	return nil
}

// answeredBy checks which endpoint answered. A $variable takes the first value it meets.
func (p *play) answeredBy(m *message, o options) error {
	by := strings.Join(m.get(endpointField), ",")
	want := o.from
	if strings.HasPrefix(want, "$") {
		if p.variables[want] == "" {
			p.variables[want] = by
		}
		want = p.variables[want]
	}
	if want != "" && by != want {
		return fmt.Errorf("endpoint %q answered, want %s", by, want)
	}
	if o.notFrom != "" && (by == "" || by == o.notFrom || by == p.variables[o.notFrom]) {
		return fmt.Errorf("endpoint %q answered", by)
	}
	return nil
}
