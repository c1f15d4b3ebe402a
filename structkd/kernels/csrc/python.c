/* All that knows of Python. The library is built and installed like an extension, but loaded with ctypes, so these
 * names of the stable ABI are all that it needs: no headers, one file for every version. */
#include "structkd.h"

#include <stddef.h>
#include <stdlib.h>

typedef struct _object PyObject;
typedef struct _ts PyThreadState;
extern PyObject *PyExc_ImportError;
extern void PyErr_SetString(PyObject *type, const char *message);
extern PyObject *PyErr_NoMemory(void); /* returns NULL */
extern PyThreadState *PyEval_SaveThread(void);
extern void PyEval_RestoreThread(PyThreadState *thread);
extern PyObject *PyList_New(ptrdiff_t size);
extern int PyList_SetItem(PyObject *list, ptrdiff_t index, PyObject *item); /* takes the item over */
extern PyObject *PyLong_FromLongLong(long long value);
extern void Py_DecRef(PyObject *object);

static PyObject *list_of(const int64_t *numbers, int64_t n) {
    PyObject *list = PyList_New((ptrdiff_t)n);
    for (int64_t i = 0; list && i < n; i++) {
        PyObject *number = PyLong_FromLongLong(numbers[i]);
        if (!number || PyList_SetItem(list, (ptrdiff_t)i, number)) {
            Py_DecRef(list);
            return NULL;
        }
    }
    return list;
}

/* Paths [B, T] up to the lengths [B], a list for every sentence; NULL with an exception set. */
static PyObject *lists_of(const int64_t *paths, const potentials *p) {
    PyObject *rows = PyList_New((ptrdiff_t)p->batch);
    for (int64_t b = 0; rows && b < p->batch; b++) {
        PyObject *row = list_of(paths + b * p->length, p->lengths[b]);
        if (!row || PyList_SetItem(rows, (ptrdiff_t)b, row)) {
            Py_DecRef(rows);
            return NULL;
        }
    }
    return rows;
}

/* The best tags of every sentence as lists; NULL with an exception set. The caller holds the interpreter's lock, which
 * is let go of while there is no Python to be done. */
EXPORT PyObject *structkd_decode(const potentials *p) {
    int64_t *paths = malloc((size_t)(p->batch * p->length) * sizeof(int64_t));
    PyThreadState *thread = PyEval_SaveThread();
    int64_t status = paths ? structkd_topk(p, 1, paths, NULL) : OUT_OF_MEMORY;
    PyEval_RestoreThread(thread);
    PyObject *rows = status == OUT_OF_MEMORY ? PyErr_NoMemory() : lists_of(paths, p);
    free(paths);
    return rows;
}

EXPORT PyObject *PyInit__cpu(void) {
    PyErr_SetString(PyExc_ImportError, "structkd.kernels._cpu is loaded by structkd.kernels.native, not imported");
    return NULL;
}
