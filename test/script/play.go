package script

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/poise-lb/poise/config"
)

// A proxy is what a script tests, however it is run.
type proxy interface {
	Apply(cfg config.Config) error
	Close(by time.Duration) error // by is on the stage's clock
	// Operate has an operator say something about the endpoint at an address, in all services:
	// drain, undrain, eject, admit, or weight with the weight.
	Operate(kind, address string, weight float64) error
	// Status says in words what the services know of shadows and load reports: see statusLine.
	Status() []string
}

// A play is one run of one script.
type play struct {
	name     string
	archive  archive
	stage    stage
	patience time.Duration // for what has to come
	connect  time.Duration // to connect to an endpoint; 0: as the configuration says
	http2    bool          // clients speak HTTP/2
	h2c      bool          // endpoints speak HTTP/2
	// open starts the proxy and says where clients connect.
	open func(config.Config) (proxy, string, error)
	// parse reads a configuration.
	parse func(name string, data []byte) (config.Config, error)

	// log reads the access log; nil: there is none. logFile is where it is; empty: not in a file.
	log     logReader
	logFile string
	logRead int // bytes that logged has looked at

	// spans has what was traced.
	spans     *spanLog
	spansRead int // bytes that traced has looked at

	entrance  string
	endpoints map[string]*endpointActor
	clients   map[string]*client
	variables map[string]string
	jars      map[string]jar // by the name that scripts give them
	proxy     proxy
	drained   *drain
	over      bool // the script has been played; what follows only takes the stage down
}

// drain is the outcome of a Close in progress. A task writes it, the script polls.
type drain struct {
	done chan struct{}
	err  error
}

var reference = regexp.MustCompile(`\$\{([a-z][a-z0-9_]*)\}`)

// run plays the script to its end, or to the first expectation that fails, and takes the
// stage down again.
func (p *play) run() (err error) {
	p.proxy, p.drained, p.over, p.logRead = nil, nil, false, 0
	p.spans, p.spansRead = new(spanLog), 0
	p.endpoints, p.clients, p.variables = map[string]*endpointActor{}, map[string]*client{}, map[string]string{}
	p.jars = nil
	script, ok := p.archive.get("script")
	if !ok {
		return fmt.Errorf("%s: no file named script", p.name)
	}
	statements, err := parseScript(script.data, script.line)
	if err != nil {
		return fmt.Errorf("%s:%w", p.name, err)
	}
	defer func() { err = errors.Join(err, p.strike()) }()
	if err := p.prepare(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	for _, s := range statements {
		if err := p.do(s); err != nil {
			return fmt.Errorf("%s:%w", p.name, err)
		}
	}
	return nil
}

// prepare starts the endpoints the configuration speaks of, and the proxy.
func (p *play) prepare() error {
	for _, f := range p.archive.files {
		for _, m := range reference.FindAllStringSubmatch(f.data, -1) {
			if p.endpoints[m[1]] != nil {
				continue
			}
			e, err := newEndpoint(p.stage, m[1], p.h2c)
			if err != nil {
				return err
			}
			p.endpoints[m[1]] = e
		}
	}
	cfg, err := p.config("poise.yaml")
	if err != nil {
		return err
	}
	p.proxy, p.entrance, err = p.open(cfg)
	return err
}

// scheme is that of endpoints' addresses.
func (p *play) scheme() string {
	if p.h2c {
		return "h2c"
	}
	return "http"
}

// config reads a configuration of the archive, with ${name} replaced by the URL of that
// endpoint.
func (p *play) config(name string) (config.Config, error) {
	f, ok := p.archive.get(name)
	if !ok {
		return config.Config{}, fmt.Errorf("no file named %s", name)
	}
	data := reference.ReplaceAllStringFunc(f.data, func(ref string) string {
		return p.scheme() + "://" + p.endpoints[ref[2:len(ref)-1]].address
	})
	c, err := p.parse(name, []byte(data))
	if c.AccessLog.Path != "" && p.logFile != "" {
		c.AccessLog.Path = p.logFile
	}
	for name, s := range c.Services {
		if p.connect > 0 {
			s.Connections.ConnectTimeout = p.connect
			c.Services[name] = s
		}
	}
	if f, ok := p.archive.get("filters"); ok && err == nil {
		err = addFilters(&c, f.data)
	}
	return c, err
}

// strike ends all that is left, clients first: then nothing keeps the proxy. They reset their connections,
// since one that is closed in good order may still wait for a response of an endpoint that hangs.
func (p *play) strike() error {
	for _, name := range slices.Sorted(maps.Keys(p.clients)) {
		p.clients[name].leave((*wire).Abort)
	}
	p.over = true
	var err error
	if p.drained != nil {
		err = p.awaitDrain()
	} else if p.proxy != nil {
		err = p.proxy.Close(p.stage.Now() + p.patience)
	}
	for _, name := range slices.Sorted(maps.Keys(p.endpoints)) {
		p.endpoints[name].stop(true)
	}
	if err != nil {
		return fmt.Errorf("%s: closing the proxy: %w", p.name, err)
	}
	return nil
}

// do plays one statement. Its error begins with the line.
func (p *play) do(s statement) error {
	if s.words[0] == "client" {
		return p.doClient(s)
	}
	if err := p.doOther(s); err != nil {
		return fmt.Errorf("%d: %s: %w", s.line, s, err)
	}
	return nil
}

func (p *play) doOther(s statement) error {
	word, rest := s.words[0], s.words[1:]
	if word != "endpoint" && len(s.steps) > 0 {
		return errors.New("only endpoint and client have indented lines")
	}
	switch word {
	case "endpoint":
		return p.doEndpoint(s)
	case "wait":
		d, err := parseDuration(rest)
		p.stage.Sleep(d)
		return err
	case "apply":
		return p.apply(rest)
	case "logged":
		return p.logged(rest)
	case "traced":
		return p.traced(rest)
	case "counts":
		return p.counts(rest, (*endpointActor).takeCount)
	case "operator":
		return p.operate(rest)
	case "status":
		return p.status(rest)
	case "shortage":
		return p.shortage(rest)
	case "connections":
		return p.counts(rest, (*endpointActor).takeConnections)
	case "drain":
		return p.startDrain(rest)
	case "drained":
		return p.awaitDrain()
	case "draining":
		select {
		case <-p.drained.done:
			return errors.New("the drain is over")
		default:
			return nil
		}
	}
	return p.request(s.words)
}

func (p *play) doClient(s statement) error {
	if len(s.words) < 2 {
		return fmt.Errorf("%d: a client needs a name", s.line)
	}
	name := s.words[1]
	c := p.clients[name]
	if c == nil {
		c = &client{play: p}
		p.clients[name] = c
	}
	if len(s.words) == 4 && s.words[2] == "at" {
		c.at = s.words[3]
	} else if len(s.words) != 2 {
		return fmt.Errorf("%d: %s: want: client NAME [at ADDRESS]", s.line, s)
	}
	for _, step := range s.steps {
		if err := c.do(step.words); err != nil {
			return fmt.Errorf("%d: client %s: %s: %w", step.line, name, step, err)
		}
	}
	return nil
}

func (p *play) doEndpoint(s statement) error {
	if len(s.words) < 2 {
		return errors.New("which one?")
	}
	name := s.words[1]
	if bound, ok := p.variables[name]; ok {
		name = bound
	}
	e := p.endpoints[name]
	if e == nil {
		return errors.New("no configuration speaks of it")
	}
	if len(s.words) > 2 && s.words[2] == "saw" {
		return p.saw(e, s.words[3:])
	}
	return e.behave(s.line, s.words[2:], s.steps)
}

// request plays [N times | within D] METHOD TARGET options -> STATUS options: one
// request on a connection of its own.
func (p *play) request(words []string) error {
	times, within := 1, time.Duration(0)
	var err error
	switch {
	case len(words) > 2 && words[1] == "times":
		times, err = strconv.Atoi(words[0])
		words = words[2:]
	case len(words) > 2 && words[0] == "within":
		within, err = time.ParseDuration(words[1])
		words = words[2:]
	}
	arrow := -1
	for i, word := range words {
		if word == "->" {
			arrow = i
			break
		}
	}
	if err != nil || arrow < 2 || arrow == len(words)-1 {
		return errors.New("no such statement")
	}
	sent, want := words[:arrow], words[arrow+1:]
	o, err := parseOptions(sent[2:])
	if err != nil {
		return err
	}
	if within > 0 {
		sleepUntil(p.stage, within, func() bool { err = p.once(o.at, sent, want); return err == nil })
		return err
	}
	for i := range times {
		if err := p.once(o.at, sent, want); err != nil {
			return fmt.Errorf("request %d of %d: %w", i+1, times, err)
		}
	}
	return nil
}

func (p *play) once(at string, sent, want []string) error {
	c := &client{play: p, at: at}
	defer c.leave((*wire).hangUp)
	if err := c.do(append([]string{"send"}, sent...)); err != nil {
		return err
	}
	if err := c.do(append([]string{"expect"}, want...)); err != nil {
		return err
	}
	if slices.Contains(sent, "Connection: close") {
		// Its end comes after the proxy's accounts of the exchange are settled.
		return c.do([]string{"expect", "closed"})
	}
	return nil
}
