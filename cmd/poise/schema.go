package main

// poise schema: prints the JSON Schema of the configuration file.

import (
	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/configfile"
)

func newSchema(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration file",
		Long: `Print the JSON Schema (2020-12) of the configuration file, for editors that
complete and check as you type.`,
		Example: `  poise schema > poise.schema.json
  # first line of poise.yaml, for editors with a YAML language server:
  # yaml-language-server: $schema=poise.schema.json`,
		RunE: func(*cobra.Command, []string) error {
			_, err := s.stdout.Write(configfile.Schema())
			return err
		},
	}
}
