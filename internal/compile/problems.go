package compile

import (
	"errors"
	"fmt"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/rewrite"
	"github.com/poise-lb/poise/internal/route"
)

// What packages report that know nothing of the configuration becomes problems with the path
// of what they were given.

// problemsOf gives errors of compiled parts the path of what they were compiled from.
func problemsOf(at string, err error) []config.Problem {
	var known interface{ Problems() []config.Problem }
	var joined interface{ Unwrap() []error }
	var edit *rewrite.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known.Problems()
	case errors.As(err, &joined):
		var out []config.Problem
		for _, e := range joined.Unwrap() {
			out = append(out, problemsOf(at, e)...)
		}
		return out
	case errors.As(err, &edit):
		return []config.Problem{{Path: at + "." + edit.Field, Message: edit.Reason}}
	}
	return []config.Problem{{Path: at, Message: err.Error()}}
}

func patternProblem(i int, err error) []config.Problem {
	var bad *route.SyntaxError
	if !errors.As(err, &bad) {
		return nil
	}
	at := config.Index("routes", i) + ".match." + bad.Field
	return []config.Problem{{Path: at, Value: bad.Value, Message: fmt.Sprintf("%q: %s", bad.Value, bad.Reason)}}
}

func conflictProblem(err error) []config.Problem {
	var c *route.ConflictError
	if !errors.As(err, &c) {
		return []config.Problem{{Path: "routes", Message: err.Error()}}
	}
	return []config.Problem{{Path: config.Index("routes", c.J) + ".match",
		Message: fmt.Sprintf("matches exactly what routes[%d] matches", c.I)}}
}
