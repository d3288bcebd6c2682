/* cpy3 0.2.0 was written for CPython 3.7 and names functions that later
   versions removed. This header stands before the interpreter's own on the
   include path, brings that one in, and defines what went away, so that cpy3
   compiles on 3.10 to 3.13. Nothing in autoresearchd calls these. */
#ifndef AUTORESEARCHD_COMPAT_PYTHON_H
#define AUTORESEARCHD_COMPAT_PYTHON_H

#include_next <Python.h>

static inline int PyDict_ClearFreeList(void) { return 0; }
static inline int PyFloat_ClearFreeList(void) { return 0; }
static inline int PyList_ClearFreeList(void) { return 0; }
static inline void PyEval_ReInitThreads(void) {}

#if PY_VERSION_HEX >= 0x030D0000
static inline int PyEval_ThreadsInitialized(void) { return 1; }
static inline void PySys_AddWarnOption(const wchar_t *s) { (void)s; }
static inline void PySys_AddXOption(const wchar_t *s) { (void)s; }
static inline void PySys_SetPath(const wchar_t *s) { (void)s; }
static inline void Py_SetPath(const wchar_t *s) { (void)s; }
static inline int Py_SetStandardStreamEncoding(const char *e, const char *r) { (void)e; (void)r; return -1; }
#endif

#endif
