#include "cache.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ids.h"
#include "log.h"
#include "mapfile.h"
#include "mem.h"
#include "store.h"

#define VERSION 1
#define NAME    "cache"

/* How long a writer waits for the lock, in microseconds; then it does without
 * the cache, or, to forget a link, waits FORGET_WAIT. */
#define FILL_WAIT   300
#define FORGET_WAIT 1000000

/* For how long a question that failed answers others, in milliseconds. */
#define FAILED_MS 1000

#define FLIGHTS     4096
#define GENERATIONS 4096

/* The fixed part of an entry; the URL stands behind it. tag: a part of the
 * hash, so that most other ids are told apart without reading further. */
struct entry {
    _Atomic uint32_t seq;
    _Atomic uint32_t tag;
    _Atomic uint32_t used; /* read since the clock hand passed */
    uint32_t url_len;
    int64_t ttl;
    int64_t read_ms;
    _Atomic int64_t retry_ms;
    char id[IDS_MAX + 1];
    bool exists;
};

/* Size of an entry in each class, and its share of the memory in eighths. The
 * first holds URLs of up to 143 bytes, the last all of them. */
static const struct {
    size_t size;
    unsigned eighths;
} classes[] = {{256, 5}, {1024, 2}, {sizeof(struct entry) + URL_MAX + 1, 1}};

#define CLASSES 3

struct table {
    struct mapfile_header header;
    _Atomic uint64_t flights[FLIGHTS]; /* hash (high half), start in ms */
    _Atomic uint32_t generations[GENERATIONS];
    _Alignas(64) unsigned char sets[];
};

struct class
{
    unsigned char *first;
    size_t entry_size;
    size_t set_count;
};

struct cache {
    struct mapfile file;
    struct table *table;
    struct class classes[CLASSES];
};

static size_t entry_size(size_t class)
{
    return (classes[class].size + 63) / 64 * 64;
}

static size_t sets_of(size_t class, uint64_t size)
{
    size_t set_size = entry_size(class) * CACHE_WAYS;
    size_t count = (size_t)(size / 8 * classes[class].eighths / set_size);
    return count > 0 ? count : 1;
}

static struct mapfile_header make_header(const struct conf *conf)
{
    struct mapfile_header header = {
        .magic = "curtmem",
        .version = VERSION,
        .header_size = offsetof(struct table, sets),
        .size = sizeof(struct table),
        /* Times in the cache are of a clock that a boot starts over. */
        .owner = store_identity(conf) ^ mapfile_boot(),
    };
    for (size_t i = 0; i < CLASSES; i++)
        header.size +=
            sets_of(i, conf->cache_size) * entry_size(i) * CACHE_WAYS;
    return header;
}

static void init_table(void *base)
{
    (void)base; /* zeros: no entry has an id */
}

static struct cache *use(const struct mapfile *file, uint64_t cache_size)
{
    struct cache *c = mem_zalloc(sizeof(*c));
    c->file = *file;
    c->table = file->base;
    unsigned char *first = c->table->sets;
    for (size_t i = 0; i < CLASSES; i++) {
        c->classes[i] =
            (struct class){first, entry_size(i), sets_of(i, cache_size)};
        first += c->classes[i].set_count * entry_size(i) * CACHE_WAYS;
    }
    return c;
}

struct cache *cache_open(const struct conf *conf)
{
    struct mapfile file;
    const char *reason = "";
    if (conf->cache_size == 0 || conf->cache_ttl == 0)
        return NULL;
    struct mapfile_header header = make_header(conf);
    if (mapfile_open(conf->runtime_dir, NAME, &header, init_table, &file,
                     &reason) == RESULT_OK)
        return use(&file, conf->cache_size);
    log_warning("%s/" NAME ": %s; each redirect asks the store, which is slow",
                conf->runtime_dir, reason);
    return NULL;
}

struct cache *cache_open_existing(const struct conf *conf)
{
    struct mapfile file;
    const char *reason;
    struct mapfile_header header = make_header(conf);
    if (mapfile_open_existing(conf->runtime_dir, NAME, &header, &file,
                              &reason) == RESULT_OK)
        return use(&file, conf->cache_size);
    return NULL;
}

void cache_close(struct cache *c)
{
    if (c == NULL)
        return;
    mapfile_close(&c->file);
    free(c);
}

static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32) | 1; /* never that of an empty entry */
}

static struct entry *entry_at(const struct cache *c, size_t class,
                              uint64_t hash, unsigned way)
{
    const struct class *k = &c->classes[class];
    size_t set = (size_t)(hash % k->set_count);
    return (struct entry *)(void *)(k->first +
                                    (set * CACHE_WAYS + way) * k->entry_size);
}

static char *url_of(struct entry *e)
{
    return (char *)(e + 1);
}

/* Copies an entry if it is whole and the id's. */
static bool copy(struct entry *e, size_t room, const char *id,
                 struct cache_entry *out)
{
    uint32_t seq = atomic_load_explicit(&e->seq, memory_order_acquire);
    if ((seq & 1) != 0 || strncmp(e->id, id, sizeof(e->id)) != 0)
        return false;
    size_t len = e->url_len;
    if (len >= room)
        return false;
    out->exists = e->exists;
    out->ttl = e->ttl;
    out->read_ms = e->read_ms;
    out->retry_ms = atomic_load_explicit(&e->retry_ms, memory_order_relaxed);
    out->url_len = len;
    memcpy(out->url, url_of(e), len);
    out->url[len] = '\0';
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&e->seq, memory_order_relaxed) == seq;
}

/* The entry of an id, or NULL; copied to *out unless that is NULL. */
static struct entry *find(struct cache *c, uint64_t hash, const char *id,
                          struct cache_entry *out)
{
    struct cache_entry scratch;
    for (size_t class = 0; class < CLASSES; class ++) {
        size_t room = c->classes[class].entry_size - sizeof(struct entry);
        for (unsigned way = 0; way < CACHE_WAYS; way++) {
            struct entry *e = entry_at(c, class, hash, way);
            if (atomic_load_explicit(&e->tag, memory_order_relaxed) ==
                    tag_of(hash) &&
                copy(e, room, id, out != NULL ? out : &scratch))
                return e;
        }
    }
    return NULL;
}

bool cache_get(struct cache *c, const char *short_id, struct cache_entry *out)
{
    struct entry *e =
        c != NULL ? find(c, ids_hash(short_id), short_id, out) : NULL;
    if (e == NULL)
        return false;
    /* Written only when it changes: the line stays shared among readers. */
    if (atomic_load_explicit(&e->used, memory_order_relaxed) == 0)
        atomic_store_explicit(&e->used, 1, memory_order_relaxed);
    return true;
}

static _Atomic uint32_t *generation_of(struct cache *c, uint64_t hash)
{
    return &c->table->generations[hash % GENERATIONS];
}

uint32_t cache_generation(struct cache *c, const char *short_id)
{
    return c != NULL ? atomic_load(generation_of(c, ids_hash(short_id))) : 0;
}

static void begin_write(struct entry *e)
{
    uint32_t seq = atomic_load_explicit(&e->seq, memory_order_relaxed);
    atomic_store_explicit(&e->seq, seq | 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

static void end_write(struct entry *e)
{
    uint32_t seq = atomic_load_explicit(&e->seq, memory_order_relaxed);
    atomic_store_explicit(&e->seq, seq + 1, memory_order_release);
}

static void empty(struct entry *e)
{
    begin_write(e);
    atomic_store_explicit(&e->tag, 0, memory_order_relaxed);
    e->id[0] = '\0';
    end_write(e);
}

/* The place for a new entry: an empty one, else one that nobody read since it
 * came or since the last time all had been read. So ids that are asked for
 * once push each other out, and not those that are asked for again. */
static struct entry *choose(struct cache *c, size_t class, uint64_t hash)
{
    struct entry *oldest = NULL;
    for (unsigned way = 0; way < CACHE_WAYS; way++) {
        struct entry *e = entry_at(c, class, hash, way);
        if (atomic_load_explicit(&e->tag, memory_order_relaxed) == 0 ||
            (atomic_load_explicit(&e->seq, memory_order_relaxed) & 1) != 0)
            return e;
        if (atomic_load_explicit(&e->used, memory_order_relaxed) == 0 &&
            (oldest == NULL || e->read_ms < oldest->read_ms))
            oldest = e;
    }
    if (oldest != NULL)
        return oldest;
    oldest = entry_at(c, class, hash, 0);
    for (unsigned way = 0; way < CACHE_WAYS; way++) {
        struct entry *e = entry_at(c, class, hash, way);
        atomic_store_explicit(&e->used, 0, memory_order_relaxed);
        if (e->read_ms < oldest->read_ms)
            oldest = e;
    }
    return oldest;
}

static size_t class_for(const struct cache *c, size_t url_len)
{
    size_t class = 0;
    while (class + 1 < CLASSES &&
           c->classes[class].entry_size - sizeof(struct entry) <= url_len)
        class ++;
    return class;
}

static void write_entry(struct entry *e, const char *id, uint64_t hash,
                        const struct cache_entry *from, uint32_t used)
{
    begin_write(e);
    atomic_store_explicit(&e->tag, tag_of(hash), memory_order_relaxed);
    atomic_store_explicit(&e->used, used, memory_order_relaxed);
    e->url_len = (uint32_t)from->url_len;
    e->ttl = from->ttl;
    e->read_ms = from->read_ms;
    atomic_store_explicit(&e->retry_ms, 0, memory_order_relaxed);
    e->exists = from->exists;
    memcpy(e->id, id, strlen(id) + 1);
    memcpy(url_of(e), from->url, from->url_len);
    end_write(e);
}

void cache_fill(struct cache *c, const char *short_id,
                const struct cache_entry *entry, uint32_t generation)
{
    if (c == NULL || !mapfile_lock(&c->file, FILL_WAIT))
        return;
    const uint64_t hash = ids_hash(short_id);
    if (atomic_load(generation_of(c, hash)) == generation) {
        const size_t class = class_for(c, entry->url_len);
        struct entry *e = find(c, hash, short_id, NULL);
        uint32_t used = e != NULL ? atomic_load(&e->used) : 0;
        if (e != NULL)
            empty(e); /* the URL may have grown into another class */
        write_entry(choose(c, class, hash), short_id, hash, entry, used);
    }
    mapfile_unlock(&c->file);
}

void cache_forget(struct cache *c, const char *short_id)
{
    if (c == NULL)
        return;
    const uint64_t hash = ids_hash(short_id);
    bool locked = mapfile_lock(&c->file, FORGET_WAIT);
    atomic_fetch_add(generation_of(c, hash), 1);
    struct entry *e;
    while (locked && (e = find(c, hash, short_id, NULL)) != NULL)
        empty(e);
    if (locked)
        mapfile_unlock(&c->file);
    else
        log_warning("the cache is locked by a process that does not go on: "
                    "%s may be served as it was for CACHE_TTL",
                    short_id);
}

void cache_set_retry(struct cache *c, const char *short_id, int64_t retry_ms)
{
    struct entry *e =
        c != NULL ? find(c, ids_hash(short_id), short_id, NULL) : NULL;
    /* Without the lock: at worst another entry's next question waits. */
    if (e != NULL)
        atomic_store_explicit(&e->retry_ms, retry_ms, memory_order_relaxed);
}

static _Atomic uint64_t *flight_of(struct cache *c, uint64_t hash)
{
    return &c->table->flights[hash % FLIGHTS];
}

/* A flight: the hash's high half, when it began or failed in milliseconds, and
 * in the lowest bit which of the two. */
#define FLIGHT_ID     (~(uint64_t)UINT32_MAX)
#define FLIGHT_FAILED 1u

static uint64_t make_flight(uint64_t hash, int64_t now_ms, unsigned failed)
{
    return (hash & FLIGHT_ID) | ((uint32_t)now_ms & ~FLIGHT_FAILED) | failed;
}

enum cache_flight cache_begin_flight(struct cache *c, const char *short_id,
                                     int64_t now_ms, int64_t max_ms)
{
    if (c == NULL)
        return CACHE_FLIGHT_MINE;
    const uint64_t hash = ids_hash(short_id);
    const uint64_t mine = make_flight(hash, now_ms, 0);
    _Atomic uint64_t *flight = flight_of(c, hash);
    uint64_t other = atomic_load(flight);
    bool same = ((other ^ hash) & FLIGHT_ID) == 0;
    bool failed = (other & FLIGHT_FAILED) != 0;
    uint32_t age = (uint32_t)now_ms - (uint32_t)other;
    if (other != 0 && same && age < (failed ? FAILED_MS : max_ms))
        return failed ? CACHE_FLIGHT_FAILED : CACHE_FLIGHT_OTHERS;
    /* Taken by another id: both ask, and the later one is announced. */
    return atomic_compare_exchange_strong(flight, &other, mine) || !same
               ? CACHE_FLIGHT_MINE
               : CACHE_FLIGHT_OTHERS;
}

void cache_end_flight(struct cache *c, const char *short_id, int64_t now_ms,
                      bool failed)
{
    if (c == NULL)
        return;
    const uint64_t hash = ids_hash(short_id);
    _Atomic uint64_t *flight = flight_of(c, hash);
    uint64_t mine = atomic_load(flight);
    if (((mine ^ hash) & FLIGHT_ID) == 0)
        atomic_compare_exchange_strong(
            flight, &mine,
            failed ? make_flight(hash, now_ms, FLIGHT_FAILED) : 0);
}
