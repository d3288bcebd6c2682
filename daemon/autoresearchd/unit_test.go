package main

import (
	"os"
	"os/user"
	"path/filepath"
	"testing"
)

// TestUnitDenies reads the installed unit as systemd shows it.
func TestUnitDenies(t *testing.T) {
	t.Parallel()
	installed := parseUnit(`LoadState=loaded
ExecStart={ path=/usr/local/bin/autoresearchd ; argv[]=/usr/local/bin/autoresearchd run --config /etc/autoresearch/autoresearch.toml ; ignore_errors=no }
User=autoresearch
PrivateTmp=yes
ProtectHome=read-only
ProtectSystem=strict
ReadWritePaths=/data/autoresearch -/home/ada/open
StateDirectory=autoresearch
CacheDirectory=autoresearch
`)
	for path, want := range map[string]string{
		"/var/lib/autoresearch/workspace/.git": "",
		"/var/cache/autoresearch":              "",
		"/data/autoresearch/ws/.git":           "",
		"/home/ada/open/.git":                  "",
		"/home/ada/ws/.git":                    "ProtectHome=read-only",
		"/root/ws/.git":                        "ProtectHome=read-only",
		"/srv/ws/.git":                         "ProtectSystem=strict",
		"/data/autoresearcher/.git":            "ProtectSystem=strict",
		"/tmp/ws/.git":                         "PrivateTmp=yes",
	} {
		if got := installed.denies(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for _, open := range []string{"", "ProtectSystem=no\nProtectHome=no\nPrivateTmp=no\n", "ProtectSystem=strict\nReadWritePaths=/\n"} {
		if got := parseUnit(open).denies("/home/ada/ws/.git"); got != "" {
			t.Errorf("%q denies by %s", open, got)
		}
	}
}

func TestUnitShutsOut(t *testing.T) {
	t.Parallel()
	nobody, err := user.Lookup("nobody")
	must(t, err)
	u := unit{"User": nobody.Username}
	top, err := os.MkdirTemp("/tmp", "unit-") // where everybody may pass
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(top) })
	dir := filepath.Join(top, "folder")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Chmod(top, 0o755))
	must(t, os.Chmod(dir, 0o755))
	if got := u.shutsOut(dir); got != "its user nobody may not write there" {
		t.Error(got)
	}
	must(t, os.Chmod(dir, 0o777))
	if got := u.shutsOut(dir); got != "" {
		t.Error(got)
	}
	must(t, os.Chmod(filepath.Dir(dir), 0o700))
	if got := u.shutsOut(dir); got != "its user nobody may not pass through "+filepath.Dir(dir) {
		t.Error(got)
	}
	if got := (unit{"User": "root"}).shutsOut(dir); got != "" {
		t.Error(got)
	}
}
