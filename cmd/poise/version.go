package main

// poise version: what this binary was built from.

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/poise-lb/poise/internal/front"
)

func newVersion(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		RunE: func(*cobra.Command, []string) error {
			info, _ := debug.ReadBuildInfo()
			_, err := fmt.Fprintln(s.stdout, versionText(info))
			return err
		},
	}
}

// versionText says what the build recorded of itself; info may be nil.
func versionText(info *debug.BuildInfo) string {
	version, commit := "unknown", ""
	if info != nil {
		if version = info.Main.Version; version == "" || version == "(devel)" {
			version = "devel"
		}
		if front.Release != "" {
			version = front.Release
		}
		modified := ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = " (commit " + s.Value[:min(len(s.Value), 12)]
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = ", modified"
			}
		}
		if commit != "" {
			commit += modified + ")"
		}
	}
	return fmt.Sprintf("poise %s%s %s %s/%s", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
