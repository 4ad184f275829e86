package main

// Completion of flags in a shell. Words come from the configuration model, the one place that
// lists them.

import (
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/cmd/poise/internal/serve"
	"github.com/poise-lb/poise/config"
)

func engines() []string { return serve.Engines() }

// policies reads the names off the configuration model, the one place they are in.
func policies() []string {
	field, _ := reflect.TypeFor[config.Policy]().FieldByName("Type")
	return strings.Split(field.Tag.Get("enum"), ",")
}

// completeFile and completeWords tell the shell what a flag may be; a flag that does not
// exist is a mistake of ours that the tests find.
func completeFile(c *cobra.Command) {
	if err := c.MarkFlagFilename("config", "yaml", "yml", "json"); err != nil {
		panic(err)
	}
}

func completeWords(c *cobra.Command, flag string, words []string) {
	complete := cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
	if err := c.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err)
	}
}
