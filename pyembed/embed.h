/* What cpy3 lacks: an interpreter configured by PyConfig, and a built-in
   module through which Python calls functions of the host. */
#ifndef AUTORESEARCHD_EMBED_H
#define AUTORESEARCHD_EMBED_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Initialises CPython as `executable` would have it. Returns NULL, or a
   message that lives as long as the process. The calling thread holds the
   GIL afterwards. */
const char *ar_start(const char *executable, int native_faults);

/* Fetches the pending exception as text, to be freed by the caller. */
char *ar_error(void);

#endif
