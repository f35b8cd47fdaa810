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
/* Buckets and hashes asked for before the first of them is used; about as many as the memory answers at once (measured). */
#define PROBES 32
#define CANDIDATES 32
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

/* A query that its buckets lead to so large a part of the index is compared with all of it instead: taking hashes out of
 * buckets costs about so many times more than taking them one after another (measured). */
#define LARGE_PART 4

/* A bucket to look into, or a hash to compare: for which query, by which chunk. */
typedef struct {
    uint32_t query, at;
    int chunk;
} Visit;

/* Buckets and hashes wait here, across chunks and queries, until what they need has come from memory. */
typedef struct {
    const uint64_t *hashes, *queries;
    const uint32_t *offsets, *rows;
    const Layout *layout;
    size_t stored;
    int radius;
    Hits *hits;
    /* Of each query, the hashes in the buckets it was led to so far. */
    size_t *led_to;
    Visit buckets[PROBES], candidates[CANDIDATES];
    int bucket_count, candidate_count;
} Search;

COUNTS_BITS static void compare(Search *search) {
    int radius = search->radius;
    for (int n = 0; n < search->candidate_count; n++) {
        const Visit *visit = search->candidates + n;
        const uint64_t *q = search->queries + (size_t)visit->query * WORDS;
        const uint64_t *h = search->hashes + (size_t)visit->at * WORDS;
        uint64_t differing[WORDS] = {q[0] ^ h[0], q[1] ^ h[1], q[2] ^ h[2], q[3] ^ h[3]};
        int distance = __builtin_popcountll(differing[0]) + __builtin_popcountll(differing[1]) +
                       __builtin_popcountll(differing[2]) + __builtin_popcountll(differing[3]);
        if (distance <= radius && !met_before(search->layout, differing, visit->chunk))
            keep(search->hits, visit->query, visit->at, (uint32_t)distance);
    }
    search->candidate_count = 0;
}

static inline int led_too_far(const Search *search, uint32_t query) {
    return search->led_to[query] > search->stored / LARGE_PART;
}

static void open_buckets(Search *search) {
    uint32_t first[PROBES], last[PROBES];
    size_t stored = search->stored;
    for (int n = 0; n < search->bucket_count; n++) {
        const Visit *visit = search->buckets + n;
        const uint32_t *begins = search->offsets + search->layout->table[visit->chunk] + visit->at;
        first[n] = begins[0];
        last[n] = begins[1];
        /* Files are checked when they are fetched; still, a wrong number must not lead out of them. */
        if (last[n] > stored || last[n] < first[n]) last[n] = first[n];
        search->led_to[visit->query] += last[n] - first[n];
        if (led_too_far(search, visit->query)) last[n] = first[n];
        if (first[n] != last[n]) __builtin_prefetch(search->rows + (size_t)visit->chunk * stored + first[n]);
    }
    for (int n = 0; n < search->bucket_count; n++) {
        const Visit *visit = search->buckets + n;
        const uint32_t *of_chunk = search->rows + (size_t)visit->chunk * stored;
        for (uint32_t at = first[n]; at < last[n]; at++) {
            uint32_t row = of_chunk[at];
            if (row >= stored) continue;
            __builtin_prefetch(search->hashes + (size_t)row * WORDS);
            search->candidates[search->candidate_count++] = (Visit){visit->query, row, visit->chunk};
            if (search->candidate_count == CANDIDATES) compare(search);
        }
    }
    search->bucket_count = 0;
}

/* All buckets of one chunk within its slack. */
static void probe(Search *search, uint32_t query, int chunk) {
    const Layout *layout = search->layout;
    int width = layout->width[chunk];
    uint32_t own = chunk_of(search->queries + (size_t)query * WORDS, layout->start[chunk], width);
    const uint32_t *table = search->offsets + layout->table[chunk];
    for (int bits = 0; bits <= layout->slack[chunk] && bits <= width; bits++) {
        /* All masks of so many bits, by Gosper's way to the next one. */
        uint64_t mask = ((uint64_t)1 << bits) - 1, end = (uint64_t)1 << width;
        while (mask < end) {
            uint32_t value = own ^ (uint32_t)mask;
            __builtin_prefetch(table + value);
            search->buckets[search->bucket_count++] = (Visit){query, value, chunk};
            if (search->bucket_count == PROBES) open_buckets(search);
            if (!mask) break;
            uint64_t low = mask & -mask, carried = mask + low;
            mask = (((carried ^ mask) >> 2) / low) | carried;
        }
    }
}

COUNTS_BITS static void scan(const uint64_t *hashes, size_t stored, const uint64_t *queries, const uint32_t *numbers,
                             size_t asked, int radius, Hits *hits) {
    for (size_t begin = 0; begin < stored; begin += SCANNED) {
        size_t end = begin + SCANNED < stored ? begin + SCANNED : stored;
        for (size_t n = 0; n < asked; n++) {
            const uint64_t *q = queries + (size_t)numbers[n] * WORDS;
            for (size_t row = begin; row < end; row++) {
                const uint64_t *h = hashes + row * WORDS;
                int distance = __builtin_popcountll(q[0] ^ h[0]) + __builtin_popcountll(q[1] ^ h[1]) +
                               __builtin_popcountll(q[2] ^ h[2]) + __builtin_popcountll(q[3] ^ h[3]);
                if (distance <= radius) keep(hits, numbers[n], (uint32_t)row, (uint32_t)distance);
            }
        }
    }
}

/* Compares those queries with all hashes that were led too far; `numbers` has room for every query. */
static void look_at_all(Search *search, uint32_t *numbers, size_t asked) {
    Hits *hits = search->hits;
    size_t far = 0, kept = 0;
    for (size_t n = 0; n < asked; n++)
        if (led_too_far(search, (uint32_t)n)) numbers[far++] = (uint32_t)n;
    if (!far) return;
    for (size_t n = 0; n < hits->count; n++)
        if (!led_too_far(search, hits->hits[n].query)) hits->hits[kept++] = hits->hits[n];
    hits->count = kept;
    scan(search->hashes, search->stored, search->queries, numbers, far, search->radius, hits);
}

/* Chunk by chunk, all queries: so a batch keeps one chunk's table and rows in the cache. */
static void look_up(Search *search, size_t asked) {
    for (int c = 0; c < search->layout->chunks; c++)
        for (size_t n = 0; n < asked && !search->hits->failed; n++)
            if (!led_too_far(search, (uint32_t)n)) probe(search, (uint32_t)n, c);
    open_buckets(search);
    compare(search);
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
        Search state = {.hashes = hashes.buf,
                        .queries = queries.buf,
                        .offsets = offsets.buf,
                        .rows = rows.buf,
                        .layout = &layout,
                        .stored = stored,
                        .radius = radius > met ? radius : met,
                        .hits = &hits};
        size_t asked = (size_t)queries.len / HASH_BYTES;
        allow(&layout, radius);
        uint32_t *numbers = malloc((asked + 1) * sizeof(uint32_t));
        state.led_to = calloc(asked + 1, sizeof(size_t));
        if (numbers && state.led_to) {
            look_up(&state, asked);
            look_at_all(&state, numbers, asked);
        } else {
            hits.failed = 1;
        }
        free(state.led_to);
        free(numbers);
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
    size_t asked = (size_t)queries.len / HASH_BYTES;
    uint32_t *numbers = malloc((asked + 1) * sizeof(uint32_t));
    if (numbers) {
        for (size_t n = 0; n < asked; n++) numbers[n] = (uint32_t)n;
        scan(hashes.buf, (size_t)hashes.len / HASH_BYTES, queries.buf, numbers, asked, radius, &hits);
    } else {
        hits.failed = 1;
    }
    free(numbers);
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
