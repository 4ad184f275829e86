package fair

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/poise-lb/poise/test/internal/rig"
)

// roleVariable makes this test's program, started again, something else: its value is what,
// and with which arguments.
const roleVariable = "POISE_TEST_FAIR"

// The processors: proxies have one to themselves.
const (
	loadCore  = 1
	proxyCore = 2
)

var roles = map[string]func(args []string) error{
	"proxy":   beProxy,
	"origin":  beOrigin,
	"witness": beWitness,
	"flood":   beFlood,
	"clients": beClients,
	"host":    beHost,
}

func TestMain(m *testing.M) {
	if role := strings.Fields(os.Getenv(roleVariable)); len(role) > 0 {
		if err := roles[role[0]](role[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// begin starts this program in a role.
func begin(t *testing.T, core int, role ...string) *rig.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return rig.Start(t, rig.Command{Path: self, Core: core, Env: []string{roleVariable + "=" + strings.Join(role, " "), "GOMAXPROCS=1"}})
}

// measuring skips where figures would say nothing.
func measuring(t *testing.T) {
	t.Helper()
	if testing.Short() || raceEnabled {
		t.Skip("it measures time")
	}
}
