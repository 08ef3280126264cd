#include "service/cache.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "base/mapfile.h"
#include "base/mem.h"
#include "base/text.h"
#include "link/ids.h"
#include "store/store.h"

#define VERSION 4
#define NAME    "cache"

/* How long a writer waits for the lock, in microseconds; then it does without
 * the cache. */
#define FILL_WAIT 300

/* For how long a query whose answer is not in the cache answers others, in
 * milliseconds. */
#define ENDED_MS 1000

#define FLIGHTS     4096
#define GENERATIONS 4096

/* A generation: how often links were changed or removed, and in the low half
 * how often they were made, which concerns only missing ones. */
#define CHANGES    0xffff0000u
#define ONE_CHANGE 0x00010000u

/* An entry. tag: a part of the hash, so that most other ids are told apart
 * without reading further. */
struct entry {
    _Atomic uint32_t seq;
    _Atomic uint32_t tag;
    _Atomic uint32_t used; /* read since the clock hand passed */
    uint32_t url_len;
    int64_t ttl;
    int64_t read_ms;
    struct link_rules rules;
    uint32_t generation; /* when the store was queried */
    uint32_t reason_len;
    char id[IDS_MAX + 1];
    bool exists;
    bool spent;
    char text[]; /* the URL, a NUL and the reason */
};

/* Size of an entry in each class, and its share of the memory in eighths. The
 * first holds URLs of up to 117 bytes, the second of up to 885. */
static const struct {
    size_t size;
    unsigned eighths;
} classes[] = {
    {256, 5},
    {1024, 2},
    {(sizeof(struct entry) + URL_MAX + LINK_REASON_MAX + 66) / 64 * 64, 1}};

#define CLASSES 3

struct table {
    struct mapfile_header header;
    _Atomic uint64_t flights[FLIGHTS]; /* hash (high half), start in ms */
    _Atomic uint32_t generations[GENERATIONS];
    _Alignas(64) unsigned char sets[];
};

struct cache {
    struct mapfile file;
    struct table *table;
    struct {
        unsigned char *first;
        size_t set_count;
    } sets[CLASSES]; /* of each class */
};

/* The size of a file whose sets have so many bytes: at least a set of each
 * class, and whole pages. */
static uint64_t file_size(uint64_t sets)
{
    const uint64_t least = 8 * classes[CLASSES - 1].size * CACHE_WAYS;
    sets = sets > least ? sets : least;
    return (sets + sizeof(struct table) + 4095) / 4096 * 4096;
}

/* Where CACHE_SIZE is not set: half of the free space, most at the most. */
static uint64_t choose_size(const char *dir, uint64_t most)
{
    struct statvfs space;
    if (statvfs(dir, &space) < 0)
        return 0;
    const uint64_t half = (uint64_t)space.f_bavail * space.f_frsize / 2;
    if (half < file_size(0))
        return 0;
    return half < most ? half / 4096 * 4096 : most;
}

/* A file whose size was chosen is kept, however much is free by now: all
 * processes must agree on it. So that it is told from one that CACHE_SIZE
 * gave, it has another owner. */
static struct mapfile_kind make_kind(const struct conf *conf)
{
    struct mapfile_kind kind = {
        .header = {.magic = "curtmem",
                   .version = VERSION,
                   .header_size = offsetof(struct table, sets),
                   .size = file_size(conf->cache_size),
                   /* Times in the cache are of a clock that a boot starts
                    * over. */
                   .owner = store_identity(conf) ^ mapfile_boot()}};
    if (conf->cache_size_chosen) {
        kind.header.owner = ~kind.header.owner;
        kind.least = file_size(0);
        kind.choose_size = choose_size;
    }
    return kind;
}

static struct cache *cache_use(const struct mapfile *file)
{
    struct cache *c = mem_zalloc(sizeof(*c));
    c->file = *file;
    c->table = file->base;
    unsigned char *first = c->table->sets;
    for (size_t i = 0; i < CLASSES; i++) {
        const size_t set_size = classes[i].size * CACHE_WAYS;
        c->sets[i].first = first;
        c->sets[i].set_count = (file->size - sizeof(struct table)) / 8 *
                               classes[i].eighths / set_size;
        first += c->sets[i].set_count * set_size;
    }
    return c;
}

void cache_set_text(struct cache_entry *entry, const char *url, size_t url_len,
                    const char *reason)
{
    const size_t len = reason != NULL ? strlen(reason) : 0;
    entry->url_len = url_len;
    entry->reason_len = len < LINK_REASON_MAX ? len : LINK_REASON_MAX;
    memcpy(entry->url, url, url_len);
    entry->url[url_len] = '\0';
    memcpy(entry->url + url_len + 1, len > 0 ? reason : "", entry->reason_len);
    entry->url[url_len + 1 + entry->reason_len] = '\0';
}

bool cache_is_wanted(const struct conf *conf)
{
    return conf->cache_size > 0 && conf->cache_ttl > 0;
}

struct cache *cache_open(const struct conf *conf, bool *failed)
{
    struct mapfile file;
    const char *reason = "";
    const bool before = *failed;
    *failed = false;
    if (!cache_is_wanted(conf))
        return NULL;
    const struct mapfile_kind kind = make_kind(conf);
    if (mapfile_open(conf->runtime_dir, NAME, &kind, &file, &reason) ==
        RESULT_OK) {
        if (before)
            log_info("link cache opened");
        return cache_use(&file);
    }
    *failed = true;
    if (!before)
        log_warning("%s/" NAME ": %s; running without a link cache; check the "
                    "owner of the directory and its free space, or set a "
                    "smaller CACHE_SIZE",
                    conf->runtime_dir, reason);
    return NULL;
}

struct cache *cache_open_existing(const struct conf *conf)
{
    struct mapfile file;
    const char *reason;
    struct mapfile_kind kind = make_kind(conf);
    kind.least = file_size(0);
    kind.any_owner = true;
    enum result r =
        mapfile_open_existing(conf->runtime_dir, NAME, &kind, &file, &reason);
    if (r == RESULT_OK)
        return cache_use(&file);
    if (r != RESULT_NOT_FOUND && r != RESULT_CORRUPT)
        log_warning("%s/" NAME ": %s; a change may be seen after CACHE_TTL "
                    "only",
                    conf->runtime_dir, reason);
    return NULL;
}

bool cache_is_replaced(const struct cache *c)
{
    return c != NULL && mapfile_is_replaced(&c->file);
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

static struct entry *entry_at(const struct cache *c, size_t kind, uint64_t hash,
                              unsigned way)
{
    const size_t set = (size_t)(hash % c->sets[kind].set_count);
    return (struct entry *)(void *)(c->sets[kind].first +
                                    (set * CACHE_WAYS + way) *
                                        classes[kind].size);
}

/* Copies an entry if it is whole and the id's. */
static bool cache_copy(struct entry *e, size_t room, const char *id,
                       struct cache_entry *out, uint32_t *generation)
{
    uint32_t seq = atomic_load_explicit(&e->seq, memory_order_acquire);
    if ((seq & 1) != 0 || strncmp(e->id, id, sizeof(e->id)) != 0)
        return false;
    const size_t len = *(volatile uint32_t *)&e->url_len; /* read once */
    const size_t reason_len = *(volatile uint32_t *)&e->reason_len;
    if (len > URL_MAX || reason_len > LINK_REASON_MAX ||
        len + 1 + reason_len >= room)
        return false;
    *generation = e->generation;
    out->exists = e->exists;
    out->spent = e->spent;
    out->ttl = e->ttl;
    out->read_ms = e->read_ms;
    out->rules = e->rules;
    out->url_len = len;
    out->reason_len = reason_len;
    memcpy(out->url, e->text, len + 1 + reason_len);
    out->url[len] = '\0';
    out->url[len + 1 + reason_len] = '\0';
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&e->seq, memory_order_relaxed) == seq;
}

/* The entry of an id, or NULL, copied to *out, current or not. */
static struct entry *cache_find(struct cache *c, uint64_t hash, const char *id,
                                struct cache_entry *out, uint32_t *generation)
{
    for (size_t kind = 0; kind < CLASSES; kind++) {
        size_t room = classes[kind].size - sizeof(struct entry);
        for (unsigned way = 0; way < CACHE_WAYS; way++) {
            struct entry *e = entry_at(c, kind, hash, way);
            if (atomic_load_explicit(&e->tag, memory_order_relaxed) ==
                    tag_of(hash) &&
                cache_copy(e, room, id, out, generation))
                return e;
        }
    }
    return NULL;
}

static _Atomic uint32_t *generation_of(struct cache *c, uint64_t hash)
{
    return &c->table->generations[hash % GENERATIONS];
}

/* Whether an entry of then counts now: for a link no change came in between,
 * for a missing one no new link either. */
static bool is_current(bool exists, uint32_t then, uint32_t now)
{
    return exists ? (then & CHANGES) == (now & CHANGES) : then == now;
}

bool cache_get(struct cache *c, const char *short_id, struct cache_entry *out)
{
    if (c == NULL || cache_is_replaced(c))
        return false;
    const uint64_t hash = text_hash(short_id);
    uint32_t generation;
    struct entry *e = cache_find(c, hash, short_id, out, &generation);
    if (e == NULL || !is_current(out->exists, generation,
                                 atomic_load(generation_of(c, hash))))
        return false;
    /* Written only when it changes: the line stays shared among readers. */
    if (atomic_load_explicit(&e->used, memory_order_relaxed) == 0)
        atomic_store_explicit(&e->used, 1, memory_order_relaxed);
    return true;
}

uint32_t cache_generation(struct cache *c, const char *short_id)
{
    return c != NULL ? atomic_load(generation_of(c, text_hash(short_id))) : 0;
}

/* The number is odd from here to end_write(). */
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

/* The place for a new entry: an empty one, else one that was not read since it
 * came or since the last time all had been read. So ids that are requested
 * once push each other out, and not those that are requested again. */
static struct entry *cache_choose(struct cache *c, size_t kind, uint64_t hash)
{
    struct entry *oldest = NULL;
    for (unsigned way = 0; way < CACHE_WAYS; way++) {
        struct entry *e = entry_at(c, kind, hash, way);
        if (atomic_load_explicit(&e->tag, memory_order_relaxed) == 0 ||
            (atomic_load_explicit(&e->seq, memory_order_relaxed) & 1) != 0)
            return e;
        if (atomic_load_explicit(&e->used, memory_order_relaxed) == 0 &&
            (oldest == NULL || e->read_ms < oldest->read_ms))
            oldest = e;
    }
    if (oldest != NULL)
        return oldest;
    oldest = entry_at(c, kind, hash, 0);
    for (unsigned way = 0; way < CACHE_WAYS; way++) {
        struct entry *e = entry_at(c, kind, hash, way);
        atomic_store_explicit(&e->used, 0, memory_order_relaxed);
        if (e->read_ms < oldest->read_ms)
            oldest = e;
    }
    return oldest;
}

/* Under the lock. */
static void cache_store(struct cache *c, uint64_t hash, const char *id,
                        const struct cache_entry *entry, uint32_t generation)
{
    struct cache_entry old;
    uint32_t old_generation, used = 0;
    struct entry *e = cache_find(c, hash, id, &old, &old_generation);
    if (e != NULL) { /* the URL may have grown into another class */
        used = atomic_load(&e->used);
        begin_write(e);
        atomic_store_explicit(&e->tag, 0, memory_order_relaxed);
        e->id[0] = '\0';
        end_write(e);
    }
    size_t kind = 0;
    const size_t len = entry->url_len + 1 + entry->reason_len;
    while (kind + 1 < CLASSES &&
           classes[kind].size - sizeof(struct entry) <= len)
        kind++;
    e = cache_choose(c, kind, hash);
    begin_write(e);
    atomic_store_explicit(&e->tag, tag_of(hash), memory_order_relaxed);
    e->generation = generation;
    atomic_store_explicit(&e->used, used, memory_order_relaxed);
    e->url_len = (uint32_t)entry->url_len;
    e->reason_len = (uint32_t)entry->reason_len;
    e->ttl = entry->ttl;
    e->read_ms = entry->read_ms;
    e->rules = entry->rules;
    e->exists = entry->exists;
    e->spent = entry->spent;
    memcpy(e->id, id, strlen(id) + 1);
    memcpy(e->text, entry->url, len);
    end_write(e);
}

bool cache_fill(struct cache *c, const char *short_id,
                const struct cache_entry *entry, uint32_t generation)
{
    if (c == NULL)
        return true;
    if (!mapfile_lock(&c->file, FILL_WAIT))
        return false;
    const uint64_t hash = text_hash(short_id);
    if (is_current(entry->exists, generation,
                   atomic_load(generation_of(c, hash))))
        cache_store(c, hash, short_id, entry, generation);
    mapfile_unlock(&c->file);
    return true;
}

void cache_forget(struct cache *c, const char *short_id)
{
    if (c != NULL)
        atomic_fetch_add(generation_of(c, text_hash(short_id)), ONE_CHANGE);
}

void cache_forget_missing(struct cache *c, const char *short_id)
{
    if (c == NULL)
        return;
    _Atomic uint32_t *generation = generation_of(c, text_hash(short_id));
    uint32_t old = atomic_load(generation);
    while (!atomic_compare_exchange_weak(
        generation, &old, (old & CHANGES) | ((old + 1) & ~CHANGES)))
        ;
}

/* A flight: a part of the id's hash, whether the query before failed, and when
 * the flight began or ended in milliseconds, with how it ended in the lowest
 * bits. */
#define FLIGHT_ID    (~(uint64_t)0 << 33)
#define FLIGHT_RETRY ((uint64_t)1 << 32)
#define FLIGHT_END   3u

_Static_assert(CACHE_FLIGHT_MINE == 0 && CACHE_FLIGHT_UNSHARED <= FLIGHT_END,
               "how a flight ended fits");

static uint64_t make_flight(uint64_t hash, int64_t now_ms,
                            enum cache_flight end)
{
    return (hash & FLIGHT_ID) | ((uint32_t)now_ms & ~FLIGHT_END) | end;
}

enum cache_flight cache_begin_flight(struct cache *c, const char *short_id,
                                     int64_t now_ms, int64_t max_ms)
{
    if (c == NULL)
        return CACHE_FLIGHT_MINE;
    const uint64_t hash = text_hash(short_id);
    _Atomic uint64_t *flight = &c->table->flights[hash % FLIGHTS];
    uint64_t other = atomic_load(flight), mine;
    do {
        const enum cache_flight end = (enum cache_flight)(other & FLIGHT_END);
        const int64_t most = end == CACHE_FLIGHT_MINE ? max_ms : ENDED_MS;
        /* Less than 0 where the other process looked at the clock later. */
        const int32_t age =
            (int32_t)((uint32_t)now_ms - ((uint32_t)other & ~FLIGHT_END));
        const bool same = other != 0 && ((other ^ hash) & FLIGHT_ID) == 0;
        const bool retry = same && (other & FLIGHT_RETRY) != 0;
        if (same && age < most && age > -most)
            return end != CACHE_FLIGHT_MINE ? end
                   : retry                  ? CACHE_FLIGHT_RETRY
                                            : CACHE_FLIGHT_OTHERS;
        mine = make_flight(hash, now_ms, CACHE_FLIGHT_MINE);
        if (retry || (same && end == CACHE_FLIGHT_FAILED))
            mine |= FLIGHT_RETRY;
        /* Taken by another id: both query, and the later one is announced. */
    } while (!atomic_compare_exchange_strong(flight, &other, mine));
    return CACHE_FLIGHT_MINE;
}

void cache_end_flight(struct cache *c, const char *short_id, int64_t now_ms,
                      enum cache_flight end)
{
    if (c == NULL)
        return;
    const uint64_t hash = text_hash(short_id);
    _Atomic uint64_t *flight = &c->table->flights[hash % FLIGHTS];
    uint64_t mine = atomic_load(flight);
    if (((mine ^ hash) & FLIGHT_ID) == 0)
        atomic_compare_exchange_strong(
            flight, &mine,
            end == CACHE_FLIGHT_MINE ? 0 : make_flight(hash, now_ms, end));
}
