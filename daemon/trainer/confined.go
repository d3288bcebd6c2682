package trainer

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/sandbox"
	"autoresearchd/search"
)

// inside is how a trainer is confined. Its zero value: it is not.
type inside struct {
	link    *sandbox.Link
	scratch string // a folder with home and tmp, which goes with it
	folder  string // that it was started for and in; see moveIn
	kept    string // the name under which it still sees that folder, when it was given another outside
}

// scratches is the folder in which those of all trainers lie.
func (o *Options) scratches() string { return filepath.Join(filepath.Dir(o.Folder(1)), ".scratch") }

// confine has a trainer started in the sandbox.
func (p *process) confine(cmd *exec.Cmd, j job) (err error) {
	o := p.place.options
	if p.onGPU {
		loading.Do(loadModule)
	}
	p.scratch = filepath.Join(o.scratches(), strconv.FormatInt(scratched.Add(1), 10))
	policy, env, err := o.confinement(j, p.scratch)
	if err != nil {
		return fmt.Errorf("make room for a sandbox: %w", err)
	}
	if p.view.Dir() != "" {
		policy.Write = append(policy.Write, p.view.Dir())
	}
	if j.dir != "/" {
		p.folder = j.dir
	}
	cmd.Env = append(o.clean(cmd.Env), env...)
	p.link, err = o.Sandbox.Wrap(cmd, policy)
	return err
}

var (
	loading   sync.Once
	scratched atomic.Int64 // by this process
)

// confinement returns what a job's trainer may reach, and what its environment
// needs for that. It makes the trainer's scratch folder.
func (o *Options) confinement(j job, scratch string) (sandbox.Policy, []string, error) {
	if err := os.RemoveAll(scratch); err != nil {
		return sandbox.Policy{}, nil, err
	}
	home, tmp := filepath.Join(scratch, "home"), filepath.Join(scratch, "tmp")
	if err := errors.Join(os.MkdirAll(filepath.Join(home, ".cache"), 0o750), os.MkdirAll(tmp, 0o750)); err != nil {
		return sandbox.Policy{}, nil, err
	}
	if resolved, err := filepath.EvalSymlinks(tmp); err == nil {
		tmp = resolved
	}
	policy := sandbox.Policy{Read: slices.Concat(sandbox.Mapped(), sandbox.Installed(o.Python), o.Shared), Write: []string{scratch}, Deny: slices.Concat(o.Deny, o.Closed, j.deny), Tmp: tmp}
	if f, known := o.Notary.validation(); known {
		policy.Deny = append(policy.Deny, f...)
	}
	if j.dir != "/" {
		policy.Write = append(policy.Write, cmp.Or(j.own, j.dir))
	}
	env := []string{"HOME=" + home, "USER=trial", "LOGNAME=trial", "PYTHONNOUSERSITE=1", "CUDA_CACHE_PATH=" + filepath.Join(home, ".nv"), "HF_HUB_OFFLINE=1"}
	if o.Sandbox.Rooted() {
		env = append(env, "TMPDIR=/tmp")
	} else {
		env = append(env, "TMPDIR="+tmp)
	}
	// What is kept below a home folder and is of use to trials stays there. A
	// model hub's folder above it holds a key.
	if own, err := os.UserHomeDir(); err == nil {
		for _, name := range []string{".cache/huggingface/hub", ".cache/autoresearch"} {
			real := filepath.Join(own, name)
			if !exists(real) {
				continue
			}
			policy.Read = append(policy.Read, real)
			link := filepath.Join(home, name)
			_ = errors.Join(os.MkdirAll(filepath.Dir(link), 0o750), os.Symlink(real, link))
		}
	}
	policy.Read = append(policy.Read, sandbox.OnPaths("HF_HUB_CACHE")...)
	if hub := os.Getenv("HF_HOME"); filepath.IsAbs(hub) {
		policy.Read = append(policy.Read, filepath.Join(hub, "hub"))
	}
	if index, ok := device.CUDAIndex(j.device); ok {
		nodes, uuid := sandbox.NVIDIA(index)
		policy.Devices = nodes
		if uuid != "" {
			env = append(env, "CUDA_VISIBLE_DEVICES="+uuid)
		}
		if !o.Sandbox.Workers() && os.Getenv("TORCHINDUCTOR_COMPILE_THREADS") == "" {
			env = append(env, "TORCHINDUCTOR_COMPILE_THREADS=1")
		}
	}
	policy.Read = append(policy.Read, sandbox.OnPaths("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "PYTHONPYCACHEPREFIX")...)
	return policy, env, nil
}

// kept are the variables that training is steered by; no other of the daemon's
// reaches a trial in the sandbox.
var kept = struct{ names, prefixes []string }{
	[]string{"PATH", "LANG", "LANGUAGE", "TZ", "TERM", "CC", "CXX", "LD_LIBRARY_PATH", "LD_PRELOAD", "DO_NOT_TRACK"},
	[]string{"LC_", "PYTHON", "CUDA", "CUDNN", "CUBLAS", "NVIDIA_", "NCCL_", "TORCH", "PYTORCH_", "TRITON_", "CUTE_", "CUTLASS_", "OMP_", "GOMP_", "KMP_", "MKL_",
		"OPENBLAS_", "NUMEXPR_", "TOKENIZERS_", "TIKTOKEN_", "HF_", "TRANSFORMERS_", "MALLOC_", "GLIBC_", "AUTORESEARCH"},
}

// clean leaves of an environment what trials need, without what confinement sets.
func (o *Options) clean(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return !slices.Contains(kept.names, name) && !slices.ContainsFunc(kept.prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	})
}

// moveIn makes the folder that a trainer was started in the trial's: what it may
// reach was settled at its start, before there was one. It keeps its place in
// the file system whatever its name is. A trainer that is not confined follows
// its order anywhere.
func (p *process) moveIn(work string) error {
	if p.link == nil || p.folder == work {
		return nil
	}
	fail := func(err error) error { return fmt.Errorf("make a standby's folder the trial's: %w", err) }
	old, err := os.ReadDir(p.folder)
	if err != nil {
		return fail(err)
	}
	for _, e := range old {
		if err := os.RemoveAll(filepath.Join(p.folder, e.Name())); err != nil {
			return fail(err)
		}
	}
	entries, err := os.ReadDir(work)
	if err != nil {
		return fail(err)
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(work, e.Name()), filepath.Join(p.folder, e.Name())); err != nil {
			return fail(errors.Join(err, giveBack(p.folder, work)))
		}
	}
	if err := errors.Join(os.Remove(work), os.Rename(p.folder, work)); err != nil {
		return fail(errors.Join(err, os.MkdirAll(work, 0o755), giveBack(p.folder, work)))
	}
	if p.place.options.Sandbox.Rooted() {
		p.kept = p.folder
	}
	p.folder = work
	return nil
}

// giveBack moves what a folder holds into another.
func giveBack(from, to string) error {
	entries, err := os.ReadDir(from)
	for _, e := range entries {
		err = errors.Join(err, os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())))
	}
	return err
}

func (p *process) confined() (alone bool, how string) {
	if p.link == nil {
		return false, "none"
	}
	return true, p.place.options.Sandbox.Summary()
}

func (p *process) sees(work string) string {
	if p.kept != "" && p.folder == work {
		return p.kept
	}
	return work
}

// written returns the bytes that it has written outside its trial's folder.
func (p *process) written() int64 {
	if p.scratch == "" {
		return 0
	}
	return FolderSize(p.scratch)
}

// unconfine removes what was made for the sandbox, once nothing is in it.
func (p *process) unconfine() {
	if p.scratch != "" {
		_ = os.RemoveAll(p.scratch)
	}
}

// cudaCheck makes a context on the first GPU that a program sees.
const cudaCheck = `import ctypes, sys
cuda, device, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_void_p()
for call, *args in (("cuInit", 0), ("cuDeviceGet", ctypes.byref(device), 0), ("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)):
    error = getattr(cuda, call)(*args)
    if error:
        sys.exit(f"{call} gives error {error}")
`

// FindSandbox finds what this machine allows to confine trials on a device with,
// by trying what a trial does at its start. mode is the configuration's.
func FindSandbox(o *Options, mode, deviceName string, without sandbox.Leave) (*sandbox.Box, error) {
	if mode == sandbox.Off {
		return nil, nil
	}
	work := filepath.Join(o.scratches(), "try")
	defer os.RemoveAll(work)
	if err := os.MkdirAll(filepath.Join(work, "work"), 0o750); err != nil {
		return nil, fmt.Errorf("try the sandbox: %w", err)
	}
	w := sandbox.Wish{Mode: mode, Owner: o.Owner, Command: command, Without: without}
	policy, env, err := o.confinement(job{dir: filepath.Join(work, "work"), device: deviceName}, filepath.Join(work, "scratch"))
	if err != nil {
		return nil, fmt.Errorf("try the sandbox: %w", err)
	}
	w.Like, w.Env = policy, append(o.clean(o.environment(search.Trial{Device: deviceName})), env...)
	w.Try = [][]string{{o.Python, "-I", "-c", "import json"}}
	if _, onGPU := device.CUDAIndex(deviceName); onGPU && exists("/dev/nvidiactl") {
		loading.Do(loadModule)
		w.Try = append(w.Try, []string{o.Python, "-I", "-c", cudaCheck})
	}
	return sandbox.Find(w)
}
