package trainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"autoresearchd/pyembed"
)

// CheckVenv returns an error unless python is an interpreter whose packages
// the linked libpython can load: the same minor version.
func CheckVenv(ctx context.Context, python string) error {
	if info, err := os.Stat(python); err != nil || info.IsDir() {
		if _, broken := os.Lstat(python); broken == nil && errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s points to an interpreter that is gone: make the venv again with `autoresearchd init`", python)
		}
		return fmt.Errorf("there is no interpreter at %s: make the workspace's venv with `autoresearchd init`, or set trial.python to the one to use", python)
	}
	version := ""
	if cfg, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(python)), "pyvenv.cfg")); err == nil {
		for _, line := range strings.Split(string(cfg), "\n") {
			key, value, _ := strings.Cut(line, "=")
			if key = strings.TrimSpace(key); key == "version" || key == "version_info" {
				version = strings.TrimSpace(value)
			}
		}
	}
	if version == "" {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, python, "-I", "-S", "-c", "import platform; print(platform.python_version())").Output()
		if err != nil {
			return fmt.Errorf("%s does not run as a Python interpreter (%w): set trial.python to one that does", python, err)
		}
		version = strings.TrimSpace(string(out))
	}
	if minor(version) != minor(pyembed.Version()) {
		return fmt.Errorf("%s is Python %s, but this binary embeds Python %s: make the venv again with `autoresearchd init`, or build autoresearchd with AUTORESEARCH_PYTHON set to a Python %s",
			python, version, pyembed.Version(), minor(version))
	}
	return nil
}

// minor returns "3.12" of "3.12.1".
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return version
	}
	return parts[0] + "." + parts[1]
}
