package packages

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	used    = regexp.MustCompile(`uses: (\S+)`)
	pinned  = regexp.MustCompile(`^[a-z-]+/[a-z-]+@v[0-9]+\.[0-9]+\.[0-9]+$`)
	targets = regexp.MustCompile(`\bmake ([a-z]+)`)
)

// Workflows parse, name their rights, use actions by their full version, check out without
// leaving a credential behind, and run targets that the Makefile has.
func TestWorkflows(t *testing.T) {
	makefile := read(t, filepath.Join(repository, "Makefile"))
	names, err := filepath.Glob(filepath.Join(repository, ".github", "workflows", "*.yml"))
	if err != nil || len(names) < 2 {
		t.Fatalf("workflows: %v (%v)", names, err)
	}
	for _, name := range names {
		text := read(t, name)
		w := parse(t, text)
		if _, named := w["permissions"]; !named {
			t.Errorf("%s: no permissions for the whole workflow: jobs would get the default of the repository", name)
		}
		for _, m := range used.FindAllStringSubmatch(text, -1) {
			if !pinned.MatchString(m[1]) {
				t.Errorf("%s: %s: want owner/name@vX.Y.Z", name, m[1])
			}
		}
		if strings.Count(text, "actions/checkout@") != strings.Count(text, "persist-credentials: false") {
			t.Errorf("%s: a checkout keeps the credential", name)
		}
		for _, m := range targets.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: the Makefile has no target %s", name, m[1])
			}
		}
		jobs, _ := w["jobs"].(object)
		for job, j := range jobs {
			if at(j, "timeout-minutes") == nil {
				t.Errorf("%s: %s has no timeout-minutes", name, job)
			}
		}
	}
}
