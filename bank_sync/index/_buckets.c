/* The inner loops of the bucket index: build the buckets, probe them, compare what they hold.
 *
 * A hash is 256 bits, bit b being bit b % 8 of byte b / 8. It is cut into `chunks` runs of bits, the first 256 % chunks
 * of them one bit longer. For each chunk, `offsets` says where in `rows` the numbers of the hashes with each value of that
 * chunk begin. By the pigeonhole principle two hashes within a radius agree, to within a few bits, in some chunk: so all
 * values within those few bits are probed. Nearly all the time goes into waiting for memory; every stage therefore asks for
 * what the next one needs before any of it is used.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the files of an epoch are little-endian and are mapped as they are"
#endif

#define WORDS 4
#define HASH_BYTES 32
#define MOST_CHUNKS 64
#define PROBES 256
#define CANDIDATES 1024
/* Rows of a scan that stay in the nearest cache while every query passes over them. */
#define SCANNED 512

/* One instruction counts the bits of a word on every x86-64 of the last fifteen years, but not on the first. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define COUNTS_BITS __attribute__((target_clones("popcnt", "default")))
#else
#define COUNTS_BITS
#endif

typedef struct {
    uint32_t query, row, distance;
} Hit;

typedef struct {
    Hit *hits;
    size_t count, room;
    int failed;
} Hits;

typedef struct {
    int chunks;
    int start[MOST_CHUNKS];
    int width[MOST_CHUNKS];
    /* Bits that may differ in each chunk; -1 where it need not be probed. */
    int slack[MOST_CHUNKS];
    size_t table[MOST_CHUNKS];
} Layout;

static void lay_out(Layout *layout, int chunks) {
    int bit = 0;
    size_t table = 0;
    layout->chunks = chunks;
    for (int c = 0; c < chunks; c++) {
        layout->start[c] = bit;
        layout->width[c] = 256 / chunks + (c < 256 % chunks);
        layout->table[c] = table;
        bit += layout->width[c];
        table += ((size_t)1 << layout->width[c]) + 1;
    }
}

static void allow(Layout *layout, int radius) {
    int each = radius / layout->chunks, more = radius % layout->chunks;
    for (int c = 0; c < layout->chunks; c++) layout->slack[c] = c <= more ? each : each - 1;
}

static inline uint32_t chunk_of(const uint64_t *hash, int start, int width) {
    int word = start >> 6, shift = start & 63;
    uint64_t value = hash[word] >> shift;
    if (shift + width > 64) value |= hash[word + 1] << (64 - shift);
    return (uint32_t)(value & (((uint64_t)1 << width) - 1));
}

static void keep(Hits *hits, uint32_t query, uint32_t row, uint32_t distance) {
    if (hits->count == hits->room) {
        size_t room = hits->room ? hits->room * 2 : 256;
        Hit *grown = realloc(hits->hits, room * sizeof(Hit));
        if (!grown) {
            hits->failed = 1;
            return;
        }
        hits->hits = grown;
        hits->room = room;
    }
    hits->hits[hits->count++] = (Hit){query, row, distance};
}

/* Whether an earlier chunk has already led to this pair. */
static int met_before(const Layout *layout, const uint64_t *differing, int chunk) {
    for (int c = 0; c < chunk; c++)
        if (__builtin_popcount(chunk_of(differing, layout->start[c], layout->width[c])) <= layout->slack[c]) return 1;
    return 0;
}

typedef struct {
    const uint64_t *hashes;
    const uint64_t *query;
    const Layout *layout;
    uint32_t number;
    int chunk, radius;
    Hits *hits;
    uint32_t waiting[CANDIDATES];
    int count;
} Probe;

COUNTS_BITS static void compare(Probe *probe) {
    const uint64_t *q = probe->query;
    int radius = probe->radius;
    for (int n = 0; n < probe->count; n++) {
        const uint64_t *h = probe->hashes + (size_t)probe->waiting[n] * WORDS;
        uint64_t differing[WORDS] = {q[0] ^ h[0], q[1] ^ h[1], q[2] ^ h[2], q[3] ^ h[3]};
        int distance = __builtin_popcountll(differing[0]) + __builtin_popcountll(differing[1]) +
                       __builtin_popcountll(differing[2]) + __builtin_popcountll(differing[3]);
        if (distance <= radius && !met_before(probe->layout, differing, probe->chunk))
            keep(probe->hits, probe->number, probe->waiting[n], (uint32_t)distance);
    }
    probe->count = 0;
}

static void probe_buckets(Probe *probe, const uint32_t *offsets, const uint32_t *rows, size_t stored,
                          const uint32_t *values, int count) {
    uint32_t first[PROBES], last[PROBES];
    for (int n = 0; n < count; n++) __builtin_prefetch(offsets + values[n]);
    for (int n = 0; n < count; n++) {
        first[n] = offsets[values[n]];
        last[n] = offsets[values[n] + 1];
        /* Files are checked when they are fetched; still, a wrong number must not lead out of them. */
        if (last[n] > stored) last[n] = first[n];
        if (first[n] != last[n]) __builtin_prefetch(rows + first[n]);
    }
    for (int n = 0; n < count; n++)
        for (uint32_t at = first[n]; at < last[n]; at++) {
            uint32_t row = rows[at];
            if (row >= stored) continue;
            __builtin_prefetch(probe->hashes + (size_t)row * WORDS);
            probe->waiting[probe->count++] = row;
            if (probe->count == CANDIDATES) compare(probe);
        }
}

static void look_up(Probe *probe, const uint32_t *offsets, const uint32_t *rows, size_t stored) {
    const Layout *layout = probe->layout;
    uint32_t values[PROBES];
    for (int c = 0; c < layout->chunks; c++) {
        int width = layout->width[c], count = 0;
        uint32_t own = chunk_of(probe->query, layout->start[c], width);
        const uint32_t *table = offsets + layout->table[c];
        const uint32_t *of_chunk = rows + (size_t)c * stored;
        probe->chunk = c;
        for (int bits = 0; bits <= layout->slack[c] && bits <= width; bits++) {
            /* All masks of so many bits, by Gosper's way to the next one. */
            uint64_t mask = ((uint64_t)1 << bits) - 1, end = (uint64_t)1 << width;
            while (mask < end) {
                values[count++] = own ^ (uint32_t)mask;
                if (count == PROBES) {
                    probe_buckets(probe, table, of_chunk, stored, values, count);
                    count = 0;
                }
                if (!mask) break;
                uint64_t low = mask & -mask, carried = mask + low;
                mask = (((carried ^ mask) >> 2) / low) | carried;
            }
        }
        probe_buckets(probe, table, of_chunk, stored, values, count);
        compare(probe);
    }
}

COUNTS_BITS static void scan(const uint64_t *hashes, size_t stored, const uint64_t *queries, size_t asked, int radius,
                             Hits *hits) {
    for (size_t begin = 0; begin < stored; begin += SCANNED) {
        size_t end = begin + SCANNED < stored ? begin + SCANNED : stored;
        for (size_t n = 0; n < asked; n++) {
            const uint64_t *q = queries + n * WORDS;
            for (size_t row = begin; row < end; row++) {
                const uint64_t *h = hashes + row * WORDS;
                int distance = __builtin_popcountll(q[0] ^ h[0]) + __builtin_popcountll(q[1] ^ h[1]) +
                               __builtin_popcountll(q[2] ^ h[2]) + __builtin_popcountll(q[3] ^ h[3]);
                if (distance <= radius) keep(hits, (uint32_t)n, (uint32_t)row, (uint32_t)distance);
            }
        }
    }
}

static void sort_into(const uint64_t *hashes, size_t stored, const Layout *layout, uint32_t *offsets, uint32_t *rows) {
    for (int c = 0; c < layout->chunks; c++) {
        int start = layout->start[c], width = layout->width[c];
        size_t values = (size_t)1 << width;
        uint32_t *table = offsets + layout->table[c];
        uint32_t *of_chunk = rows + (size_t)c * stored;
        memset(table, 0, (values + 1) * sizeof(uint32_t));
        for (size_t row = 0; row < stored; row++) table[chunk_of(hashes + row * WORDS, start, width) + 1]++;
        for (size_t value = 0; value < values; value++) table[value + 1] += table[value];
        /* Filling moves each beginning to its end, which is the next one's beginning: shift them back afterwards. */
        for (size_t row = 0; row < stored; row++) {
            if (row + 16 < stored)
                __builtin_prefetch(table + chunk_of(hashes + (row + 16) * WORDS, start, width), 1);
            of_chunk[table[chunk_of(hashes + row * WORDS, start, width)]++] = (uint32_t)row;
        }
        memmove(table + 1, table, values * sizeof(uint32_t));
        table[0] = 0;
    }
}

static int sized(const Py_buffer *buffer, size_t bytes, const char *name) {
    if ((size_t)buffer->len == bytes) return 1;
    PyErr_Format(PyExc_ValueError, "%s must have %zu bytes, not %zd", name, bytes, buffer->len);
    return 0;
}

/* The layout, if the four buffers fit it and each other; the number of stored hashes in `stored`. */
static int checked(Layout *layout, int chunks, const Py_buffer *hashes, const Py_buffer *offsets, const Py_buffer *rows,
                   size_t *stored) {
    if (chunks < 8 || chunks > MOST_CHUNKS) {
        PyErr_SetString(PyExc_ValueError, "an index has 8 to 64 chunks");
        return 0;
    }
    lay_out(layout, chunks);
    *stored = (size_t)hashes->len / HASH_BYTES;
    if (*stored > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "row numbers have 32 bits");
        return 0;
    }
    int last = chunks - 1;
    size_t entries = layout->table[last] + ((size_t)1 << layout->width[last]) + 1;
    return sized(hashes, *stored * HASH_BYTES, "hashes") && sized(offsets, entries * sizeof(uint32_t), "offsets") &&
           sized(rows, (size_t)chunks * *stored * sizeof(uint32_t), "rows");
}

static PyObject *build(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer hashes, offsets, rows;
    Layout layout;
    size_t stored;
    int chunks, fits;
    if (!PyArg_ParseTuple(args, "y*w*w*i", &hashes, &offsets, &rows, &chunks)) return NULL;
    fits = checked(&layout, chunks, &hashes, &offsets, &rows, &stored);
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        sort_into(hashes.buf, stored, &layout, offsets.buf, rows.buf);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&hashes);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&rows);
    if (!fits) return NULL;
    Py_RETURN_NONE;
}

static PyObject *packed(Hits *hits) {
    PyObject *found = hits->failed
                          ? PyErr_NoMemory()
                          : PyBytes_FromStringAndSize((const char *)hits->hits, (Py_ssize_t)(hits->count * sizeof(Hit)));
    free(hits->hits);
    return found;
}

static PyObject *search(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer hashes, offsets, rows, queries;
    Layout layout;
    Hits hits = {NULL, 0, 0, 0};
    size_t stored;
    int chunks, radius, met, fits;
    if (!PyArg_ParseTuple(args, "y*y*y*iy*ii", &hashes, &offsets, &rows, &chunks, &queries, &radius, &met)) return NULL;
    fits = checked(&layout, chunks, &hashes, &offsets, &rows, &stored);
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        Probe probe = {.hashes = hashes.buf, .layout = &layout, .radius = radius > met ? radius : met, .hits = &hits};
        size_t asked = (size_t)queries.len / HASH_BYTES;
        allow(&layout, radius);
        for (size_t n = 0; n < asked && !hits.failed; n++) {
            probe.query = (const uint64_t *)queries.buf + n * WORDS;
            probe.number = (uint32_t)n;
            look_up(&probe, offsets.buf, rows.buf, stored);
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&hashes);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&rows);
    PyBuffer_Release(&queries);
    return fits ? packed(&hits) : NULL;
}

static PyObject *scan_all(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer hashes, queries;
    Hits hits = {NULL, 0, 0, 0};
    int radius;
    if (!PyArg_ParseTuple(args, "y*y*i", &hashes, &queries, &radius)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    scan(hashes.buf, (size_t)hashes.len / HASH_BYTES, queries.buf, (size_t)queries.len / HASH_BYTES, radius, &hits);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&hashes);
    PyBuffer_Release(&queries);
    return packed(&hits);
}

static PyMethodDef methods[] = {
    {"build", build, METH_VARARGS, "build(hashes, offsets, rows, chunks): fills offsets and rows, both uint32."},
    {"search", search, METH_VARARGS,
     "search(hashes, offsets, rows, chunks, queries, radius, met): bytes of (query, row, distance), uint32 each; every "
     "row within radius, and those met on the way within met."},
    {"scan", scan_all, METH_VARARGS, "scan(hashes, queries, radius): the same by comparing every pair."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_buckets", .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__buckets(void) { return PyModuleDef_Init(&definition); }
