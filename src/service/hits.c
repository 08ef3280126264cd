#include "service/hits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mapfile.h"
#include "base/mem.h"
#include "base/text.h"
#include "link/ids.h"

#define VERSION 2
#define NAME    "hits"

/* 32 MiB: as many different links between two flushes, give or take. */
#define SLOTS (1u << 18)

/* Slots on one page of memory, and pages. */
#define PAGE_SLOTS 32
#define PAGES      (SLOTS / PAGE_SLOTS)

/* Slots that one link may be in, next to each other. */
#define WINDOW 16

/* How long a worker waits to claim a slot, in microseconds: a long wait is
 * better than a write to the store for one hit. */
#define CLAIM_WAIT 50000

/* After so many failures in a row the store is considered unavailable. */
#define FAILURES_IN_A_ROW 3

/*
 * word: generation (23 bits), used (1 bit), hits counted since the slot was
 * claimed (40 bits). Workers count by compare-and-swap on it; only a claimer,
 * under the file's lock, makes a free slot used, and only the janitor makes a
 * used one free.
 *
 * done, sent, seq: the janitor's. The first `done` hits are settled. When sent
 * is larger than done, hits done + 1 to sent were sent under seq, and what
 * became of them is not known yet.
 */
struct hit_slot {
    _Alignas(128) _Atomic uint64_t word; /* so that no slot is on two pages */
    char id[IDS_MAX + 1];                /* NUL-terminated */
    _Atomic uint64_t done;
    _Atomic uint64_t sent;
    _Atomic uint64_t seq;
};

struct hit_journal {
    struct mapfile_header header;
    char node[STORE_NODE_SIZE]; /* this file's name in the store */
    _Atomic uint64_t last_seq;  /* of all slots */
    _Atomic uint64_t boot;      /* during which pages[] has been complete */
    _Atomic uint64_t pages[PAGES / 64]; /* a bit for each that was ever used */
    _Alignas(4096) struct hit_slot slots[SLOTS];
};

_Static_assert(offsetof(struct hit_journal, slots) == 4096 &&
                   sizeof(struct hit_slot) * PAGE_SLOTS == 4096,
               "the slots are whole pages after the first one");

struct hits {
    struct mapfile file;
    struct hit_journal *journal;
    uint64_t boot;   /* this one */
    size_t prepared; /* slots with something to send, in this flush */
    bool on_disk;    /* what earlier flushes have written down */
};

#define USED       ((uint64_t)1 << 40)
#define COUNT_MASK (USED - 1)
#define GENERATION (USED << 1)

/* Owner of the journal beside an SQLite file, which is in the same directory
 * wherever that is. */
#define OWNER_SQLITE 1

static void init_journal(void *base)
{
    struct hit_journal *j = base;
    /* A new file is a new node: its sequence numbers begin again. */
    char id[IDS_MAX + 1];
    if (ids_make(STORE_NODE_SIZE - 1, STORE_NODE_SIZE - 1, id) != RESULT_OK) {
        log_error("OpenSSL RAND_bytes failed, no name for the hit journal");
        abort();
    }
    memcpy(j->node, id, STORE_NODE_SIZE);
    j->boot = mapfile_boot();
}

static struct mapfile_kind journal_kind(const struct conf *conf)
{
    return (struct mapfile_kind){
        .header = {.magic = "curthit",
                   .version = VERSION,
                   .header_size = offsetof(struct hit_journal, slots),
                   .size = sizeof(struct hit_journal),
                   .owner = conf->store == CONF_STORE_SQLITE
                                ? OWNER_SQLITE
                                : store_identity(conf)},
        .keep = true,
        .init = init_journal};
}

static struct hits *use_journal(const struct mapfile *file)
{
    struct hits *h = mem_zalloc(sizeof(*h));
    *h = (struct hits){
        .file = *file, .journal = file->base, .boot = mapfile_boot()};
    h->journal->node[STORE_NODE_SIZE - 1] = '\0';
    return h;
}

struct hits *hits_open(const struct conf *conf, bool *failed)
{
    const struct mapfile_kind kind = journal_kind(conf);
    struct mapfile file;
    const char *reason = "";
    const bool before = *failed;
    *failed =
        mapfile_open(conf->state_dir, NAME, &kind, &file, &reason) != RESULT_OK;
    if (*failed && !before)
        log_warning("running without a hit journal, hits are written one by "
                    "one: %s/" NAME ": %s",
                    conf->state_dir, reason);
    if (*failed)
        return NULL;
    if (before)
        log_info("hit journal opened");
    return use_journal(&file);
}

static enum result open_any(const struct conf *conf, const char *name,
                            struct hits **out, const char **reason)
{
    struct mapfile_kind kind = journal_kind(conf);
    struct mapfile file;
    kind.any_owner = true;
    enum result r =
        mapfile_open_existing(conf->state_dir, name, &kind, &file, reason);
    *out = r == RESULT_OK ? use_journal(&file) : NULL;
    return r;
}

enum result hits_open_existing(const struct conf *conf, struct hits **out,
                               const char **reason)
{
    return open_any(conf, NAME, out, reason);
}

uint64_t hits_of_other_stores(const struct conf *conf)
{
    uint64_t sum = 0, hits, links;
    DIR *dir = opendir(conf->state_dir);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        struct hits *h;
        const char *reason;
        if (strncmp(entry->d_name, NAME ".", sizeof(NAME)) != 0 ||
            open_any(conf, entry->d_name, &h, &reason) != RESULT_OK)
            continue;
        hits_pending_all(h, &hits, &links);
        sum += hits;
        hits_close(h);
    }
    if (dir != NULL)
        closedir(dir);
    return sum;
}

void hits_close(struct hits *h)
{
    if (h == NULL)
        return;
    mapfile_close(&h->file);
    free(h);
}

static void mark_page(struct hits *h, const struct hit_slot *slot)
{
    const size_t page = (size_t)(slot - h->journal->slots) / PAGE_SLOTS;
    atomic_fetch_or(&h->journal->pages[page / 64], (uint64_t)1 << page % 64);
}

/* The first slot from number i on, before end, that can be in use; or end.
 * After a power loss the disk can have a slot without the mark of its page. */
static size_t next_slot(const struct hits *h, size_t i, size_t end)
{
    const struct hit_journal *j = h->journal;
    while (i < end && j->boot == h->boot &&
           (j->pages[i / PAGE_SLOTS / 64] >> i / PAGE_SLOTS % 64 & 1) == 0)
        i = (i / PAGE_SLOTS + 1) * PAGE_SLOTS;
    return i < end ? i : end;
}

/* The link's slot and its word, or NULL. The word is read before the id: as
 * long as it keeps its generation, the id is the one that was compared. */
static struct hit_slot *find_slot(const struct hits *h, const char *id,
                                  uint64_t start, uint64_t *word)
{
    for (unsigned i = 0; i < WINDOW; i++) {
        struct hit_slot *slot = &h->journal->slots[(start + i) % SLOTS];
        *word = slot->word;
        if ((*word & USED) != 0 && strcmp(slot->id, id) == 0)
            return slot;
    }
    return NULL;
}

/* Adds one, unless the slot has been freed. */
static bool add_one(struct hit_slot *slot, uint64_t word)
{
    const uint64_t life = word & ~COUNT_MASK;
    while ((word & ~COUNT_MASK) == life && (word & COUNT_MASK) < COUNT_MASK)
        if (atomic_compare_exchange_weak_explicit(&slot->word, &word, word + 1,
                                                  memory_order_acq_rel,
                                                  memory_order_acquire))
            return true;
    return false;
}

/* Counts a hit of a link that has no slot: in a free one, under the lock. */
static bool claim_slot(struct hits *h, const char *id, uint64_t start)
{
    if (!mapfile_lock(&h->file, CLAIM_WAIT))
        return false;
    uint64_t word;
    struct hit_slot *slot = find_slot(h, id, start, &word);
    /* A slot may still be freed here, but none claimed. */
    bool counted = slot != NULL && add_one(slot, word);
    if (!counted && find_slot(h, id, start, &word) == NULL) {
        for (unsigned i = 0; i < WINDOW && !counted; i++) {
            slot = &h->journal->slots[(start + i) % SLOTS];
            word = slot->word;
            if ((word & USED) != 0)
                continue;
            mark_page(h, slot);
            memcpy(slot->id, id, strlen(id) + 1);
            slot->done = 0;
            slot->sent = 0;
            slot->word = ((word + GENERATION) & ~COUNT_MASK) | USED | 1;
            counted = true;
        }
    }
    mapfile_unlock(&h->file);
    return counted;
}

bool hits_count(struct hits *h, const char *short_id)
{
    if (h == NULL)
        return false;
    const uint64_t start = text_hash(short_id);
    uint64_t word;
    struct hit_slot *slot = find_slot(h, short_id, start, &word);
    return (slot != NULL && add_one(slot, word)) ||
           claim_slot(h, short_id, start);
}

/* Whether the slot has something to send, which is then written down. One with
 * nothing pending and nothing new becomes free. */
static bool prepare_slot(struct hits *h, struct hit_slot *slot)
{
    uint64_t word = slot->word;
    const uint64_t count = word & COUNT_MASK;
    if ((word & USED) == 0)
        return false;
    if (slot->sent > slot->done) {
        /* Written again: after a failed write the kernel takes the page for
         * clean, and the next fdatasync() would succeed without it. */
        if (!h->on_disk)
            slot->seq = (uint64_t)slot->seq;
        return true;
    }
    if (count == slot->done) {
        atomic_compare_exchange_strong(&slot->word, &word, word & ~USED);
        return false;
    }
    /* From the clock, so that a journal that was restored from a backup does
     * not count from where it was: the store would refuse it. */
    _Atomic uint64_t *last = &h->journal->last_seq;
    uint64_t old = *last, seq;
    do {
        seq = (uint64_t)clock_now() << 20;
        seq = seq > old ? seq : old + 1;
    } while (!atomic_compare_exchange_weak(last, &old, seq));
    slot->seq = seq; /* before sent, which makes it count */
    slot->sent = count;
    return true;
}

/* The slots of a part: from the returned one on, before *end. */
static size_t slots_of(unsigned part, unsigned parts, size_t *end)
{
    const size_t count = SLOTS / parts;
    *end = part + 1 == parts ? SLOTS : count * (part + 1);
    return count * part;
}

bool hits_begin_flush(struct hits *h, unsigned part, unsigned parts,
                      const char **reason)
{
    *reason = NULL;
    if (h == NULL)
        return true;
    /* Another kind of lock than that for claims, which do not wait for it. It
     * belongs to this descriptor, and so to all threads. */
    struct flock mine = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    if (fcntl(h->file.fd, F_OFD_SETLK, &mine) < 0) {
        if (errno != EAGAIN && errno != EACCES)
            *reason = strerror(errno);
        return false;
    }
    struct hit_slot *slots = h->journal->slots;
    size_t end;
    const size_t first = slots_of(part, parts, &end);
    h->prepared = 0;
    for (size_t i = next_slot(h, first, end); i < end;
         i = next_slot(h, i + 1, end)) {
        if (h->journal->boot != h->boot && (slots[i].word & USED) != 0)
            mark_page(h, &slots[i]);
        h->prepared += prepare_slot(h, &slots[i]);
    }
    if (parts == 1)
        h->journal->boot = h->boot;
    const bool written = h->prepared == 0 || fdatasync(h->file.fd) == 0;
    h->on_disk = written && (parts == 1 || h->on_disk);
    if (!written)
        *reason = strerror(errno);
    return written;
}

/* Sends what a slot has written down. False: the store does not take it. */
static bool send_slot(struct hits *h, struct store *store,
                      struct hit_slot *slot, struct hits_flushed *out)
{
    const uint64_t done = slot->done;
    const uint64_t sent = slot->sent;
    const struct store_flush flush = {h->journal->node, slot->seq};
    char id[IDS_MAX + 1]; /* which ends, also in a damaged file */
    memcpy(id, slot->id, IDS_MAX);
    id[IDS_MAX] = '\0';
    enum result r = store_add_hits(store, id, sent - done, &flush, 0);
    const bool settled = r == RESULT_OK || r == RESULT_CONFLICT ||
                         r == RESULT_NOT_FOUND || r == RESULT_CORRUPT;
    if (!settled) {
        if (out->failed++ == 0)
            snprintf(out->error, sizeof(out->error), "%s: %s", result_text(r),
                     store_error(store));
        out->throttled = r == RESULT_THROTTLED;
        return false;
    }
    slot->done = sent;
    if (r == RESULT_CORRUPT)
        log_error("dropped %llu hits of link %s, its item cannot be updated: "
                  "%s",
                  (unsigned long long)(sent - done), id, store_error(store));
    else if (r == RESULT_NOT_FOUND)
        out->dropped += sent - done;
    else
        out->hits += sent - done;
    out->links++;
    return true;
}

void hits_flush(struct hits *h, struct store *store, unsigned part,
                unsigned parts, _Atomic int64_t *left, struct hits_flushed *out)
{
    *out = (struct hits_flushed){0};
    if (h == NULL || h->prepared == 0)
        return;
    size_t end;
    const size_t first = slots_of(part, parts, &end);
    /* A link whose hits always fail must not hold up the others: each time
     * another one is first. */
    const size_t begin =
        first + (size_t)clock_monotonic_ms() * 2654435761 % (end - first);
    const size_t from[] = {begin, first}, to[] = {end, begin};
    unsigned failures = 0;
    for (unsigned half = 0; half < 2; half++) {
        for (size_t i = next_slot(h, from[half], to[half]); i < to[half];
             i = next_slot(h, i + 1, to[half])) {
            struct hit_slot *slot = &h->journal->slots[i];
            if ((slot->word & USED) == 0 || slot->sent <= slot->done)
                continue;
            if (atomic_fetch_sub(left, 1) <= 0)
                return;
            failures = send_slot(h, store, slot, out) ? 0 : failures + 1;
            if (out->throttled)
                atomic_store(left, 0);
            if (out->throttled || failures == FAILURES_IN_A_ROW)
                return;
        }
    }
}

uint64_t hits_pending(const struct hits *h, const char *short_id)
{
    uint64_t word;
    if (h == NULL)
        return 0;
    const struct hit_slot *slot;
    uint64_t done, now;
    do {
        slot = find_slot(h, short_id, text_hash(short_id), &word);
        if (slot == NULL)
            return 0;
        done = slot->done;
        now = slot->word;
    } while ((now & ~COUNT_MASK) != (word & ~COUNT_MASK));
    return (word & COUNT_MASK) > done ? (word & COUNT_MASK) - done : 0;
}

void hits_pending_all(const struct hits *h, uint64_t *hits, uint64_t *links)
{
    *hits = 0;
    *links = 0;
    if (h == NULL)
        return;
    for (size_t i = next_slot(h, 0, SLOTS); i < SLOTS;
         i = next_slot(h, i + 1, SLOTS)) {
        const struct hit_slot *slot = &h->journal->slots[i];
        uint64_t word = slot->word;
        uint64_t done = slot->done;
        if ((word & USED) == 0 || (word & COUNT_MASK) <= done)
            continue;
        *hits += (word & COUNT_MASK) - done;
        (*links)++;
    }
}
