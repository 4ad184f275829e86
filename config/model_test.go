package config_test

import (
	"testing"
	"time"

	"github.com/poise-lb/poise/config"
)

type toy struct {
	Kind string        `yaml:"kind" doc:"what" enum:"red,green" default:"red"`
	Many int           `yaml:"many" doc:"how many" default:"3" max:"9"`
	Wait time.Duration `yaml:"wait" doc:"how long" min:"1ms"`
	List []toy         `yaml:"list" doc:"more"`
}

// Fill and Check do for any tagged struct what a Config has.
func TestFillAndCheck(t *testing.T) {
	full := config.Fill(toy{List: []toy{{Many: 10}}})
	if full.Kind != "red" || full.Many != 3 || full.Wait != 0 || full.List[0].Kind != "red" {
		t.Errorf("%+v", full)
	}
	problems := config.Check(full)
	if len(problems) != 1 || problems[0].String() != "list[0].many: 10 is more than 9" {
		t.Errorf("%v", problems)
	}
	problems = config.Check(config.Fill(toy{Kind: "gren", Wait: time.Microsecond}))
	if len(problems) != 2 || problems[0].Near != "green" || problems[1].Path != "wait" {
		t.Errorf("%v", problems)
	}
}
