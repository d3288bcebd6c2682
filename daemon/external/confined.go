package external

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"autoresearchd/daemon/sandbox"
	"autoresearchd/search"
)

// confine has a program started in the sandbox. It reads what it was installed
// with, the files and folders that its arguments name, and what c opens to it; it
// writes its working directory, a home and a temporary folder that go with it,
// and what c leaves to it. Nothing of Options.Closed is opened by any of that.
func (p *Programs) confine(cmd *exec.Cmd, c search.Command, folder string) (*sandbox.Link, error) {
	home, tmp := filepath.Join(folder, "home"), filepath.Join(folder, "tmp")
	if err := errors.Join(os.MkdirAll(home, 0o700), os.MkdirAll(tmp, 0o700)); err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(tmp); err == nil {
		tmp = real
	}
	policy := sandbox.Policy{Read: sandbox.Mapped(), Write: []string{cmd.Dir, home, tmp}, Tmp: tmp, Network: c.Network}
	reads := slices.Concat(sandbox.Installed(cmd.Path), sandbox.OnPaths("PATH", "PYTHONPATH", "NODE_PATH", "LD_LIBRARY_PATH", "PYTHONPYCACHEPREFIX"))
	for _, arg := range cmd.Args[1:] {
		if filepath.IsAbs(arg) {
			reads = append(reads, sandbox.Named(arg)...)
		}
	}
	if c.Network {
		reads = append(reads, sandbox.OnPaths("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS")...)
	}
	own, _ := os.UserHomeDir()
	lent, err := p.lent(c.Read, own)
	if err != nil {
		return nil, err
	}
	written, err := p.lent(c.Write, own)
	if err != nil {
		return nil, err
	}
	for _, path := range slices.Concat(reads, lent) {
		read, list := p.open(path)
		policy.Read, policy.List = append(policy.Read, read...), append(policy.List, list...)
	}
	policy.Write = append(policy.Write, written...)
	policy.Read = append(policy.Read, c.Folders...)
	linked := slices.Concat(lent, written)
	if local := filepath.Join(own, ".local", "lib"); own != "" { // where a user installs packages
		read, _ := p.open(local)
		policy.Read, linked = append(policy.Read, read...), append(linked, read...)
	}
	for _, path := range linked {
		// A program finds what is below its user's home below its own.
		name, err := filepath.Rel(own, path)
		if own == "" || err != nil || !filepath.IsLocal(name) || name == "." {
			continue
		}
		at := filepath.Join(home, name)
		_ = errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.Symlink(path, at)) // it may lie below another
	}
	if p.o.Sandbox.Rooted() {
		tmp = "/tmp"
	}
	cmd.Env = append(slices.DeleteFunc(cmd.Env, func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return strings.HasPrefix(name, "XDG_") || strings.HasPrefix(name, "DBUS_") || slices.Contains([]string{"HOME", "TMPDIR", "TMP", "TEMP"}, name)
	}), "HOME="+home, "TMPDIR="+tmp)
	return p.o.Sandbox.Wrap(cmd, policy)
}

// lent are paths that the configuration opens to a program, which must be there
// and must not lead to what is closed.
func (p *Programs) lent(paths []string, home string) ([]string, error) {
	var all []string
	for _, path := range paths {
		full := path
		if rest, ok := strings.CutPrefix(path, "~/"); ok && home != "" {
			full = filepath.Join(home, rest)
		} else if !filepath.IsAbs(path) {
			full = filepath.Join(p.o.Base, path)
		}
		real, err := filepath.EvalSymlinks(full)
		if err != nil {
			return nil, fmt.Errorf("open %s to it in the sandbox: %w", path, err)
		}
		for _, closed := range p.private {
			if sandbox.Above(real, closed) || sandbox.Above(closed, real) {
				return nil, fmt.Errorf("open %s to it in the sandbox: %s is the daemon's own", path, closed)
			}
		}
		all = append(all, full)
	}
	return all, nil
}

// open returns a path to be read, or of a folder that holds what is closed, all
// else that it holds now.
func (p *Programs) open(path string) (read, list []string) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, nil // what is not there needs no rule
	}
	above := false
	for _, closed := range p.private {
		if sandbox.Above(closed, real) {
			return nil, nil
		}
		above = above || sandbox.Above(real, closed)
	}
	if !above {
		return []string{path}, nil
	}
	list = []string{path}
	entries, _ := os.ReadDir(real)
	for _, e := range entries {
		if e.Type()&os.ModeSymlink != 0 {
			continue
		}
		r, l := p.open(filepath.Join(real, e.Name()))
		read, list = append(read, r...), append(list, l...)
	}
	return read, list
}
