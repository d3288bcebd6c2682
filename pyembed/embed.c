#include "embed.h"

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "_cgo_export.h"

/* cpy3 names it; Python.h declares it up to 3.13, libpython defines it nowhere
   we need. */
__attribute__((weak)) int PySignal_SetWakeupFd(int fd) {
  (void)fd;
  return -1;
}

static pid_t owner;

/* host(name, data=b"") -> bytes: calls a host function. In a child made by
   fork the host's runtime is gone, so there it does nothing. */
static PyObject *host(PyObject *self, PyObject *args) {
  const char *name;
  Py_buffer data = {0};
  (void)self;
  if (!PyArg_ParseTuple(args, "s|y*", &name, &data)) return NULL;
  PyObject *result = NULL;
  if (getpid() != owner) {
    result = PyBytes_FromStringAndSize(NULL, 0);
  } else {
    char *out = NULL;
    size_t size = 0;
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = goHost((char *)name, data.buf, (size_t)data.len, &out, &size);
    Py_END_ALLOW_THREADS
    if (failed)
      PyErr_Format(PyExc_RuntimeError, "%s", out ? out : "host call failed");
    else
      result = PyBytes_FromStringAndSize(out, (Py_ssize_t)size);
    free(out);
  }
  if (data.obj) PyBuffer_Release(&data);
  return result;
}

static PyMethodDef methods[] = {
    {"host", host, METH_VARARGS, "host(name, data=b'') -> bytes: calls a function of the embedding program."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_autoresearchd", "Functions of the program that embeds this interpreter.", -1, methods, NULL, NULL, NULL, NULL,
};

static PyObject *make_module(void) { return PyModule_Create(&definition); }

/* Training on CPU frees and asks again for the same buffers at every step. By
   default glibc gives the larger ones back to the system each time, and their
   page faults cost about a tenth of the speed (scripts/embed_vs_python.py). */
static void keep_freed_memory(void) {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

const char *ar_start(const char *executable, int native_faults) {
  static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
  owner = getpid();
  keep_freed_memory();
  if (native_faults)
    /* A fault in an extension module ends the process by its own signal,
       after faulthandler's trace, and not in the Go runtime's handler. */
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) signal(fatal[i], SIG_DFL);
  if (PyImport_AppendInittab("_autoresearchd", make_module) < 0) return "register the host module: out of memory";

  PyConfig config;
  PyConfig_InitPythonConfig(&config);
  config.install_signal_handlers = 0;
  config.parse_argv = 0;
  config.faulthandler = native_faults;
  PyStatus status = PyConfig_SetBytesString(&config, &config.program_name, executable);
  if (!PyStatus_Exception(status)) status = PyConfig_SetBytesString(&config, &config.executable, executable);
  if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
  PyConfig_Clear(&config);
  if (PyStatus_Exception(status)) return status.err_msg ? status.err_msg : "initialise CPython: unknown fault";
  return NULL;
}

char *ar_error(void) {
  PyObject *type = NULL, *value = NULL, *trace = NULL;
  PyErr_Fetch(&type, &value, &trace);
  PyObject *text = value ? PyObject_Str(value) : NULL;
  const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
  const char *name = type ? ((PyTypeObject *)type)->tp_name : "no exception";
  size_t size = strlen(name) + (utf8 ? strlen(utf8) : 0) + 3;
  char *out = malloc(size);
  if (out) snprintf(out, size, "%s: %s", name, utf8 ? utf8 : "");
  PyErr_Clear();
  Py_XDECREF(text);
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(trace);
  return out;
}
