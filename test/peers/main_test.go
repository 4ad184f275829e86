//go:build linux

package peers

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/poise-lb/poise/test/internal/queues"
	"github.com/poise-lb/poise/test/internal/rig"
	"github.com/poise-lb/poise/test/peers/stage"
)

// roleVariable makes this test's program, started again, something else: its value is one
// of the roles.
const roleVariable = "POISE_BENCH_ROLE"

// roles get the setup that setupVariable has, and return with the reason for their end.
var roles = map[string]func() error{
	"stage":        func() error { return stage.Main(os.Stdin, os.Stdout) },
	"reverseproxy": reverseProxy,
	"library":      library,
	"beside":       beside,
	"attacker":     attacker,
}

func TestMain(m *testing.M) {
	queues.Role()
	if role := roles[os.Getenv(roleVariable)]; role != nil {
		if err := role(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if *balanceFlag {
		rig.Prefer()
	}
	os.Exit(m.Run())
}
