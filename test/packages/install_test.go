package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// inOverlay is a shell script that runs $1 in a copy of this system, made by an overlay whose
// changes are in memory and gone with the mount namespace. The deb is /poise.deb there.
const inOverlay = `
mount -t tmpfs tmpfs "$OVER"
mkdir "$OVER/up" "$OVER/work" "$OVER/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$OVER/up,workdir=$OVER/work" "$OVER/root" || exit 77
cp "$DEB" "$OVER/root/poise.deb"
mount -t tmpfs tmpfs "$OVER/root/run"
exec chroot "$OVER/root" sh -ec "$1"`

// A life of the package on a system: dpkg installs it, an operator changes the configuration, an
// update keeps that, a removal too, and a purge leaves nothing. The commands fail, by sh -e, or
// write what the test looks for.
const lifeOfPackage = `
dpkg -i /poise.deb
stat -c '%n %a %U %G' /etc/poise /etc/poise/poise.yaml
readlink /etc/systemd/system/multi-user.target.wants/poise.service
setpriv --reuid=poise --regid=poise --clear-groups poise check -c /etc/poise/poise.yaml
if setpriv --reuid=nobody --regid=nogroup --clear-groups cat /etc/poise/poise.yaml 2>/dev/null; then exit 3; fi
echo '# of the operator' >>/etc/poise/poise.yaml
systemctl disable poise 2>/dev/null
dpkg -i /poise.deb
tail -n 1 /etc/poise/poise.yaml
stat -c 'updated %a' /etc/poise/poise.yaml
if [ -L /etc/systemd/system/multi-user.target.wants/poise.service ]; then exit 4; fi
mkdir -p /var/log/poise
dpkg -r poise
if [ -e /usr/bin/poise ]; then exit 5; fi
stat -c 'removed %n' /etc/poise/poise.yaml /var/log/poise
dpkg -P poise
if [ -e /etc/poise ] || [ -e /var/log/poise ]; then exit 6; fi
echo gone`

func (b built) installed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	for _, c := range []string{"unshare", "setpriv", "systemctl", "systemd-sysusers"} {
		if _, err := exec.LookPath(c); err != nil {
			t.Skipf("no %s on this machine", c)
		}
	}
	cmd := exec.Command("unshare", "--mount", "sh", "-ec", inOverlay, "sh", lifeOfPackage)
	cmd.Env = append(os.Environ(), "OVER="+t.TempDir(), "DEB="+filepath.Join(b.dist, debName), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 77 {
		t.Skipf("no overlay of / on this machine: %s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"/etc/poise 750 root poise", "/etc/poise/poise.yaml 640 root poise", "/lib/systemd/system/poise.service", "ok: 1 service",
		"# of the operator", "updated 640", "removed /etc/poise/poise.yaml", "removed /var/log/poise", "gone",
	} {
		if !strings.Contains(string(out), want+"\n") && !strings.Contains(string(out), want+",") {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}
