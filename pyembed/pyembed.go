// Package pyembed holds CPython inside this process. It is the only package
// that imports "C".
//
// One interpreter lives in one process and is never finalised: torch does not
// survive that. Every call must come from the thread that called [Start],
// which therefore stays locked:
//
//	runtime.LockOSThread()
//	in, err := pyembed.Start(pyembed.Config{Executable: "/ws/.venv/bin/python"})
//	in.Host("greet", func(b []byte) ([]byte, error) { return append([]byte("hello "), b...), nil })
//	exit, err := in.RunFile(pyembed.Script{Path: "/ws/train.py", Directory: "/ws", Argv: []string{"train.py"}})
//
// Python reaches the host through the built-in module _autoresearchd, whose
// host(name, data) calls what [Interpreter.Host] registered. go-python/cpy3
// does the rest; embed.c is what it lacks.
package pyembed

/*
#cgo pkg-config: python3
#include "embed.h"
#include <stdlib.h>
*/
import "C"

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unsafe"

	python3 "github.com/go-python/cpy3"
)

//go:embed glue.py
var glue string

// Config says how the interpreter starts.
type Config struct {
	// Executable is the python whose environment is taken: sys.executable and,
	// through the pyvenv.cfg beside it, sys.prefix.
	Executable string
	// NativeFaults lets a segmentation fault or abort end the process by its
	// signal after faulthandler's trace. Without it the Go runtime's own
	// handlers stay.
	NativeFaults bool
}

// Interpreter is the CPython of this process.
type Interpreter struct{ glue *python3.PyObject }

// Exit says how a file that was run as __main__ ended.
type Exit struct {
	Code      int    `json:"code"`      // as the process would have exited
	Exception string `json:"exception"` // type of an uncaught exception, or ""
	Message   string `json:"message"`   // its text
	Traceback string `json:"traceback"`
}

var (
	hostMu    sync.RWMutex
	hostFuncs = map[string]func([]byte) ([]byte, error){}
	started   bool // only Start touches it, and a process calls that once
)

// Version returns the version of the libpython that is linked, "3.12.1". It
// needs no interpreter.
func Version() string {
	v, _, _ := strings.Cut(C.GoString(C.Py_GetVersion()), " ")
	return v
}

// Start initialises CPython on the calling thread, which must be locked to its
// goroutine. A process can do it once.
func Start(cfg Config) (*Interpreter, error) {
	if started {
		return nil, errors.New("start CPython: this process has an interpreter already")
	}
	exe := C.CString(cfg.Executable)
	defer C.free(unsafe.Pointer(exe))
	faults := C.int(0)
	if cfg.NativeFaults {
		faults = 1
	}
	if msg := C.ar_start(exe, faults); msg != nil {
		return nil, fmt.Errorf("start CPython as %s: %s", cfg.Executable, C.GoString(msg))
	}
	started = true
	in := &Interpreter{}
	in.Host("pyembed.glue", func([]byte) ([]byte, error) { return []byte(glue), nil })
	if python3.PyRun_SimpleString(`
import sys, types, _autoresearchd
sys.modules["_autoresearchd_glue"] = types.ModuleType("_autoresearchd_glue")
exec(compile(_autoresearchd.host("pyembed.glue"), "<pyembed/glue.py>", "exec"), sys.modules["_autoresearchd_glue"].__dict__)
`) != 0 {
		return nil, errors.New("start CPython: its first lines failed, see standard error")
	}
	module := python3.PyImport_ImportModule("_autoresearchd_glue")
	if module == nil {
		return nil, fmt.Errorf("start CPython: %s", pythonError())
	}
	in.glue = module
	return in, nil
}

// Host makes a Go function callable from Python as
// _autoresearchd.host(name, data). It runs on the calling Python thread
// without the GIL, possibly on several at once; its error is raised there as
// RuntimeError.
func (in *Interpreter) Host(name string, fn func(data []byte) ([]byte, error)) {
	hostMu.Lock()
	defer hostMu.Unlock()
	hostFuncs[name] = fn
}

// Load makes a module out of source text. filename stands in tracebacks.
func (in *Interpreter) Load(module, source, filename string) error {
	const key = "pyembed.load"
	in.Host(key, func([]byte) ([]byte, error) { return []byte(source), nil })
	code := fmt.Sprintf("import _autoresearchd, _autoresearchd_glue\n_autoresearchd_glue.load(%q, _autoresearchd.host(%q), %q)\n", module, key, filename)
	if python3.PyRun_SimpleString(code) != 0 {
		return fmt.Errorf("load Python module %s: see the traceback on standard error", module)
	}
	return nil
}

// Call calls module.function(bytes) and returns the bytes that it returns
// (None: nil). Neither may hold NUL bytes. An exception, SystemExit included,
// comes back as an error that holds its traceback.
func (in *Interpreter) Call(module, function string, data []byte) ([]byte, error) {
	args := []*python3.PyObject{python3.PyUnicode_FromString(module), python3.PyUnicode_FromString(function), python3.PyBytes_FromString(string(data))}
	answer := in.glue.CallMethodArgs("call", args...)
	for _, a := range args {
		a.DecRef()
	}
	if answer == nil {
		return nil, fmt.Errorf("call %s.%s: %s", module, function, pythonError())
	}
	defer answer.DecRef()
	text := python3.PyBytes_AsString(answer)
	if strings.HasPrefix(text, "+") {
		return []byte(text[1:]), nil
	}
	return nil, fmt.Errorf("call %s.%s: %s", module, function, strings.TrimSpace(strings.TrimPrefix(text, "-")))
}

// Script is a file to run as `python Path Args…` would.
type Script struct {
	Path      string   `json:"path"`
	Argv      []string `json:"argv"`      // sys.argv, the script's name first
	Directory string   `json:"directory"` // sys.path[0]
	Last      bool     `json:"last"`      // the process ends afterwards: exit functions and threads of libraries are ended too
}

// RunFile runs a file as __main__. SystemExit and uncaught exceptions are in
// Exit; an error means that the interpreter itself failed.
func (in *Interpreter) RunFile(script Script) (Exit, error) {
	path := script.Path
	spec, err := json.Marshal(script)
	if err != nil {
		return Exit{}, fmt.Errorf("run %s: %w", path, err)
	}
	answer, err := in.Call("_autoresearchd_glue", "run_file", spec)
	if err != nil {
		return Exit{}, err
	}
	var exit Exit
	if err := json.Unmarshal(answer, &exit); err != nil {
		return Exit{}, fmt.Errorf("run %s: decode how it ended: %w", path, err)
	}
	return exit, nil
}

func pythonError() string {
	text := C.ar_error()
	defer C.free(unsafe.Pointer(text))
	return C.GoString(text)
}

//export goHost
func goHost(name, data *C.char, size C.size_t, out **C.char, outSize *C.size_t) C.int {
	hostMu.RLock()
	fn := hostFuncs[C.GoString(name)]
	hostMu.RUnlock()
	fail := func(err error) C.int {
		*out = C.CString(err.Error())
		return 1
	}
	if fn == nil {
		return fail(fmt.Errorf("no host function %q", C.GoString(name)))
	}
	answer, err := fn(C.GoBytes(unsafe.Pointer(data), C.int(size)))
	if err != nil {
		return fail(err)
	}
	if len(answer) > 0 {
		*out = (*C.char)(C.CBytes(answer))
		*outSize = C.size_t(len(answer))
	}
	return 0
}
