package main

// poise admin token: a secret for admin.tokens.

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/spf13/cobra"
)

func newAdmin(s streams) *cobra.Command {
	c := &cobra.Command{
		Use: "admin", Short: "Prepare the admin API", Args: noArguments,
		Example: "  poise admin token > /run/secrets/poise-admin",
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use: "token", Short: "Make a token for admin.tokens", Args: noArguments,
		Long: `Make a token for admin.tokens: 32 random bytes as hex digits. It is written to
standard output and kept nowhere.`,
		Example: `  poise admin token > /run/secrets/poise-admin     # admin: {tokens: [{name: ops, role: operate, token: "${file:/run/secrets/poise-admin}"}]}
  poise ctl status --token-file /run/secrets/poise-admin`,
		RunE: func(*cobra.Command, []string) error {
			secret := make([]byte, 32)
			rand.Read(secret)
			say(s.stdout, "%s\n", hex.EncodeToString(secret))
			return nil
		},
	})
	return c
}
