package configfile

// Regular expressions in health.match. They are compiled here, so that a program without
// configuration files does not link package regexp.

import (
	"regexp"

	"github.com/poise-lb/poise/config"
)

// compileExpressions sets Health.MatchFunc where Health.Match is a regular expression.
func (d *decoder) compileExpressions(c *config.Config) {
	for name, s := range c.Services {
		d.compileExpression(config.Key("services", name), s.Health)
	}
	for name, s := range c.Discover {
		d.compileExpression(config.Key("discover", name), s.Health)
	}
}

// compileExpression does so for the health check at path; h may be nil.
func (d *decoder) compileExpression(path string, h *config.Health) {
	if h == nil {
		return
	}
	expression, ok := h.Expression()
	if !ok {
		return
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		at := config.Key(config.Key(path, "health"), "match")
		d.fail(at, d.places[at], "not a regular expression: %v", err)
		return
	}
	h.MatchFunc = re.Match
}
