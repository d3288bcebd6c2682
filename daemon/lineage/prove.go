package lineage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/faultpoint"
	"autoresearchd/daemon/writable"
)

var reserved = faultpoint.New("lineage.reserve.after")

// ErrBlocked says that another ref has a name beside which ours cannot be.
var ErrBlocked = errors.New("a ref is in the way")

// Prove shows that what records a trial can be written: an object, the ref of
// trial id, and the branch autoresearch/<tag>. Each is tried, and nothing of it
// stays. Errors say what to do: ErrBlocked, ErrRefLocked, writable.ErrDenied and
// writable.ErrFull can be told apart.
func (r *Repo) Prove(ctx context.Context, tag string, id int64) error {
	if err := r.Blocked(ctx, tag, id); err != nil {
		return err
	}
	if err := r.proveObject(ctx); err != nil {
		return r.explain(err, filepath.Join(r.common, "objects"))
	}
	head, err := r.Head(ctx)
	if err != nil {
		return err
	}
	for _, ref := range []string{TrialRef(tag, id), BranchRef(tag)} {
		sweep := r.foldersOf(ref)
		// A transaction that is prepared holds the ref's lock with its new value in it.
		err := r.withLock(ctx, ref, fmt.Sprintf("start\nupdate %s %s\nprepare\nabort\n", ref, head), "update-ref", "--no-deref", "--stdin")
		sweep()
		if err != nil {
			return r.explain(fmt.Errorf("write %s: %w", ref, err), filepath.Join(r.common, path.Dir(ref)))
		}
	}
	return nil
}

// Blocked returns an ErrBlocked with what to do where another ref leaves no
// place for those of a study: one can be a file or a folder, never both. It
// writes nothing.
func (r *Repo) Blocked(ctx context.Context, tag string, id int64) error {
	if err := CheckTag(tag); err != nil {
		return err
	}
	for _, ref := range []string{BranchRef(tag), TrialRef(tag, id)} {
		for above := path.Dir(ref); above != "refs" && above != "refs/heads"; above = path.Dir(above) {
			there, err := r.refs(ctx, above)
			if err != nil {
				return err
			}
			if len(there) > 0 && there[0] == above {
				return r.blocked(ctx, ref, above)
			}
		}
		below, err := r.refs(ctx, ref+"/")
		if err != nil {
			return err
		}
		if len(below) > 0 {
			return r.blocked(ctx, ref, below[0])
		}
	}
	return nil
}

// blocked says how to move a ref out of the way.
func (r *Repo) blocked(ctx context.Context, ours, other string) error {
	kind, short, remedy := "ref", other, ""
	free := ""
	for n := 1; ; n++ {
		free = strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(other, "refs/"), "heads/"), "/", "-") + "-old"
		if n > 1 {
			free += fmt.Sprint("-", n)
		}
		taken, err := r.refs(ctx, "refs/heads/"+free)
		if err != nil {
			return err
		}
		if len(taken) == 0 {
			break
		}
	}
	if branch, ok := strings.CutPrefix(other, "refs/heads/"); ok {
		kind, short = "branch", branch
		remedy = fmt.Sprintf("rename it with `git -C %s branch -m %s %s`", Quote(r.workspace), Quote(branch), Quote(free))
	} else {
		work := Quote(r.workspace)
		remedy = fmt.Sprintf("make a branch of it with `git -C %s branch %s %s && git -C %s update-ref -d %s`", work, Quote(free), Quote(other), work, Quote(other))
	}
	return fmt.Errorf("the workspace %s has a %s %s, beside which git cannot make %s (%w): %s, then start again", r.workspace, kind, short, strings.TrimPrefix(ours, "refs/heads/"), ErrBlocked, remedy)
}

// TrialRefs counts the trials that git keeps of a study.
func (r *Repo) TrialRefs(ctx context.Context, tag string) (int, error) {
	if err := CheckTag(tag); err != nil {
		return 0, err
	}
	out, err := r.git(ctx, nil, "for-each-ref", "--format=%(refname)", "refs/autoresearch/"+tag+"/trial/")
	return strings.Count(string(out), "\n"), err
}

// Trials returns the commits that git keeps of a study's trials, by id.
func (r *Repo) Trials(ctx context.Context, tag string) (map[int64]string, error) {
	if err := CheckTag(tag); err != nil {
		return nil, err
	}
	out, err := r.git(ctx, nil, "for-each-ref", "--format=%(refname:lstrip=4) %(objectname)", "refs/autoresearch/"+tag+"/trial/")
	trials := map[int64]string{}
	for line := range strings.Lines(string(out)) {
		name, commit, _ := strings.Cut(strings.TrimSpace(line), " ")
		if id, err := strconv.ParseInt(name, 10, 64); err == nil {
			trials[id] = commit
		}
	}
	return trials, err
}

// Reserve makes the branch autoresearch/<tag> at commit, so that no other
// study takes the tag. It reports false where the branch is there already.
func (r *Repo) Reserve(ctx context.Context, tag, commit string) (bool, error) {
	if err := CheckTag(tag); err != nil {
		return false, err
	}
	err := r.updateRef(ctx, BranchRef(tag), commit, strings.Repeat("0", len(commit)))
	if err != nil {
		if tip, _ := r.resolve(ctx, BranchRef(tag)); tip != "" {
			return false, nil
		}
		return false, fmt.Errorf("make the branch autoresearch/%s: %w", tag, err)
	}
	if err := r.syncRef(BranchRef(tag)); err != nil {
		return false, fmt.Errorf("make the branch autoresearch/%s: %w", tag, err)
	}
	reserved.Hit()
	return true, nil
}

// Stands returns ErrMoved where autoresearch/<tag> does not stand at champion.
// An empty one is none yet: then the branch is at base, or does not exist.
func (r *Repo) Stands(ctx context.Context, tag, champion, base string) error {
	tip, err := r.BranchTip(ctx, tag)
	switch {
	case err != nil || tip == champion || champion == "" && tip == base:
		return err
	case champion == "":
		champion = base
	}
	ref, work := Quote(BranchRef(tag)), Quote(r.workspace)
	if tip == "" {
		return fmt.Errorf("the branch autoresearch/%s was deleted (%w): restore it with `git -C %s update-ref %s %s`, then start again", tag, ErrMoved, work, ref, champion)
	}
	return fmt.Errorf("the branch autoresearch/%s stands at %.7s and not at the study's %.7s (%w): keep that commit under another branch if it is wanted, restore this one with `git -C %s update-ref %s %s`, then start again",
		tag, tip, champion, ErrMoved, work, ref, champion)
}

// refs lists up to two refs: the one of that name and those below it. A name
// that ends in a slash is only what is below.
func (r *Repo) refs(ctx context.Context, name string) ([]string, error) {
	out, err := r.git(ctx, nil, "for-each-ref", "--count=2", "--format=%(refname)", name)
	return strings.Fields(string(out)), err
}

// proveObject writes an object that nothing names, and removes it.
func (r *Repo) proveObject(ctx context.Context) error {
	objects := filepath.Join(r.common, "objects")
	out, err := r.git(ctx, []byte("a probe: "+rand.Text()+"\n"), "hash-object", "-t", "blob", "-w", "--stdin")
	if err != nil {
		return fmt.Errorf("write an object: %w", err)
	}
	if hash := strings.TrimSpace(string(out)); checkHash(hash) == nil {
		// What cannot be removed is git gc's. The folder goes if it is empty: another
		// user's would be in the daemon's way.
		_ = os.Remove(filepath.Join(objects, hash[:2], hash[2:]))
		_ = os.Remove(filepath.Join(objects, hash[:2]))
	}
	// An object goes into the folder that its hash names: a git that another user
	// ran leaves some of them that only that user may write.
	folders, err := filepath.Glob(filepath.Join(objects, "[0-9a-f][0-9a-f]"))
	for _, folder := range folders {
		if err := access(folder); err != nil {
			return writable.Explain(err, folder, r.common)
		}
	}
	return err
}

// foldersOf returns what removes the folders that writing a ref leaves behind
// and that are not there now.
func (r *Repo) foldersOf(ref string) func() {
	var missing []string
	for dir := path.Dir(ref); dir != "."; dir = path.Dir(dir) {
		if _, err := os.Stat(filepath.Join(r.common, dir)); err != nil {
			missing = append(missing, filepath.Join(r.common, dir))
		}
	}
	return func() {
		for _, dir := range missing {
			_ = os.Remove(dir) // another ref may be in it by now
		}
	}
}

func access(folder string) error {
	return unix.Faccessat(unix.AT_FDCWD, folder, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
}

// explain adds what to do to an error of git's that wrote in folder. Git does
// not always say why it could not.
func (r *Repo) explain(err error, folder string) error {
	folder = writable.Existing(folder)
	var cause error
	switch words := err.Error(); {
	case errors.Is(err, ErrRefLocked), errors.Is(err, writable.ErrDenied), errors.Is(err, writable.ErrFull):
		return err
	case strings.Contains(words, "No space left on device"):
		cause = syscall.ENOSPC
	case strings.Contains(words, "Disk quota exceeded"):
		cause = syscall.EDQUOT
	default:
		if info, statErr := os.Stat(folder); statErr == nil && info.IsDir() {
			cause = access(folder)
		}
	}
	if cause == nil {
		return err
	}
	return writable.Explain(cause, folder, r.common)
}
