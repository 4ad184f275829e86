package conformance

import (
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

var writeFlag = flag.String("write", "", "judge nginx and HAProxy, too, and write the results as a page of Markdown")

// Cases wait for each other's sockets rather than for the processor, so that more of them
// run at the same time than there are processors.
const together = 16

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(together)); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// A group is a table of cases about one thing.
type group struct {
	name  string
	cases []testCase
}

var groups = []group{
	{"Framing of requests", requestFraming},
	{"Chunks", chunks},
	{"Request lines", requestLines},
	{"Host", hosts},
	{"Fields", fields},
	{"Fields that end here", requestHygiene},
	{"Who the client is", clientIdentity},
	{"Fields of responses", responseFields},
	{"Status lines and interim responses", statusLines},
	{"Framing of responses", responseFraming},
	{"Connections", connections},
	{"Requests sent twice", repetition},
	{"Streaming", streaming},
	{"100 (Continue)", expectation},
	{"Upgrades", upgrades},
	{"Methods", methods},
}

// patience is how long is waited for what has to come: long enough for a busy machine.
const patience = 30 * time.Second

// slug is a name as part of a test's name.
func slug(name string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, name), "-")
}

func TestConformance(t *testing.T) {
	for _, s := range engines() {
		t.Run(s.name, func(t *testing.T) {
			for _, g := range groups {
				for i := range g.cases {
					c := &g.cases[i]
					t.Run(slug(g.name)+"/"+slug(c.name), func(t *testing.T) {
						t.Parallel()
						s.judge(t, c)
					})
				}
			}
		})
	}
}

func (s *subject) judge(t *testing.T, c *testCase) {
	known, wait := "", patience
	if s.std && c.std != "" {
		known, wait = c.std, patience/60 // it will fail, some cases by waiting in vain
	}
	verdict := run(c, s.stage(t, c), wait)
	switch {
	case verdict != "" && known == "":
		t.Errorf("%s: %s (%s)", c.name, verdict, c.rfc)
	case verdict == "" && known != "":
		t.Errorf("%s: passes now: take out the reason why it would not", c.name)
	}
}
