package lineage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// Git is a version of git.
type Git struct{ Major, Minor int }

var (
	// Lowest is the oldest git that these tests have been run with.
	Lowest = Git{2, 25}
	// Flushes is the first git that has a ref on the disk before it takes its
	// place. With an older one a power cut can leave an empty ref behind.
	Flushes = Git{2, 36}
)

func (g Git) String() string { return fmt.Sprintf("%d.%d", g.Major, g.Minor) }

// Before reports whether g is older than h.
func (g Git) Before(h Git) bool { return g.Major < h.Major || g.Major == h.Major && g.Minor < h.Minor }

var gitVersion = regexp.MustCompile(`(\d+)\.(\d+)`)

// InstalledGit returns the version of the git on PATH, and the line that it
// prints. One that is older than Lowest gives an error that says so.
func InstalledGit(ctx context.Context) (Git, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", "--version")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C"}
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return Git{}, "", fmt.Errorf("run git: it is not on PATH: install git %s or later", Flushes)
	}
	found := gitVersion.FindSubmatch(out)
	if err != nil || found == nil {
		return Git{}, "", errors.Join(err, fmt.Errorf("run git --version: it says %.60q", out))
	}
	var g Git
	g.Major, _ = strconv.Atoi(string(found[1]))
	g.Minor, _ = strconv.Atoi(string(found[2]))
	if g.Before(Lowest) {
		return g, string(out), fmt.Errorf("git %s is older than %s, with which nothing has been tried: install git %s or later", g, Lowest, Flushes)
	}
	return g, string(out), nil
}
