package scripts_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// said runs a program that must not fail, and returns what it printed.
func said(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// TestPackage holds the package that AUTORESEARCH_TEST_DEB names to
// testdata/package.txt and to lintian, and plays its life below a folder: `make
// drill-package` plays it in a booted system.
func TestPackage(t *testing.T) {
	deb := os.Getenv("AUTORESEARCH_TEST_DEB")
	if deb == "" {
		t.Skip("AUTORESEARCH_TEST_DEB names no package: scripts/test.sh package makes one")
	}
	t.Run("contents", func(t *testing.T) { contents(t, deb) })
	t.Run("lintian", func(t *testing.T) {
		if out := said(t, "lintian", "--allow-root", "--fail-on", "none", deb); strings.TrimSpace(out) != "" {
			t.Errorf("lintian says:\n%s", out)
		}
	})
	t.Run("life", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("dpkg gives files away: this part needs root")
		}
		life(t, deb)
	})
}

// contents compares the control fields, less what differs from commit to commit
// and from release to release, and every file.
func contents(t *testing.T, deb string) {
	control := said(t, "dpkg-deb", "--field", deb)
	for pattern, by := range map[string]string{
		`(?m)^(Version|Maintainer|Installed-Size|Architecture): .*`: "$1: …",
		`\(>= [^)]*\)`:      "(>= …)",
		`python3\.1[0-3]\b`: "python3.N",
	} {
		control = regexp.MustCompile(pattern).ReplaceAllString(control, by)
	}
	got := control + "\n"
	for line := range strings.Lines(said(t, "dpkg-deb", "--contents", deb)) {
		if f := strings.Fields(line); f[0][0] != 'd' {
			got += fmt.Sprintf("%s %s %s\n", f[0], f[1], strings.TrimPrefix(f[len(f)-1], "."))
		}
	}
	dir := t.TempDir()
	said(t, "dpkg-deb", "--raw-extract", deb, dir)
	conffiles, err := os.ReadFile(dir + "/DEBIAN/conffiles")
	must(t, err)
	got += "\nconffiles\n" + string(conffiles)

	const golden = "testdata/package.txt"
	if *update {
		must(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s (-update rewrites it):\ngot\n%s\nwant\n%s", golden, got, want)
	}

	unit, err := os.ReadFile(dir + "/usr/lib/systemd/system/autoresearchd.service")
	must(t, err)
	if !strings.Contains(string(unit), "\nExecStart=/usr/bin/autoresearchd run ") || strings.Contains(string(unit), "/usr/local") {
		t.Errorf("the unit names another binary:\n%s", unit)
	}
	// A library that only this machine has would show here.
	if out := said(t, "objdump", "-p", dir+"/usr/bin/autoresearchd"); strings.Contains(out, "RUNPATH") || strings.Contains(out, "RPATH") {
		t.Errorf("the binary has a path of this machine in it:\n%s", out)
	}
	if page := said(t, "man", "--warnings", "-l", dir+"/usr/share/man/man1/autoresearchd.1.gz"); !strings.Contains(page, "--config FILE") || !strings.Contains(page, "verify") {
		t.Errorf("the manual page:\n%s", page)
	}
}

// life installs, upgrades, removes and purges below a folder. Every path that
// dpkg and the maintainer scripts touch is there (DPKG_ROOT).
func life(t *testing.T, deb string) {
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	must(t, os.MkdirAll(at("etc"), 0o755))
	must(t, os.MkdirAll(at("var/lib/dpkg/updates"), 0o755))
	must(t, os.MkdirAll(at("var/cache"), 0o755))
	must(t, os.WriteFile(at("var/lib/dpkg/status"), nil, 0o644))
	dpkg := func(args ...string) string {
		t.Helper()
		return said(t, "dpkg", append([]string{"--root=" + root, "--force-script-chrootless", "--force-depends", "--force-confold", "--log=/dev/null"}, args...)...)
	}
	there := func(want bool, names ...string) {
		t.Helper()
		for _, name := range names {
			if _, err := os.Lstat(at(name)); errors.Is(err, fs.ErrNotExist) == want {
				t.Errorf("%s: %v, want it there: %v", name, err, want)
			}
		}
	}
	const (
		config, state, cache = "etc/autoresearch/autoresearch.toml", "var/lib/autoresearch", "var/cache/autoresearch"
		journal, tokenizer   = state + "/journal.db", cache + "/tokenizer/tokenizer.pkl"
	)
	dpkg("--install", deb)
	passwd, err := os.ReadFile(at("etc/passwd"))
	must(t, err)
	owner := regexp.MustCompile(`(?m)^autoresearch:[^:]*:(\d+:\d+):[^:]*:/var/lib/autoresearch:/usr/sbin/nologin$`).FindSubmatch(passwd)
	if owner == nil {
		t.Fatalf("no user was made:\n%s", passwd)
	}
	for _, dir := range []string{state, cache} {
		if got := said(t, "stat", "--format", "%a %u:%g", at(dir)); got != "750 "+string(owner[1])+"\n" {
			t.Errorf("%s has mode and owner %s, and the user is %s", dir, got, owner[1])
		}
	}

	// A study, and an edited configuration.
	for _, name := range []string{journal, tokenizer, cache + "/compiled/entry"} {
		must(t, os.MkdirAll(filepath.Dir(at(name)), 0o755))
		must(t, os.WriteFile(at(name), nil, 0o644))
	}
	must(t, os.WriteFile(at(config), []byte("# mine\n"), 0o644))
	mine := func() {
		t.Helper()
		if text, err := os.ReadFile(at(config)); err != nil || string(text) != "# mine\n" {
			t.Errorf("the configuration is %q (%v)", text, err)
		}
		there(true, journal, tokenizer)
	}
	next := newer(t, deb)
	dpkg("--install", next)
	if got := said(t, "dpkg-query", "--root="+root, "--show", "--showformat", "${Version}", "autoresearchd"); !strings.HasSuffix(got, "+next") {
		t.Errorf("version %s after the upgrade", got)
	}
	mine()
	dpkg("--remove", "autoresearchd")
	mine()
	there(false, "usr/bin/autoresearchd", "usr/lib/systemd/system/autoresearchd.service")
	dpkg("--install", next)
	mine()
	const kept = "kept /var/lib/autoresearch /var/cache/autoresearch and the user autoresearch; to be rid of them: rm -r /var/lib/autoresearch /var/cache/autoresearch; userdel autoresearch"
	if out := dpkg("--purge", "autoresearchd"); !strings.Contains(out, kept) {
		t.Errorf("the purge does not say what it kept:\n%s", out)
	}
	there(true, journal, tokenizer)
	there(false, "etc/autoresearch", cache+"/compiled")

	must(t, os.RemoveAll(at(state)))
	must(t, os.RemoveAll(at(cache)))
	dpkg("--install", deb)
	dpkg("--purge", "autoresearchd")
	there(false, state, cache)
}

// newer is the package again, under a version that sorts after it.
func newer(t *testing.T, deb string) string {
	t.Helper()
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "next.deb")
	said(t, "dpkg-deb", "--raw-extract", deb, dir)
	said(t, "sed", "-i", `s/^Version: .*/&+next/`, dir+"/DEBIAN/control")
	said(t, "dpkg-deb", "--root-owner-group", "-Znone", "--build", dir, out)
	return out
}
