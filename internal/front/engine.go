package front

import (
	"slices"
	"strconv"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/internal/nearest"
)

// The words of Config.Engine.
const (
	engineAuto      = "auto"
	engineLoop      = "loop"
	engineGoroutine = "goroutine"
)

// Engines are the words that Config.Engine may have on this system, the one that "auto"
// stands for first.
func Engines() []string {
	if hasLoops {
		return []string{engineLoop, engineGoroutine}
	}
	return []string{engineGoroutine}
}

func checkEngine(name string, workers int) error {
	if workers < 0 {
		return config.NewErrors(config.Problem{Path: "workers", Value: strconv.Itoa(workers), Message: "it is 0 or more"})
	}
	words := append(Engines(), engineAuto)
	if name == "" || slices.Contains(words, name) {
		return nil
	}
	return config.NewErrors(config.Problem{
		Path: "engine", Value: name, Near: nearest.Word(name, words),
		Message: "there is no such engine on this system",
	})
}
