#include "service/limits.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mapfile.h"
#include "base/mem.h"
#include "base/text.h"
#include "store/store.h"

#define VERSION 1
#define NAME    "limits"

#define WAYS        8
#define BUCKET_SETS 8192
#define LEASE_SETS  1024

/* A bucket: 24 bits of the hash, and microseconds of the monotonic clock. They
 * start over after 12 days; no bucket needs more than a day to be full. Where
 * all words of a set are in use, one new client of two million shares a bucket.
 */
#define TIME_BITS 40
#define TIME_MASK (((uint64_t)1 << TIME_BITS) - 1)
#define LONGEST   ((uint64_t)CONF_RATE_SECONDS_MAX * 1000000)

/* A lease: 36 bits of the hash, 16 of the day, whether it is the last one of
 * the period, and the units. */
#define LEASE_TAG   (~(uint64_t)0 << 28)
#define LEASE_DAY   12
#define LEASE_LAST  ((uint64_t)1 << 11)
#define LEASE_UNITS ((uint64_t)LIMITS_LEASE_MAX)

/* How often a process looks whether another one has ended, in microseconds. */
#define POLL_US 500

struct table {
    struct mapfile_header header;
    uint64_t secret[2];
    _Alignas(64) _Atomic uint64_t buckets[BUCKET_SETS * WAYS];
    _Atomic uint64_t leases[LEASE_SETS * WAYS];
    _Atomic uint64_t in_store[LEASE_SETS * WAYS]; /* of the same lease; only
                                                   * told to the client */
};

struct limits {
    struct mapfile file;
    struct table *table;
};

const char *limits_name(enum limits_kind kind)
{
    static const char *const names[] = {[LIMITS_KEY] = "key",
                                        [LIMITS_CREATE] = "create",
                                        [LIMITS_AUTH] = "auth",
                                        [LIMITS_UNKNOWN] = "unknown",
                                        [LIMITS_QUOTA] = "quota"};
    return names[kind];
}

/* Without random numbers there is a fixed one, and it can be foreseen which
 * clients share a set. */
static void limits_init(void *base)
{
    struct table *table = base;
    if (getrandom(table->secret, sizeof(table->secret), 0) < 0)
        memset(table->secret, 1, sizeof(table->secret));
}

struct limits *limits_open(const struct conf *conf, bool *failed)
{
    const char *reason = "";
    const bool before = *failed;
    *failed = false;
    if (!conf->limits)
        return NULL;
    struct limits *l = mem_zalloc(sizeof(*l));
    const struct mapfile_kind kind = {
        .header = {.magic = "curtlim",
                   .version = VERSION,
                   .header_size = offsetof(struct table, buckets),
                   .size = sizeof(struct table),
                   .owner = store_identity(conf) ^ mapfile_boot()},
        .init = limits_init};
    if (mapfile_open(conf->runtime_dir, NAME, &kind, &l->file, &reason) ==
        RESULT_OK) {
        l->table = l->file.base;
        if (before)
            log_info("limits opened");
        return l;
    }
    free(l);
    *failed = true;
    if (!before)
        log_warning("%s/" NAME ": %s; nothing is limited but quotas, which the "
                    "store counts; check the owner of the directory and its "
                    "free space",
                    conf->runtime_dir, reason);
    return NULL;
}

bool limits_is_replaced(const struct limits *l)
{
    return l != NULL && mapfile_is_replaced(&l->file);
}

void limits_close(struct limits *l)
{
    if (l == NULL)
        return;
    mapfile_close(&l->file);
    free(l);
}

/* Keyed by a secret of the file. Never 0 in the part that a word keeps. */
static uint64_t hash_bytes(const struct limits *l, unsigned kind,
                           const void *bytes, size_t len)
{
    const uint64_t *secret = l->table->secret;
    const uint64_t key[2] = {secret[0], secret[1] ^ kind};
    const uint64_t n = text_hash_keyed(key, bytes, len);
    return n >> TIME_BITS != 0 ? n : n | (uint64_t)1 << TIME_BITS;
}

/* An IPv4 address in IPv6's form (RFC 4291, section 2.5.5.2) is that IPv4
 * address; a network gives a host an IPv6 /64 (section 2.5.4). */
static uint64_t hash_client(const struct limits *l, enum limits_kind kind,
                            const char *who)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    unsigned char bytes[16];
    if (kind == LIMITS_KEY)
        return hash_bytes(l, kind, who, strlen(who));
    if (who == NULL)
        return hash_bytes(l, kind, "", 0);
    if (inet_pton(AF_INET, who, bytes) == 1)
        return hash_bytes(l, kind, bytes, 4);
    if (inet_pton(AF_INET6, who, bytes) != 1)
        return hash_bytes(l, kind, "", 0);
    if (memcmp(bytes, mapped, sizeof(mapped)) == 0)
        return hash_bytes(l, kind, bytes + 12, 4);
    return hash_bytes(l, kind, bytes, 8);
}

/* The word of a hash in its set, else the one of the least worth. */
static _Atomic uint64_t *find_word(_Atomic uint64_t *set, uint64_t hash,
                                   uint64_t tag, uint64_t now,
                                   uint64_t (*worth)(uint64_t, uint64_t),
                                   uint64_t *word)
{
    uint64_t least = UINT64_MAX;
    size_t place = 0;
    for (size_t way = 0; way < WAYS; way++) {
        const uint64_t found =
            atomic_load_explicit(&set[way], memory_order_relaxed);
        const bool same = ((found ^ hash) & tag) == 0;
        const uint64_t value = same ? 0 : worth(found, now) + 1;
        if (value < least) {
            least = value;
            place = way;
            *word = found;
        }
        if (same)
            break;
    }
    return &set[place];
}

/* ---- Buckets --------------------------------------------------------- */

/* Microseconds until a bucket is full; 0: it is. */
static uint64_t time_to_full(uint64_t word, uint64_t now)
{
    const uint64_t ahead = (word - now) & TIME_MASK;
    return ahead <= LONGEST ? ahead : 0;
}

static uint64_t round_up(uint64_t us)
{
    return (us + 999999) / 1000000;
}

bool limits_take(struct limits *l, enum limits_kind kind, const char *who,
                 struct conf_rate rate, uint64_t count,
                 struct limits_state *state)
{
    *state = (struct limits_state){
        .kind = kind, .rate = rate, .remaining = rate.count};
    if (l == NULL)
        return true;
    const uint64_t hash = hash_client(l, kind, who);
    _Atomic uint64_t *const set = l->table->buckets + hash % BUCKET_SETS * WAYS;
    const uint64_t longest = rate.seconds * 1000000;
    const uint64_t wanted = count > 0 ? count : 1;
    const bool possible = wanted <= rate.count;
    const uint64_t cost = possible ? wanted * longest / rate.count : 0;
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    const uint64_t now =
        (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
    uint64_t word, used, next;
    bool fits;
    _Atomic uint64_t *place;
    do {
        place = find_word(set, hash, ~TIME_MASK, now, time_to_full, &word);
        const bool same = ((word ^ hash) & ~TIME_MASK) == 0;
        used = same ? time_to_full(word, now) : 0;
        next = word;
        fits = possible && used + cost <= longest;
        if (used > longest) { /* it was filled by a slower rate */
            used = longest;
            next = (hash & ~TIME_MASK) | ((now + used) & TIME_MASK);
        } else if (fits && count > 0) {
            used += cost;
            next = (hash & ~TIME_MASK) | ((now + used) & TIME_MASK);
        }
    } while (next != word &&
             !atomic_compare_exchange_strong(place, &word, next));
    if (possible && !fits)
        state->wait = round_up(used + cost - longest);
    state->remaining = (longest - used) * rate.count / longest;
    state->reset = round_up(used);
    return fits;
}

/* ---- Leases ---------------------------------------------------------- */

/* One of a period that is over is worth nothing; the last one of a period is
 * worth most, because it spares the store every query until then. */
static uint64_t lease_worth(uint64_t word, uint64_t today)
{
    const bool over = (word >> LEASE_DAY & 0xffff) <= today;
    return over ? 0 : 1 + (word & (LEASE_LAST | LEASE_UNITS));
}

static _Atomic uint64_t *find_lease(struct limits *l, const char *quota,
                                    uint64_t today, uint64_t *hash,
                                    uint64_t *word)
{
    *hash = hash_bytes(l, LIMITS_QUOTA, quota, strlen(quota));
    _Atomic uint64_t *place =
        find_word(l->table->leases + *hash % LEASE_SETS * WAYS, *hash,
                  LEASE_TAG, today, lease_worth, word);
    return place;
}

enum limits_lease limits_lease_take(struct limits *l, const char *quota,
                                    uint64_t today, uint64_t count,
                                    uint64_t *left)
{
    *left = 0;
    if (l == NULL)
        return LIMITS_LEASE_SHORT;
    for (;;) {
        uint64_t hash, word;
        _Atomic uint64_t *place = find_lease(l, quota, today, &hash, &word);
        if (((word ^ hash) & LEASE_TAG) != 0)
            return LIMITS_LEASE_SHORT;
        const uint64_t units = word & LEASE_UNITS;
        const bool last = (word & LEASE_LAST) != 0;
        const uint64_t rest =
            last ? 0
                 : atomic_load(&l->table->in_store[place - l->table->leases]);
        *left = units + rest;
        if (units < count)
            return last ? LIMITS_LEASE_OVER : LIMITS_LEASE_SHORT;
        if (atomic_compare_exchange_strong(place, &word, word - count)) {
            *left -= count;
            return LIMITS_LEASE_TAKEN;
        }
    }
}

void limits_lease_add(struct limits *l, const char *quota, uint64_t today,
                      uint64_t ends, uint64_t count, uint64_t in_store)
{
    uint64_t hash, word, next;
    _Atomic uint64_t *place;
    if (l == NULL)
        return;
    do {
        place = find_lease(l, quota, today, &hash, &word);
        const bool same = ((word ^ hash) & LEASE_TAG) == 0;
        const uint64_t units = count + (same ? word & LEASE_UNITS : 0);
        next = (hash & LEASE_TAG) | (ends & 0xffff) << LEASE_DAY |
               (in_store == 0 ? LEASE_LAST : 0) |
               (units < LEASE_UNITS ? units : LEASE_UNITS);
    } while (!atomic_compare_exchange_strong(place, &word, next));
    atomic_store(&l->table->in_store[place - l->table->leases], in_store);
}

/* A byte of the file for each set. The lock belongs to the open file (fcntl(2),
 * "Open file description locks"), which each process has opened for itself. A
 * file system without such locks costs a lease per process. */
static bool lock_lease(struct limits *l, const char *quota, short type)
{
    const uint64_t hash = hash_bytes(l, LIMITS_QUOTA, quota, strlen(quota));
    struct flock lock = {.l_type = type,
                         .l_whence = SEEK_SET,
                         .l_start = (off_t)(hash % LEASE_SETS),
                         .l_len = 1};
    return fcntl(l->file.fd, F_OFD_SETLK, &lock) == 0 ||
           (errno != EAGAIN && errno != EACCES);
}

bool limits_lease_lock(struct limits *l, const char *quota, int64_t deadline)
{
    while (l != NULL && !lock_lease(l, quota, F_WRLCK)) {
        if (clock_monotonic_ms() >= deadline)
            return false;
        nanosleep(&(struct timespec){0, POLL_US * 1000}, NULL);
    }
    return true;
}

void limits_lease_unlock(struct limits *l, const char *quota)
{
    if (l != NULL)
        (void)lock_lease(l, quota, F_UNLCK);
}
