// Package scripts_test holds the scripts that put the program on a machine to
// what README.md says of them.
package scripts_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"autoresearchd/daemon/config"
)

var update = flag.Bool("update", false, "rewrite testdata")

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// programs writes shell scripts into a folder, and returns a PATH that begins
// with it.
func programs(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755))
	}
	return dir + ":" + os.Getenv("PATH")
}

// made are what build.sh makes of the binary.
var made = []string{"share/autoresearchd.1.gz", "share/autoresearchd.bash", "share/_autoresearchd", "share/autoresearchd.fish"}

// stub is a folder with a binary that does nothing, and with what is made of it.
func stub(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "share"), 0o755))
	for _, name := range made {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	path := filepath.Join(dir, "stub")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755))
	return path
}

// TestMakeInstall installs into a folder and takes it away again, for root,
// whose PATH has no go.
func TestMakeInstall(t *testing.T) {
	dest, binary := t.TempDir(), stub(t)
	path := programs(t, map[string]string{"go": "echo go was called >&2; exit 1\n"})
	run := func(target string, env ...string) (string, error) {
		cmd := exec.Command("make", "--no-print-directory", "-C", "..", target)
		cmd.Env = append(append(os.Environ(), "DESTDIR="+dest, "PREFIX=/opt/ar", "BIN="+binary, "PATH="+path, "MAKEFLAGS=", "MAKELEVEL="), env...)
		out, err := cmd.CombinedOutput()
		return strings.ReplaceAll(string(out), dest, "DEST"), err
	}
	expect := func(target, want string, env ...string) {
		t.Helper()
		if got, err := run(target, env...); err != nil || got != want {
			t.Errorf("make %s (%v) said:\n%s\nwant:\n%s", target, err, got, want)
		}
	}
	const installed = "installed DEST/opt/ar/bin/autoresearchd and DEST/etc/systemd/system/autoresearchd.service\n"
	const config1 = "/etc/autoresearch/autoresearch.toml"
	expect("install", installed+"wrote DEST"+config1+"\n")
	unit, err := os.ReadFile(dest + "/etc/systemd/system/autoresearchd.service")
	if err != nil || !regexp.MustCompile(`(?m)^ExecStart=/opt/ar/bin/autoresearchd run `).Match(unit) || strings.Contains(string(unit), "/usr/local/bin") {
		t.Errorf("unit: %v\n%s", err, unit)
	}
	files := []string{
		"/opt/ar/bin/autoresearchd", "/etc/systemd/system/autoresearchd.service", "/usr/lib/sysusers.d/autoresearch.conf",
		"/opt/ar/share/man/man1/autoresearchd.1.gz", "/opt/ar/share/bash-completion/completions/autoresearchd",
		"/opt/ar/share/zsh/site-functions/_autoresearchd", "/opt/ar/share/fish/vendor_completions.d/autoresearchd.fish",
	}
	modes := map[string]os.FileMode{config1: 0o644, "var/lib/autoresearch": 0o750, "var/cache/autoresearch": 0o750}
	for _, name := range files {
		modes[name] = 0o644
	}
	modes[files[0]] = 0o755
	for name, mode := range modes {
		if info, err := os.Stat(filepath.Join(dest, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	shipped := filepath.Join(dest, config1)
	c, err := config.Load(shipped, nil)
	must(t, err)
	if c.Study.Cache != "/var/cache/autoresearch" || c.Trial.Budget.Seconds != 300 {
		t.Errorf("the installed configuration names the cache %q and the budget %v", c.Study.Cache, c.Trial.Budget)
	}
	must(t, os.WriteFile(shipped, []byte("# mine\n"), 0o644))
	expect("install", installed+"kept DEST"+config1+"\n")
	// Without PREFIX, the unit knows where the binary is.
	expect("uninstall", "removed DEST"+strings.Join(files, " DEST")+"\n"+
		"kept DEST/etc/autoresearch DEST/var/lib/autoresearch DEST/var/cache/autoresearch\n", "PREFIX=")
	if text, _ := os.ReadFile(shipped); string(text) != "# mine\n" {
		t.Error("the configuration did not survive")
	}
	for _, name := range files {
		if _, err := os.Lstat(filepath.Join(dest, name)); err == nil {
			t.Errorf("%s was left", name)
		}
	}
	expect("uninstall", "nothing was installed: there is neither DEST/opt/ar/bin/autoresearchd nor DEST/etc/systemd/system/autoresearchd.service\n"+
		"kept DEST/etc/autoresearch DEST/var/lib/autoresearch DEST/var/cache/autoresearch\n")

	user := programs(t, map[string]string{"id": "echo 1000\n"})
	for _, c := range []struct {
		target, want string
		env          []string
	}{
		{"install", "make install writes to /opt/ar/bin, /etc and /var: run it as root (`sudo make install`), or name a folder with DESTDIR\n", []string{"DESTDIR=", "PATH=" + user}},
		{"uninstall", "make uninstall removes files from /opt/ar/bin and /etc: run it as root (`sudo make uninstall`), or name a folder with DESTDIR\n", []string{"DESTDIR=", "PATH=" + user}},
		{"install", "BIN is missing: run `make build` first, as the user who has go\n", []string{"BIN=BIN"}},
		{"install", "PREFIX=opt is not an absolute path\n", []string{"PREFIX=opt"}},
	} {
		if got, err := run(c.target, c.env...); err == nil || !strings.HasPrefix(got, "error: "+c.want) {
			t.Errorf("make %s with %q (%v) said %s", c.target, c.env, err, got)
		}
	}
}

// machine has folders of its own where the scripts write, root's rights in
// them, and stand-ins for what would change the users and services of this one.
// Its systemd is a folder of marks.
type machine struct {
	t         *testing.T
	dir, path string
	out       strings.Builder
}

const enter = `set -e
cd "$M"
mkdir -p etc/systemd var/lib var/cache sysusers run/systemd marks dev
[ ! -d /etc/alternatives ] || [ -d etc/alternatives ] || cp -a /etc/alternatives etc/
: >>dev/null
ln -sfn /proc/self/fd dev/fd
mount --bind /dev/null dev/null
mount --bind etc /etc
mount --bind var/lib /var/lib
mount --bind var/cache /var/cache
mount --bind sysusers /usr/lib/sysusers.d
mount --bind run /run
[ ! -d /proc/driver ] || mount -t tmpfs none /proc/driver
mount --rbind dev /dev
exec "$@"`

func newMachine(t *testing.T) *machine {
	t.Helper()
	if out, err := exec.Command("unshare", "--map-root-user", "--mount", "mount", "--bind", t.TempDir(), "/usr/lib/sysusers.d").CombinedOutput(); err != nil {
		t.Skipf("this machine lends nobody folders of one's own: %v: %s", err, out)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	return &machine{t: t, dir: dir, path: programs(t, map[string]string{
		"id":               `[ "$1" = -u ] && echo 0 || [ -e "$M/marks/user" ]`,
		"systemd-sysusers": `: >"$M/marks/user"`,
		"install":          `for a; do shift; case $a in -o | -g) skip=yes ;; *) [ "$skip" = yes ] || set -- "$@" "$a"; skip=no ;; esac; done; exec /usr/bin/install "$@"`,
		"runuser":          `[ ! -e "$M/marks/refused" ] || { cat "$M/marks/refused"; exit 127; }; shift 3; exec "$@"`,
		"ldd":              `echo "	libpython3.12.so.1.0 => /root/.pyenv/lib/libpython3.12.so.1.0 (0x1)"`,
		"systemctl": `mark=$M/marks
case "$*" in
"is-enabled --quiet"*) [ -e "$mark/enabled" ] ;;
is-enabled*) if [ -e "$mark/enabled" ]; then echo enabled; else echo disabled; exit 1; fi ;;
is-active*) [ -e "$mark/active" ] ;;
enable*) : >"$mark/enabled" ;;
disable*) rm -f "$mark/enabled" "$mark/active" ;;
esac`,
	})}
}

// file makes a file of the machine.
func (m *machine) file(name, text string) {
	m.t.Helper()
	must(m.t, os.MkdirAll(filepath.Dir(filepath.Join(m.dir, name)), 0o755))
	must(m.t, os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o644))
}

// run runs a script and writes down what it says.
func (m *machine) run(title, script string) {
	m.t.Helper()
	root, err := filepath.Abs("..")
	must(m.t, err)
	cmd := exec.Command("unshare", "--map-root-user", "--mount", "/bin/sh", "-c", enter, "sh", filepath.Join(root, "scripts", script))
	cmd.Env = append(os.Environ(), "M="+m.dir, "PATH="+m.path, "BIN="+filepath.Join(m.dir, "stub"), "PREFIX="+m.dir+"/usr", "DESTDIR=")
	out, err := cmd.CombinedOutput()
	end := ""
	if err != nil {
		end = err.Error() + "\n"
	}
	m.out.WriteString("# " + title + "\n$ " + script + "\n" + strings.ReplaceAll(string(out), m.dir, "") + end + "\n")
}

// TestOnAMachine tells in testdata/install.txt what a user reads from the
// first install to the second.
func TestOnAMachine(t *testing.T) {
	m := newMachine(t)
	m.file("stub", "#!/bin/sh\n")
	for _, name := range made {
		m.file(name, "")
	}
	must(t, os.Chmod(m.dir+"/stub", 0o755))
	m.file("marks/refused", m.dir+"/usr/bin/autoresearchd: error while loading shared libraries: libpython3.12.so.1.0: cannot open shared object file: Permission denied\n")
	m.run("an interpreter that is root's alone", "install.sh")
	m.file("marks/refused", "runuser: cannot set groups: Operation not permitted\n")
	m.run("no right to become the user", "install.sh")
	must(t, os.Remove(m.dir+"/marks/refused"))
	m.run("in a container without systemd", "install.sh")
	c, err := config.Load(m.dir+"/etc/autoresearch/autoresearch.toml", nil)
	must(t, err)
	if c.Trial.Budget.Seconds != 10 { // as the profile for a machine without a GPU has it
		t.Errorf("the installed configuration has the budget %v", c.Trial.Budget)
	}
	must(t, os.MkdirAll(m.dir+"/run/systemd/system", 0o755))
	m.run("without a GPU", "install.sh")
	m.file("dev/nvidiactl", "")
	m.run("with a GPU", "install.sh")
	m.file("var/lib/autoresearch/workspace/train.py", "")
	m.run("there is a study", "install.sh")
	m.file("marks/active", "")
	m.run("it runs, and was started by hand", "install.sh")
	m.file("marks/enabled", "")
	m.run("it runs", "install.sh")
	m.run("it runs and is enabled", "uninstall.sh")
	m.run("after that", "install.sh")
	must(t, os.Remove(m.dir+"/marks/enabled"))
	m.run("disabled by hand", "uninstall.sh")
	m.run("after that", "install.sh")
	m.file("etc/autoresearch/autoresearch.toml", "[study]\nworkspace = \"../../var/lib/clone\"\ncache = \"\"\n")
	m.run("a workspace that is not there yet, a configuration of an earlier version", "install.sh")

	const golden = "testdata/install.txt"
	if *update {
		must(t, os.WriteFile(golden, []byte(m.out.String()), 0o644))
		return
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if got := m.out.String(); got != string(want) {
		t.Errorf("%s (-update rewrites it):\ngot\n%s\nwant\n%s", golden, got, want)
	}
}
