package lineage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"autoresearchd/daemon/durable"
	"autoresearchd/daemon/faultpoint"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrNotWorkTree = errors.New("not a git work tree")
	ErrDirty       = errors.New("uncommitted change")
	ErrMoved       = errors.New("ref moved by somebody else")
	ErrRefLocked   = errors.New("ref locked")
	ErrMissing     = errors.New("missing object")
	ErrAmbiguous   = errors.New("ambiguous hash")
)

var (
	commitBefore = faultpoint.New("lineage.commit.before")
	commitBlob   = faultpoint.New("lineage.commit.blob")
	commitTree   = faultpoint.New("lineage.commit.tree")
	commitAfter  = faultpoint.New("lineage.commit.after")
	trialBefore  = faultpoint.New("lineage.trialref.before")
	trialAfter   = faultpoint.New("lineage.trialref.after")
	champBefore  = faultpoint.New("lineage.champion.before")
	champAfter   = faultpoint.New("lineage.champion.after")
)

// The files that a workspace must have committed and unchanged.
var required = []string{"train.py", "prepare.py"}

// maxFile bounds a file read into memory, in bytes.
const maxFile = 16 << 20

// Repo is a workspace's git repository. Its methods may be called from several
// goroutines; all git commands are bounded by the context and by two minutes.
type Repo struct {
	workspace string // absolute, without links
	top       string // the work tree's: the workspace, or a folder above it
	prefix    string // the workspace's path below top, with a slash at its end; "" at the top
	gitDir    string // the work tree's own git directory
	common    string // the git directory that holds the refs
	installed Git
}

// Open checks that workspace is a git work tree, or a folder of one, in which
// train.py and prepare.py are committed and unchanged. Paths are the
// workspace's throughout; a commit holds the whole repository's tree.
//
// When the work tree has a branch autoresearch/… checked out, an older state of
// that branch counts as unchanged, since the daemon moves the branch and leaves
// the work tree alone. So does what differs in line ends alone: Python reads
// both, and which of them a checkout writes is a matter of git's configuration.
// Errors say what to do; ErrNotWorkTree and ErrDirty can be told apart.
func Open(ctx context.Context, workspace string) (*Repo, error) {
	fail := func(format string, args ...any) error { return cannotOpen(workspace, format, args...) }
	r, err := Look(ctx, workspace)
	if err != nil {
		return nil, err
	}
	notTree := func() error { return notTree(workspace) }
	head, err := r.Head(ctx)
	if err != nil {
		return nil, fail("%w", err)
	}
	if head == "" && r.prefix != "" {
		return nil, notTree()
	}
	if head == "" {
		return nil, fail("has no commit yet: run `git add train.py prepare.py program.md` and `git commit` there")
	}
	entries, err := r.tree(ctx, head, false, required...)
	if err != nil {
		return nil, fail("%w", err)
	}
	if len(entries) == 0 && r.prefix != "" { // a repository around it that knows nothing of it
		return nil, notTree()
	}
	for _, name := range required {
		i := slices.IndexFunc(entries, func(e entry) bool { return e.path == name })
		if i < 0 {
			if _, err := os.Lstat(filepath.Join(r.workspace, name)); err != nil {
				return nil, fail("%s is missing: add and commit it, or run `autoresearchd init` for a new workspace", name)
			}
			return nil, fail("%s is not committed: run `git add %s` and `git commit` there", name, name)
		}
		if !entries[i].regular() {
			return nil, fail("%s is not a regular file in the last commit: commit the file itself", name)
		}
		blob, err := r.ReadFile(ctx, head, name)
		if err != nil {
			return nil, fail("%w", err)
		}
		if bytes.HasPrefix(blob, []byte("version https://git-lfs.github.com/spec/")) {
			return nil, fail("the last commit holds a Git LFS pointer instead of %s: fetch its content with `git lfs pull`, write `%[2]s -filter` into .gitattributes, run `git add --renormalize %[2]s .gitattributes`, and commit", name)
		}
		if err := r.unchanged(ctx, name, entries[i].object, blob); err != nil {
			return nil, fail("%w", err)
		}
	}
	return r, nil
}

func cannotOpen(workspace, format string, args ...any) error {
	return fmt.Errorf("open workspace %s: "+format, append([]any{workspace}, args...)...)
}

func notTree(workspace string) error {
	return cannotOpen(workspace, "is %w: run `autoresearchd init` or `git init` and commit train.py, prepare.py and program.md", ErrNotWorkTree)
}

// Look finds the repository of a workspace, whatever its work tree holds: what
// git keeps can be read.
func Look(ctx context.Context, workspace string) (*Repo, error) {
	fail := func(format string, args ...any) error { return cannotOpen(workspace, format, args...) }
	info, err := os.Stat(workspace)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fail("no such directory: run `autoresearchd init`, or set [study] workspace")
	case err != nil:
		return nil, fail("%w", errors.Unwrap(err))
	case !info.IsDir():
		return nil, fail("is not a directory: set [study] workspace to a git work tree with train.py, prepare.py and program.md")
	}
	abs, err := filepath.Abs(workspace)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return nil, fail("%w", err)
	}
	installed, _, err := InstalledGit(ctx)
	if err != nil {
		return nil, fail("%w", err)
	}
	r := &Repo{workspace: abs, installed: installed}
	switch inside, err := r.find(ctx); {
	case err != nil:
		return nil, fail("%w", err)
	case !inside:
		return nil, notTree(workspace)
	}
	return r, nil
}

// branchHeld returns the blobs that a file had in the commits of the study's
// branch that HEAD is, newest first; none when HEAD is no such branch.
func (r *Repo) branchHeld(ctx context.Context, name string) ([]entry, error) {
	branch, err := r.headBranch(ctx)
	if err != nil || !strings.HasPrefix(branch, "refs/heads/autoresearch/") {
		return nil, err
	}
	commits, err := r.git(ctx, nil, "rev-list", "--first-parent", "--max-count=10000", "HEAD")
	if err != nil {
		return nil, err
	}
	query := strings.ReplaceAll(string(commits), "\n", ":"+r.prefix+name+"\n")
	objects, err := r.git(ctx, []byte(query), "cat-file", "--batch-check=%(objecttype) %(objectname)")
	var held []entry
	seen := map[string]bool{}
	for line := range strings.Lines(string(objects)) {
		if object, ok := strings.CutPrefix(strings.TrimSpace(line), "blob "); ok && !seen[object] {
			seen[object] = true
			held = append(held, entry{path: name, object: object})
		}
	}
	return held, err
}

// Workspace returns the work tree's absolute path, links resolved.
func (r *Repo) Workspace() string { return r.workspace }

// GitDir returns the folder that holds the refs and objects.
func (r *Repo) GitDir() string { return r.common }

// Head returns the commit that HEAD names, or "" when there is none yet.
func (r *Repo) Head(ctx context.Context) (string, error) { return r.resolve(ctx, "HEAD") }

// BranchTip returns the champion's commit on autoresearch/<tag>, or "" when
// the branch does not exist.
func (r *Repo) BranchTip(ctx context.Context, tag string) (string, error) {
	if err := CheckTag(tag); err != nil {
		return "", err
	}
	return r.resolve(ctx, BranchRef(tag))
}

// Tags lists the tags of the branches autoresearch/<tag>, sorted.
func (r *Repo) Tags(ctx context.Context) ([]string, error) {
	out, err := r.git(ctx, nil, "for-each-ref", "--format=%(refname)", BranchRef(""))
	if err != nil {
		return nil, err
	}
	var tags []string
	for line := range strings.Lines(string(out)) {
		tags = append(tags, strings.TrimPrefix(strings.TrimSpace(line), BranchRef("")))
	}
	return tags, nil
}

// TrialCommit returns the commit that SetTrialRef stored, or "" when there is none.
func (r *Repo) TrialCommit(ctx context.Context, tag string, id int64) (string, error) {
	if err := CheckTag(tag); err != nil {
		return "", err
	}
	return r.resolve(ctx, TrialRef(tag, id))
}

// CheckedOut reports whether the work tree stands on the branch
// autoresearch/<tag>. The daemon then moves the branch under it and leaves the
// files alone, so git shows them as changed; say so to the user.
func (r *Repo) CheckedOut(ctx context.Context, tag string) (bool, error) {
	branch, err := r.headBranch(ctx)
	return branch == BranchRef(tag), err
}

// Branch returns the branch that is checked out, "exp/mar8"; "" when HEAD is
// detached.
func (r *Repo) Branch(ctx context.Context) (string, error) {
	branch, err := r.headBranch(ctx)
	return strings.TrimPrefix(branch, "refs/heads/"), err
}

func (r *Repo) headBranch(ctx context.Context) (string, error) {
	out, err := r.git(ctx, nil, "symbolic-ref", "--quiet", "HEAD")
	if exitCode(err) == 1 { // a detached HEAD
		return "", nil
	}
	return strings.TrimSpace(string(out)), err
}

// BranchRef names a study's branch.
func BranchRef(tag string) string { return "refs/heads/autoresearch/" + tag }

// TrialRef names what keeps a candidate's commit.
func TrialRef(tag string, id int64) string {
	return fmt.Sprintf("refs/autoresearch/%s/trial/%d", tag, id)
}

func (r *Repo) resolve(ctx context.Context, name string) (string, error) {
	out, err := r.git(ctx, nil, "rev-parse", "--verify", "--quiet", name+"^{commit}")
	if exitCode(err) == 1 {
		return "", nil
	}
	return strings.TrimSpace(string(out)), err
}

// Resolve returns the full hash of a commit given in full or abbreviated to at
// least four hexadecimal digits, or "" when there is none. ErrAmbiguous: several
// commits begin so.
func (r *Repo) Resolve(ctx context.Context, commit string) (string, error) {
	if len(commit) < 4 || strings.Trim(commit, "0123456789abcdef") != "" {
		return "", fmt.Errorf("resolve commit %q: not a hash", commit)
	}
	full, err := r.resolve(ctx, commit)
	var failed *gitError
	switch {
	case errors.Is(err, ErrMissing): // a partial clone has every commit that it ought to have
		return "", nil
	case errors.As(err, &failed) && exitCode(err) > 0:
		return "", fmt.Errorf("resolve commit %s: %w", commit, ErrAmbiguous)
	case !strings.HasPrefix(full, commit): // a ref of that name
		return "", err
	}
	return full, err
}

// Parent returns a commit's first parent, or "" when it has none here.
func (r *Repo) Parent(ctx context.Context, commit string) (string, error) {
	if err := checkHash(commit); err != nil {
		return "", err
	}
	return r.resolve(ctx, commit+"^1")
}

// Shallow reports whether the clone's history was cut.
func (r *Repo) Shallow() bool {
	info, err := os.Stat(filepath.Join(r.common, "shallow"))
	return err == nil && info.Size() > 0
}

// SameFile reports whether two commits hold the same file under a name.
func (r *Repo) SameFile(ctx context.Context, a, b, name string) (bool, error) {
	before, err := r.tree(ctx, a, false, name)
	if err != nil {
		return false, err
	}
	after, err := r.tree(ctx, b, false, name)
	return len(before) == 1 && slices.Equal(before, after), err
}

// ChangedBetween lists the workspace's files that differ between two commits.
func (r *Repo) ChangedBetween(ctx context.Context, a, b string) ([]string, error) {
	before, err := r.tree(ctx, a, true)
	if err != nil {
		return nil, err
	}
	after, err := r.tree(ctx, b, true)
	if err != nil {
		return nil, err
	}
	var changed []string
	for _, pair := range [][2][]entry{{before, after}, {after, before}} {
		have := map[entry]bool{}
		for _, e := range pair[1] {
			have[e] = true
		}
		for _, e := range pair[0] {
			if !have[e] && !slices.Contains(changed, e.path) {
				changed = append(changed, e.path)
			}
		}
	}
	slices.Sort(changed)
	return changed, nil
}

func exitCode(err error) int {
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func checkHash(s string) error {
	if n := len(s); n != 40 && n != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return fmt.Errorf("use commit %q: not a full hash", s)
	}
	return nil
}

// entry is one line of git ls-tree.
type entry struct{ mode, kind, object, path string }

func (e entry) regular() bool { return e.mode == "100644" || e.mode == "100755" }

func (r *Repo) tree(ctx context.Context, commit string, recursive bool, paths ...string) ([]entry, error) {
	if err := checkHash(commit); err != nil {
		return nil, err
	}
	treeish, err := r.subtree(ctx, commit)
	if err != nil || treeish == "" {
		return nil, err
	}
	return r.list(ctx, treeish, recursive, paths...)
}

// list is git ls-tree of any tree, from its top.
func (r *Repo) list(ctx context.Context, treeish string, recursive bool, paths ...string) ([]entry, error) {
	args := []string{"ls-tree", "-z", "--full-tree"}
	if recursive {
		args = append(args, "-r")
	}
	out, err := r.git(ctx, nil, append(append(args, treeish, "--"), paths...)...)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if line == "" {
			continue
		}
		meta, name, _ := strings.Cut(line, "\t")
		fields := strings.Fields(meta)
		if len(fields) != 3 {
			return nil, fmt.Errorf("list files of %s: unexpected line %q from git ls-tree", treeish, line)
		}
		entries = append(entries, entry{fields[0], fields[1], fields[2], name})
	}
	return entries, nil
}

// Files lists the committed regular files whose names end in .py, sorted, with
// slashes, relative to the top.
func (r *Repo) Files(ctx context.Context, commit string) ([]string, error) {
	entries, err := r.tree(ctx, commit, true)
	var names []string
	for _, e := range entries {
		if e.regular() && strings.HasSuffix(e.path, ".py") {
			names = append(names, e.path)
		}
	}
	return names, err
}

// ReadFile returns a committed file's bytes, exactly as stored, up to 16 MiB.
// A path that the commit does not have as a regular file gives fs.ErrNotExist.
func (r *Repo) ReadFile(ctx context.Context, commit, name string) ([]byte, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, fmt.Errorf("read %q at %.7s: not a path inside the work tree", name, commit)
	}
	entries, err := r.tree(ctx, commit, false, name)
	if err != nil {
		return nil, fmt.Errorf("read %s at %.7s: %w", name, commit, err)
	}
	if len(entries) != 1 || entries[0].path != name || !entries[0].regular() {
		return nil, fmt.Errorf("read %s at %.7s: %w", name, commit, fs.ErrNotExist)
	}
	var data []byte
	err = r.blobs(ctx, entries, func(_ entry, size int64, content io.Reader) error {
		if size > maxFile {
			return fmt.Errorf("%d bytes are more than the %d allowed", size, maxFile)
		}
		data, err = io.ReadAll(content)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s at %.7s: %w", name, commit, err)
	}
	return data, nil
}

// blobs streams the contents of entries through one git cat-file.
func (r *Repo) blobs(ctx context.Context, entries []entry, each func(e entry, size int64, content io.Reader) error) error {
	var query strings.Builder
	for _, e := range entries {
		query.WriteString(e.object + "\n")
	}
	return r.stream(ctx, time.Unix(0, 0), strings.NewReader(query.String()), func(stdout io.Reader) error {
		in := bufio.NewReader(stdout)
		for _, e := range entries {
			header, err := in.ReadString('\n')
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return fmt.Errorf("read object of %s: %w", e.path, err)
			}
			fields := strings.Fields(header)
			if len(fields) == 2 && fields[1] == "missing" && r.partial(ctx) {
				return r.missing()
			}
			if len(fields) != 3 || fields[1] != "blob" {
				return fmt.Errorf("read object of %s: git says %q: run `git fsck` in %s", e.path, strings.TrimSpace(header), r.workspace)
			}
			size, err := strconv.ParseInt(fields[2], 10, 64)
			if err != nil {
				return fmt.Errorf("read object of %s: %w", e.path, err)
			}
			content := &io.LimitedReader{R: in, N: size}
			if err := each(e, size, content); err != nil {
				return err
			}
			if _, err := io.Copy(io.Discard, content); err != nil {
				return err
			}
			if content.N > 0 {
				return fmt.Errorf("read object of %s: %w", e.path, io.ErrUnexpectedEOF)
			}
			if _, err := in.Discard(1); err != nil {
				return err
			}
		}
		return nil
	}, "cat-file", "--batch")
}

// partial reports whether this clone left objects out on purpose.
func (r *Repo) partial(ctx context.Context) bool {
	out, _ := r.git(ctx, nil, "config", "--get-regexp", `^(remote\..*\.promisor|extensions\.partialclone)$`)
	return len(out) > 0
}

// CommitTrial stores base's tree with train.py replaced by source as a commit
// on parent, dated when (to the second), and returns its hash. It touches no
// ref, no index and no file of the work tree. The same arguments give the same
// hash. message is Message's; control characters in it are escaped.
func (r *Repo) CommitTrial(ctx context.Context, base, parent string, source []byte, message string, when time.Time) (string, error) {
	commit, err := r.commitTrial(ctx, base, parent, source, message, when)
	if err != nil {
		return "", fmt.Errorf("commit trial: %w", r.explain(err, filepath.Join(r.common, "objects")))
	}
	return commit, nil
}

func (r *Repo) commitTrial(ctx context.Context, base, parent string, source []byte, message string, when time.Time) (string, error) {
	if err := checkHash(parent); err != nil {
		return "", err
	}
	entries, err := r.tree(ctx, base, false)
	if err != nil {
		return "", err
	}
	commitBefore.Hit()
	blob, err := r.object(ctx, time.Unix(0, 0), source, "hash-object", "-t", "blob", "-w", "--stdin")
	if err != nil {
		return "", err
	}
	commitBlob.Hit()
	i := slices.IndexFunc(entries, func(e entry) bool { return e.path == "train.py" })
	if i < 0 || !entries[i].regular() {
		return "", fmt.Errorf("%.7s has no train.py", base)
	}
	entries[i].object = blob
	tree, err := r.makeTree(ctx, entries)
	if err == nil {
		tree, err = r.graft(ctx, base, tree)
	}
	if err != nil {
		return "", err
	}
	commitTree.Hit()
	commit, err := r.object(ctx, when, []byte(escape(message, true)), "commit-tree", "-p", parent, tree)
	if err != nil {
		return "", err
	}
	commitAfter.Hit()
	return commit, nil
}

func (r *Repo) makeTree(ctx context.Context, entries []entry) (string, error) {
	var listing bytes.Buffer
	for _, e := range entries {
		fmt.Fprintf(&listing, "%s %s %s\t%s\x00", e.mode, e.kind, e.object, e.path)
	}
	return r.object(ctx, time.Unix(0, 0), listing.Bytes(), "mktree", "-z", "--missing")
}

// object has git write an object, and makes it durable with its name: not every
// command of git's syncs what it writes, and none the folder. An empty file of
// that name is what a power loss left, and git would take it for the object. One
// that is packed already has no file of its own.
func (r *Repo) object(ctx context.Context, when time.Time, content []byte, command ...string) (hash string, err error) {
	objects := filepath.Join(r.common, "objects")
	for range 2 {
		out, err := r.gitAt(ctx, when, content, command...)
		if err != nil {
			return "", err
		}
		hash = strings.TrimSpace(string(out))
		if err := checkHash(hash); err != nil {
			return "", err
		}
		file := filepath.Join(objects, hash[:2], hash[2:])
		info, err := os.Stat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return hash, nil
		case err != nil:
			return "", err
		case info.Size() == 0:
			if err := os.Remove(file); err != nil {
				return "", err
			}
			continue
		}
		return hash, errors.Join(durable.File(file), durable.Names(objects, file))
	}
	return "", fmt.Errorf("write object %s: its file is empty", hash)
}

// syncRef does it for a ref that is a file of its own.
func (r *Repo) syncRef(ref string) error {
	return durable.Names(r.common, filepath.Join(r.common, filepath.FromSlash(ref)))
}

// SetTrialRef moves refs/autoresearch/<tag>/trial/<id> of a candidate from old to
// commit, so that what is discarded is kept too; an empty old means that there is
// none yet. Repeating it changes nothing; another commit there is ErrMoved.
func (r *Repo) SetTrialRef(ctx context.Context, tag string, id int64, commit, old string) error {
	if err := CheckTag(tag); err != nil {
		return err
	}
	trialBefore.Hit()
	if err := r.move(ctx, TrialRef(tag, id), commit, old); err != nil {
		return err
	}
	trialAfter.Hit()
	return nil
}

// AdvanceChampion moves refs/heads/autoresearch/<tag> from old to new; an empty
// old means that the branch must not exist yet. A branch that stands at new
// already is left as it is. Anywhere else, somebody moved it: ErrMoved, and
// nothing is changed. ErrRefLocked: another git command holds it.
func (r *Repo) AdvanceChampion(ctx context.Context, tag, new, old string) error {
	if err := CheckTag(tag); err != nil {
		return err
	}
	champBefore.Hit()
	if err := r.move(ctx, BranchRef(tag), new, old); err != nil {
		return err
	}
	champAfter.Hit()
	return nil
}

func (r *Repo) move(ctx context.Context, ref, new, old string) error {
	if err := r.set(ctx, ref, new, old); err != nil {
		return err
	}
	if err := r.syncRef(ref); err != nil { // also where a move that was interrupted is repeated
		return r.explain(fmt.Errorf("move %s to %.7s: %w", ref, new, err), filepath.Join(r.common, path.Dir(ref)))
	}
	return nil
}

func (r *Repo) set(ctx context.Context, ref, new, old string) error {
	if err := checkHash(new); err != nil {
		return err
	}
	if old != "" {
		if err := checkHash(old); err != nil {
			return err
		}
	}
	have, err := r.resolve(ctx, ref)
	if err != nil {
		return fmt.Errorf("read %s: %w", ref, err)
	}
	if have == new {
		return nil
	}
	if have == old {
		expect := old
		if old == "" {
			expect = strings.Repeat("0", len(new))
		}
		if err = r.updateRef(ctx, ref, new, expect); err == nil {
			return nil
		}
		if have, _ = r.resolve(ctx, ref); have == new {
			return nil
		}
	}
	if have != old {
		return movedError(ref, new, old, have)
	}
	return r.explain(fmt.Errorf("move %s to %.7s: %w", ref, new, err), filepath.Join(r.common, path.Dir(ref)))
}

func movedError(ref, new, old, have string) error {
	short := strings.TrimPrefix(ref, "refs/heads/")
	switch {
	case old == "":
		return fmt.Errorf("move %s to %s: it exists already, at %s (%w): choose another tag, or delete it with `git update-ref -d %s`", short, new, have, ErrMoved, ref)
	case have == "":
		return fmt.Errorf("move %s from %s to %s: it was deleted (%w): restore it with `git update-ref %s %s`, then start again", short, old, new, ErrMoved, ref, old)
	}
	return fmt.Errorf("move %s from %s to %s: it stands at %s (%w): keep that commit under another branch if it is wanted, restore this one with `git update-ref %s %s`, then start again", short, old, new, have, ErrMoved, ref, old)
}
