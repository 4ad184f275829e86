package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/configfile"
	"github.com/poise-lb/poise/internal/certs"
)

func newCheck(s streams) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Look a configuration file over, without serving",
		Long: `Look a configuration file over: its words and values, what they refer to, and
the certificates. Nothing is served and no endpoint is asked. Prints every mistake as
file:line:column: what, and exits 2.`,
		Example: "  poise check -c poise.yaml && kill -HUP $(pidof poise)",
		RunE: func(*cobra.Command, []string) error {
			file, err := readFile(path)
			if err != nil {
				return err
			}
			if err := located(file, checkAll(file)); err != nil {
				return usage(err)
			}
			c := file.Config
			_, err = fmt.Fprintf(s.stdout, "ok: %s, %s, %s\n", counted(len(c.Services), "service"),
				counted(len(c.Routes), "route"), counted(len(c.Listen), "address"))
			return err
		},
	}
	c.Flags().StringVarP(&path, "config", "c", "", "configuration file (YAML)")
	completeFile(c)
	return c
}

// checkAll finds what reading the file alone does not.
func checkAll(file *configfile.File) error {
	var problems []config.Problem
	for i, l := range file.Config.Listen {
		if l.TLS == nil {
			continue
		}
		for j, pair := range l.TLS.Certificates {
			if _, err := certs.Load([]config.Certificate{pair}); err != nil {
				at := config.Index(config.Index("listen", i)+".tls.certificates", j)
				problems = append(problems, config.Problem{Path: at, Message: err.Error()})
			}
		}
	}
	return config.NewErrors(problems...)
}
