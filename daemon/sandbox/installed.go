package sandbox

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Mapped returns the files that this process is made of: its binary and the
// libraries that it has loaded, which a program of the same binary needs.
func Mapped() []string {
	data, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil
	}
	seen := map[string]bool{}
	var all []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) == 6 && filepath.IsAbs(fields[5]) && !seen[fields[5]] {
			seen[fields[5]] = true
			all = append(all, fields[5])
		}
	}
	return all
}

// Installed returns what a program's file is installed with: the folders that
// links lead through to it, those of a venv and of the interpreter that it was
// made from, and what its path files name. A script's interpreter is part of it.
func Installed(file string) []string {
	var all []string
	at := file
	for range 8 { // a link may lead to a link, in another installation
		all = append(all, around(at)...)
		target, err := os.Readlink(at)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(at), target)
		}
		at = target
	}
	venv := filepath.Dir(filepath.Dir(file))
	if data, err := os.ReadFile(filepath.Join(venv, "pyvenv.cfg")); err == nil {
		for line := range strings.Lines(string(data)) {
			if key, value, _ := strings.Cut(line, "="); strings.TrimSpace(key) == "home" {
				all = append(all, filepath.Dir(strings.TrimSpace(value)))
			}
		}
	}
	paths, _ := filepath.Glob(filepath.Join(venv, "lib", "python3*", "site-packages", "*.pth"))
	for _, path := range paths {
		data, _ := os.ReadFile(path)
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); filepath.IsAbs(line) {
				all = append(all, line)
			}
		}
	}
	if by := interpreter(at); by != "" && by != file {
		all = append(all, Installed(by)...)
	}
	return slices.DeleteFunc(all, func(path string) bool { return path == "/" || path == "." })
}

// around returns what lies around a program's file and is no person's own: its
// prefix, or its folder.
func around(file string) []string {
	dir := filepath.Dir(file)
	prefix, home := filepath.Dir(dir), homeFolder()
	switch {
	case Above(dir, home):
		return []string{file}
	case filepath.Base(dir) != "bin" && filepath.Base(dir) != "shims":
		return []string{dir}
	case home != "" && prefix == filepath.Join(home, ".local"):
		return []string{dir, filepath.Join(prefix, "lib")}
	case Above(prefix, home):
		return []string{dir}
	}
	return []string{prefix}
}

// Named returns what a file or folder that a person has named to a program
// stands for: a file brings its folder, where its modules and data are.
func Named(path string) []string {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil
	case !info.IsDir():
		return Installed(path)
	case Above(path, homeFolder()):
		return nil
	}
	return []string{path}
}

// Above reports whether a folder is the root, or a path or above it.
func Above(folder, path string) bool {
	folder = filepath.Clean(folder)
	return folder == "/" || path != "" && (folder == path || strings.HasPrefix(path, folder+"/"))
}

func homeFolder() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Clean(home)
}

// interpreter returns the program that runs a script; "": it is none.
func interpreter(script string) string {
	f, err := os.Open(script)
	if err != nil {
		return ""
	}
	defer f.Close()
	const longest = 256 // of the kernel's
	line, _ := bufio.NewReader(io.LimitReader(f, longest)).ReadString('\n')
	words := strings.Fields(strings.TrimPrefix(line, "#!"))
	if !strings.HasPrefix(line, "#!") || len(words) == 0 {
		return ""
	}
	if filepath.Base(words[0]) != "env" {
		return words[0]
	}
	for _, word := range words[1:] {
		if !strings.HasPrefix(word, "-") && !strings.Contains(word, "=") {
			path, _ := exec.LookPath(word)
			return path
		}
	}
	return ""
}

// OnPaths returns the folders that variables of this process's name as search
// paths.
func OnPaths(names ...string) []string {
	var all []string
	for _, name := range names {
		all = append(all, slices.DeleteFunc(filepath.SplitList(os.Getenv(name)), func(dir string) bool {
			return !filepath.IsAbs(dir) || filepath.Clean(dir) == "/"
		})...)
	}
	return all
}
