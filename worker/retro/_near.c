/* The inner loop of a hunt: which of many hashes lie within a radius of a few in any of their sixteen forms.
 *
 * A hash is a grid of 16 x 16 bits. Mirroring complements every other row or column, inverting all: so in each of the four
 * classes of bits by parity of row and column either all bits are complemented or none, and of the classes an even number.
 * One comparison of the four therefore tells the nearest of eight forms; the other eight are those of the transposed grid,
 * which is stored as a row of its own.
 *
 * Each class is cut into chunks. By the pigeonhole principle some chunk, or its complement, agrees to within a few bits: the
 * stored rows stand in the buckets of all such values, so each chunk of a query is one bucket to read.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>

#define CLASSES 4
#define CHUNKS 20
#define CLASS_BITS 64
#define HASH_BYTES 32

/* One instruction counts the bits of a word on every x86-64 of the last fifteen years, but not on the first. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define COUNTS_BITS __attribute__((target_clones("popcnt", "default")))
#else
#define COUNTS_BITS
#endif

typedef struct {
    uint32_t query, row;
} Hit;

typedef struct {
    Hit *hits;
    size_t count, room;
} Hits;

static int width_of(int chunk) { return chunk % 5 < 4 ? 13 : 12; }

static uint64_t every_other_bit(uint64_t x) {
    x &= 0x5555555555555555u;
    x = (x | x >> 1) & 0x3333333333333333u;
    x = (x | x >> 2) & 0x0f0f0f0f0f0f0f0fu;
    x = (x | x >> 4) & 0x00ff00ff00ff00ffu;
    x = (x | x >> 8) & 0x0000ffff0000ffffu;
    return (x | x >> 16) & 0x00000000ffffffffu;
}

/* Two bytes are a row of the grid. */
static void take_apart(const uint8_t *hash, uint64_t *classes) {
    for (int c = 0; c < CLASSES; c++) classes[c] = 0;
    for (int word = 0; word < 4; word++) {
        uint64_t x = 0;
        for (int byte = 0; byte < 8; byte++) x |= (uint64_t)hash[8 * word + byte] << (8 * byte);
        for (int odd = 0; odd < 2; odd++) {
            uint64_t columns = every_other_bit(x >> odd);
            classes[odd] |= ((columns & 0xff) | (columns >> 8 & 0xff00)) << (16 * word);
            classes[2 + odd] |= ((columns >> 8 & 0xff) | (columns >> 16 & 0xff00)) << (16 * word);
        }
    }
}

/* The same for a value and its complement: the lower half of the values stands for both. */
static uint32_t either(uint32_t value, int width) {
    return value >> (width - 1) ? ~value & ((1u << width) - 1) : value;
}

static void chunks_of(const uint64_t *classes, uint32_t *values) {
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        int width = width_of(chunk);
        values[chunk] = either(classes[chunk / 5] >> (13 * (chunk % 5)) & ((1u << width) - 1), width);
    }
}

/* Whether two hashes are within the radius in one of the eight forms. Nearly all pairs end at the second class. */
COUNTS_BITS static inline int is_near(const uint64_t *a, const uint64_t *b, int radius) {
    int sum = 0, most = 0, complemented = 0;
    for (int c = 0; c < CLASSES; c++) {
        int distance = __builtin_popcountll(a[c] ^ b[c]);
        int other = CLASS_BITS - distance;
        complemented ^= distance > other;
        distance = distance < other ? distance : other;
        most = most > distance ? most : distance;
        sum += distance;
        if (c && sum > radius) return 0;
    }
    /* An odd number of classes can't be: the one that costs least is taken the other way round. */
    return complemented ? sum + CLASS_BITS - 2 * most <= radius : 1;
}

static int keep(Hits *hits, uint32_t query, uint32_t row) {
    if (hits->count == hits->room) {
        size_t room = hits->room ? hits->room * 2 : 256;
        Hit *grown = realloc(hits->hits, room * sizeof(Hit));
        if (!grown) return 0;
        hits->hits = grown;
        hits->room = room;
    }
    hits->hits[hits->count++] = (Hit){query, row};
    return 1;
}

/* 1: whole; 0: no memory; -1: more than `most` pairs. `last` has the newest query near each hash, from 1 on: a pair of
 * alike hashes meets in many chunks, and is kept once. Two rows stand for one hash. */
COUNTS_BITS static int search_all(const uint64_t *stored, const uint32_t *offsets, const uint32_t *rows, uint32_t *last,
                                  const uint8_t *queries, size_t asked, int radius, size_t most, Hits *hits) {
    for (size_t n = 0; n < asked; n++) {
        uint64_t classes[CLASSES];
        uint32_t values[CHUNKS];
        const uint32_t *table = offsets;
        take_apart(queries + n * HASH_BYTES, classes);
        chunks_of(classes, values);
        for (int chunk = 0; chunk < CHUNKS; chunk++) {
            values[chunk] += (uint32_t)(table - offsets);
            __builtin_prefetch(offsets + values[chunk]);
            table += (1u << (width_of(chunk) - 1)) + 1;
        }
        for (int chunk = 0; chunk < CHUNKS; chunk++) __builtin_prefetch(rows + offsets[values[chunk]]);
        for (int chunk = 0; chunk < CHUNKS; chunk++)
            for (uint32_t at = offsets[values[chunk]]; at < offsets[values[chunk] + 1]; at++)
                if (is_near(classes, stored + (size_t)rows[at] * CLASSES, radius) && last[rows[at] / 2] != n + 1) {
                    last[rows[at] / 2] = (uint32_t)n + 1;
                    if (hits->count == most) return -1;
                    if (!keep(hits, (uint32_t)n, rows[at] / 2)) return 0;
                }
    }
    return 1;
}

/* classes(hashes) -> uint64[n, 4]: the four classes of bits of each hash. */
static PyObject *classes(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer hashes;
    if (!PyArg_ParseTuple(args, "y*", &hashes)) return NULL;
    size_t count = (size_t)hashes.len / HASH_BYTES;
    PyObject *made = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(count * HASH_BYTES));
    if (made)
        for (size_t n = 0; n < count; n++)
            take_apart((const uint8_t *)hashes.buf + n * HASH_BYTES, (uint64_t *)PyBytes_AsString(made) + n * CLASSES);
    PyBuffer_Release(&hashes);
    return made;
}

/* search(classes, offsets, rows, queries, radius, most) -> uint32[n, 2]: query and hash of each near pair, each once.
 * None where there are more than `most`. */
static PyObject *search(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer stored, offsets, rows, queries;
    Hits hits = {NULL, 0, 0};
    int radius, whole = 0;
    Py_ssize_t most;
    uint32_t *last;
    PyObject *found = NULL;
    if (!PyArg_ParseTuple(args, "y*y*y*y*in", &stored, &offsets, &rows, &queries, &radius, &most)) return NULL;
    last = calloc((size_t)stored.len / (2 * HASH_BYTES) + 1, sizeof(uint32_t));
    Py_BEGIN_ALLOW_THREADS
    if (last)
        whole = search_all(stored.buf, offsets.buf, rows.buf, last, queries.buf, (size_t)queries.len / HASH_BYTES, radius,
                           (size_t)most, &hits);
    Py_END_ALLOW_THREADS
    if (whole > 0)
        found = PyBytes_FromStringAndSize((const char *)hits.hits, (Py_ssize_t)(hits.count * sizeof(Hit)));
    else if (whole < 0)
        found = Py_NewRef(Py_None);
    else
        PyErr_NoMemory();
    free(hits.hits);
    free(last);
    PyBuffer_Release(&stored);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&rows);
    PyBuffer_Release(&queries);
    return found;
}

static PyMethodDef methods[] = {
    {"classes", classes, METH_VARARGS, "The four classes of bits of each hash."},
    {"search", search, METH_VARARGS, "The pairs of query and stored row that are near in any form."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_near", "The inner loop of a hunt.", -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__near(void) { return PyModule_Create(&module); }
