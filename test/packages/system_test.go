package packages

// The unit and the scripts that dpkg and rpm run, with a stand-in for systemctl that writes down
// what it was asked.

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var exposure = regexp.MustCompile(`Overall exposure level for poise\.service: ([0-9.]+)`)

// exposureMax is the worst that systemd-analyze security may say of the unit; 10 is the worst
// there is.
const exposureMax = 2.5

func (b built) unit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze on this machine")
	}
	// The unit as it would be if the extracted root were the system.
	text := read(t, filepath.Join(b.root, "usr/lib/systemd/system/poise.service"))
	unit := filepath.Join(t.TempDir(), "poise.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(text, "/usr/bin/poise", filepath.Join(b.root, "usr/bin/poise"))), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := output(t, exec.Command("systemd-analyze", "verify", "--man=no", unit)); strings.Contains(got, "poise.service") {
		t.Errorf("systemd-analyze verify: %s", got)
	}
	got := output(t, exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", unit))
	m := exposure.FindStringSubmatch(got)
	if m == nil {
		t.Fatalf("systemd-analyze security: %s", got)
	}
	if level, err := strconv.ParseFloat(m[1], 64); err != nil || level > exposureMax {
		t.Errorf("exposure %s, want at most %g:\n%s", m[1], exposureMax, got)
	}
}

// What the scripts ask of systemd: an upgrade never stops the service, a first installation
// never starts it.
func (b built) scripts(t *testing.T) {
	cases := []struct {
		name, script, args string
		active, sound      bool // the service runs; the new binary likes the configuration
		want               []string
		never              []string
	}{
		{"deb, first", "postinst", "configure", false, true, []string{"enable poise.service", "daemon-reload"}, []string{"start", "restart", "stop", "USR2"}},
		{"rpm, first", "postinst", "1", false, true, []string{"enable poise.service", "daemon-reload"}, []string{"start", "restart", "stop", "USR2"}},
		{"deb, upgrade", "postinst", "configure 1.2.2-1", true, true, []string{"daemon-reload", "check", "--signal=USR2 poise.service"}, []string{"start", "restart", "stop", "enable"}},
		{"rpm, upgrade", "postinst", "2", true, true, []string{"daemon-reload", "check", "--signal=USR2 poise.service"}, []string{"start", "restart", "stop", "enable"}},
		{"upgrade of one that is stopped", "postinst", "configure 1.2.2-1", false, true, []string{"daemon-reload"}, []string{"start", "USR2"}},
		{"upgrade, configuration refused", "postinst", "configure 1.2.2-1", true, false, []string{"check"}, []string{"start", "stop", "USR2"}},
		{"abort", "postinst", "abort-upgrade 1.2.2-1", true, true, nil, []string{"e"}},
		{"deb, upgrade, before", "prerm", "upgrade 1.2.4-1", true, true, nil, []string{"e"}},
		{"rpm, upgrade, before", "prerm", "1", true, true, nil, []string{"e"}},
		{"deb, removal", "prerm", "remove", true, true, []string{"stop poise.service", "disable poise.service"}, nil},
		{"rpm, removal", "prerm", "0", true, true, []string{"stop poise.service", "disable poise.service"}, nil},
		{"after removal", "postrm", "remove", false, true, []string{"daemon-reload"}, []string{"rm "}},
		{"purge", "postrm", "purge", false, true, []string{"rm -rf"}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			calls := runScript(t, filepath.Join(b.info, c.script), strings.Fields(c.args), c.active, c.sound)
			for _, w := range c.want {
				if !strings.Contains(calls, w) {
					t.Errorf("no %q in:\n%s", w, calls)
				}
			}
			for _, n := range c.never {
				for line := range strings.Lines(calls) {
					if strings.HasPrefix(line, "systemctl is-active") {
						continue
					}
					if regexp.MustCompile(`\b`+n).MatchString(line) || n == "e" {
						t.Errorf("it ran %s", line)
					}
				}
			}
		})
	}
}

// runScript runs a copy of a maintainer script, in which every program that would change the
// machine is one that only writes down its arguments, and returns these lines.
func runScript(t *testing.T, script string, args []string, active, sound bool) string {
	t.Helper()
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	fail := map[bool]string{true: "exit 0", false: "exit 1"}
	for name, last := range map[string]string{
		"systemctl": `[ "$1" != is-active ] || ` + fail[active], "poise": fail[sound], "systemd-sysusers": "",
		"chown": "", "chmod": "", "rm": "", "rmdir": "", "useradd": "exit 9",
	} {
		text := "#!/bin/sh\necho \"" + name + " $*\" >>" + calls + "\n" + last + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.NewReplacer("/usr/bin/poise ", filepath.Join(dir, "poise")+" ", "/run/systemd/system", dir).Replace(read(t, script))
	if got := regexp.MustCompile(`(?m)^set -e$`).FindString(text); got == "" {
		t.Errorf("%s does not set -e", script)
	}
	cmd := exec.Command("sh", append([]string{"-ec", text, script}, args...)...)
	cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
	output(t, cmd)
	out, err := os.ReadFile(calls)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(out)
}
