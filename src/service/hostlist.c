#include "service/hostlist.h"

#include <errno.h>
#include <fcntl.h>
#include <libpsl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "link/host.h"

/* Which process compiles a list. */
#define LOCK_NAME "hosts.lock"

/* How long a process waits for another one that compiles, in microseconds. */
#define LOCK_WAIT 10000000

/* How often a process looks for a new table, and how often it tries again to
 * compile one, in milliseconds. */
#define LOOK_MS  1000
#define RETRY_MS 5000

/* Faults of a file that are shown one by one; the longest line that is read. */
#define FAULTS_MAX   10
#define LINE_MAX_LEN 1024

/* What an entry stands for, in the two lowest bits of its hash. */
#define MEANS_HOST  1u
#define MEANS_BELOW 2u
#define MEANS_ALL   3u

#define MAGIC 0x32736f6874727563u /* the version is in it */

/* The compiled file. */
struct hostlist_table {
    uint64_t magic;
    uint64_t list;   /* hash of the path of the text file */
    uint64_t source; /* hash_state() of the text file */
    uint64_t key[2]; /* random: for text_hash_keyed() */
    uint64_t count;
    uint64_t slots; /* a power of two, at least twice count */
    uint64_t slot[];
};

static const char *const keys[] = {"BLOCKED_HOSTS", "ALLOWED_HOSTS"};
static const char *const names[] = {"blocked-hosts", "allowed-hosts"};

const char *hostlist_path(const struct conf *conf, enum hostlist_kind kind)
{
    return kind == HOSTLIST_BLOCKED ? conf->blocked_hosts : conf->allowed_hosts;
}

/* ---- Looking up ------------------------------------------------------ */

/* The hash of the last label of name, of which *end bytes are left, and of all
 * labels after it, whose hash is after. Moves *end before the label. So one
 * pass makes the hashes of all domains that a host is in. */
static uint64_t next_domain(const struct hostlist_table *t, const char *name,
                            size_t *end, uint64_t after)
{
    const char *dot = memrchr(name, '.', *end);
    const size_t start = dot != NULL ? (size_t)(dot - name) + 1 : 0;
    const uint64_t key[] = {t->key[0] ^ after, t->key[1]};
    const uint64_t hash = text_hash_keyed(key, name + start, *end - start);
    *end = start > 0 ? start - 1 : 0;
    return hash;
}

/* Where the table has the entry with the hash, or could take it. */
static uint64_t *find_slot(struct hostlist_table *t, uint64_t hash)
{
    uint64_t i = (hash >> 8) & (t->slots - 1);
    while (t->slot[i] != 0 && (t->slot[i] ^ hash) > MEANS_ALL)
        i = (i + 1) & (t->slots - 1);
    return &t->slot[i];
}

/* ---- The text file --------------------------------------------------- */

/* A number for the state of a file, which changes when it is written or
 * replaced. */
static uint64_t hash_state(const struct stat *st)
{
    const uint64_t state[] = {
        (uint64_t)st->st_dev, (uint64_t)st->st_ino, (uint64_t)st->st_size,
        (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec};
    return text_hash_keyed((const uint64_t[]){1, 1}, state, sizeof(state));
}

bool hostlist_parse(const char *line, size_t len, struct buf *name, bool *below)
{
    const char *comment = memchr(line, '#', len);
    len = comment != NULL ? (size_t)(comment - line) : len;
    for (; len > 0 && strchr(" \t\r\n", line[len - 1]) != NULL; len--)
        ;
    for (; len > 0 && strchr(" \t", *line) != NULL; len--)
        line++;
    *below = len > 2 && line[0] == '*' && line[1] == '.';
    line += *below ? 2 : 0;
    len -= *below ? 2 : 0;
    if (len == 0)
        return true;
    if (len > LINE_MAX_LEN || host_normalise(line, len, name) != NULL)
        return false;
    if (name->data[name->len - 1] == '.')
        buf_truncate(name, name->len - 1);
    return !*below || name->data[0] != '[';
}

/* Fills head but for slots, and returns head->count hashes, which the caller
 * frees; NULL: the file cannot be read. Appends a line for each of the first
 * faults, and one for the others. */
static uint64_t *text_read(const char *path, struct hostlist_table *head,
                           struct buf *faults)
{
    struct stat st;
    struct buf name;
    char *line = NULL;
    size_t size = 0, room = 64;
    unsigned number = 0, wrong = 0;
    ssize_t len;
    *head = (struct hostlist_table){.magic = MAGIC, .list = text_hash(path)};
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    FILE *in = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (in == NULL || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        getrandom(head->key, sizeof(head->key), 0) < 0) {
        buf_addf(faults, "%s: %s\n", path,
                 in != NULL ? "not a regular file" : strerror(errno));
        if (in != NULL)
            fclose(in);
        return NULL;
    }
    head->source = hash_state(&st);
    uint64_t *hashes = mem_alloc(room * sizeof(*hashes));
    psl_ctx_t *latest = psl_latest(NULL);
    const psl_ctx_t *psl = latest != NULL ? latest : psl_builtin();
    buf_init(&name, LINE_MAX_LEN);
    while ((len = getline(&line, &size, in)) >= 0) {
        const bool mark =
            ++number == 1 && strncmp(line, TEXT_BYTE_ORDER_MARK, 3) == 0;
        bool below;
        buf_reset(&name);
        const bool ok = hostlist_parse(line + 3 * mark, (size_t)len - 3 * mark,
                                       &name, &below);
        line[strcspn(line, "\r\n")] = '\0';
        if (!ok && wrong++ < FAULTS_MAX)
            buf_addf(faults, "%s:%u: not a host name or address: %.100s\n",
                     path, number, line);
        if (!ok || name.len == 0)
            continue;
        uint64_t hash = 0;
        for (size_t end = name.len; end > 0;)
            hash = next_domain(head, name.data, &end, hash);
        if (head->count == room)
            hashes = mem_resize(hashes, (room *= 2) * sizeof(*hashes));
        const bool suffix = !below && psl_is_public_suffix(psl, name.data);
        hashes[head->count++] = (hash | MEANS_ALL) - (below    ? MEANS_HOST
                                                      : suffix ? MEANS_BELOW
                                                               : 0);
    }
    if (wrong > FAULTS_MAX)
        buf_addf(faults, "%s: %u more lines are not host names or addresses\n",
                 path, wrong - FAULTS_MAX);
    if (ferror(in)) {
        buf_addf(faults, "%s: %s\n", path, strerror(errno));
        free(hashes);
        hashes = NULL;
    }
    fclose(in);
    free(line);
    buf_free(&name);
    psl_free(latest);
    return hashes;
}

enum result hostlist_check(const struct conf *conf, enum hostlist_kind kind,
                           size_t *count, struct buf *faults)
{
    struct hostlist_table head;
    const char *path = hostlist_path(conf, kind);
    if (path == NULL)
        return RESULT_NOT_FOUND;
    uint64_t *hashes = text_read(path, &head, faults);
    *count = head.count;
    free(hashes);
    return hashes != NULL ? RESULT_OK : RESULT_UNAVAILABLE;
}

/* ---- The compiled file ----------------------------------------------- */

static size_t table_size(uint64_t slots)
{
    return sizeof(struct hostlist_table) + (size_t)slots * sizeof(uint64_t);
}

/* Writes a new file and puts it in place. Returns 0 or an error number. */
static int table_write(const char *dir, const char *name,
                       struct hostlist_table *head, const uint64_t *hashes)
{
    char *path = mem_printf("%s/%s", dir, name);
    char *fresh = mem_printf("%s.new", path);
    for (head->slots = 8; head->slots < 2 * head->count;)
        head->slots *= 2;
    const size_t size = table_size(head->slots);
    unlink(fresh); /* left over from a process that died here */
    int fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int error = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)size);
    struct hostlist_table *t = MAP_FAILED;
    if (error == 0) {
        t = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        error = t == MAP_FAILED ? errno : 0;
    }
    if (error == 0) {
        *t = *head;
        for (uint64_t n = 0; n < head->count; n++)
            *find_slot(t, hashes[n]) |= hashes[n];
        munmap(t, size);
        lock_give_to_owner(fd, dir);
        error = rename(fresh, path) < 0 ? errno : 0;
    }
    if (error != 0)
        unlink(fresh);
    if (fd >= 0)
        close(fd);
    free(fresh);
    free(path);
    return error;
}

static void table_unmap(struct hostlist *l)
{
    if (l->table != NULL)
        munmap(l->table, table_size(l->table->slots));
    l->table = NULL;
}

/* Maps the compiled file, if it is this list's and not mapped already; else the
 * one that is mapped stays. */
static void table_map(struct hostlist *l, const struct conf *conf,
                      enum hostlist_kind kind)
{
    struct stat st;
    struct hostlist_table head = {.magic = 0};
    char *path = mem_printf("%s/%s", conf->runtime_dir, names[kind]);
    int fd = -1;
    if (lstat(path, &st) == 0 && (l->table == NULL || st.st_ino != l->inode))
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    free(path);
    if (fd >= 0 && fstat(fd, &st) == 0 &&
        pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
        head.magic == MAGIC &&
        head.list == text_hash(hostlist_path(conf, kind)) && head.slots >= 8 &&
        table_size(head.slots) == (size_t)st.st_size) {
        void *t = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (t != MAP_FAILED) {
            table_unmap(l);
            l->table = t;
            l->inode = st.st_ino;
            l->failed = false; /* the next fault is another one */
        }
    }
    if (fd >= 0)
        close(fd);
}

void hostlist_close_all(struct hostlist *lists)
{
    for (int kind = 0; kind < HOSTLIST_KINDS; kind++) {
        table_unmap(&lists[kind]);
        lists[kind] = (struct hostlist){0};
    }
}

/* Whether the mapped table is that of the text file as it is now. */
static bool is_current(const struct hostlist *l, const char *path)
{
    struct stat st;
    return l->table != NULL && stat(path, &st) == 0 &&
           l->table->source == hash_state(&st);
}

/* Compiles the list, unless another process has done that meanwhile, and maps
 * it. wait_us: for the other process; after 0 the next attempt is soon. */
static void hostlist_compile(struct hostlist *l, const struct conf *conf,
                             enum hostlist_kind kind, unsigned wait_us)
{
    const char *path = hostlist_path(conf, kind);
    const int64_t begin = clock_monotonic_ms();
    struct hostlist_table head;
    struct buf faults;
    uint64_t *hashes = NULL;
    const int lock = lock_take(conf->runtime_dir, LOCK_NAME, wait_us);
    int error = lock < 0 ? errno : 0;
    if (error == EWOULDBLOCK && wait_us == 0)
        return;
    table_map(l, conf, kind);
    if (error == 0 && is_current(l, path)) {
        l->failed = false;
        close(lock);
        return;
    }
    buf_init(&faults, CONF_FAULTS_MAX);
    if (error == 0)
        hashes = text_read(path, &head, &faults);
    if (hashes != NULL)
        error = table_write(conf->runtime_dir, names[kind], &head, hashes);
    if (error != 0)
        buf_addf(&faults, "%s: %s\n", conf->runtime_dir, strerror(error));
    const bool done = hashes != NULL && error == 0;
    char *rest = faults.data;
    for (char *s; (done || !l->failed) && (s = strsep(&rest, "\n")) != NULL &&
                  *s != '\0';)
        log_warning("%s: %s", keys[kind], s);
    if (done) {
        table_map(l, conf, kind);
        log_info("list of hosts compiled: %s: %llu hosts in %lld ms",
                 keys[kind], (unsigned long long)head.count,
                 (long long)(clock_monotonic_ms() - begin));
    } else if (!l->failed) {
        log_error("cannot use a list of hosts: %s: %s", keys[kind],
                  l->table != NULL ? "the one before stays"
                                   : "creates are refused until it is there");
    }
    l->failed = !done;
    l->retry_ms = done ? 0 : begin + RETRY_MS;
    buf_free(&faults);
    free(hashes);
    if (lock >= 0)
        close(lock);
}

/* Takes over a new table. Compiles one where this process has none or its first
 * one is out of date, and (tend) whenever the text has changed. */
static void hostlist_refresh(struct hostlist *l, const struct conf *conf,
                             enum hostlist_kind kind, bool tend)
{
    const int64_t now = clock_monotonic_ms();
    const bool compile = tend || l->table == NULL;
    if (now < l->look_ms)
        return;
    l->look_ms = now + LOOK_MS;
    table_map(l, conf, kind);
    if (is_current(l, hostlist_path(conf, kind)))
        l->failed = false;
    else if (compile && now >= l->retry_ms)
        hostlist_compile(l, conf, kind, tend ? 0 : LOCK_WAIT);
}

enum result hostlist_find(struct hostlist *l, const struct conf *conf,
                          enum hostlist_kind kind, const char *host)
{
    hostlist_refresh(l, conf, kind, false);
    if (l->table == NULL)
        return RESULT_UNAVAILABLE;
    size_t end = strlen(host);
    end -= end > 1 && host[end - 1] == '.';
    for (uint64_t hash = 0; end > 0;) {
        hash = next_domain(l->table, host, &end, hash);
        const uint64_t meaning = end > 0 ? MEANS_BELOW : MEANS_HOST;
        if ((*find_slot(l->table, hash) & meaning) != 0)
            return RESULT_OK;
    }
    return RESULT_NOT_FOUND;
}

void hostlist_tend(struct hostlist *lists, const struct conf *conf)
{
    for (enum hostlist_kind kind = 0; kind < HOSTLIST_KINDS; kind++)
        if (hostlist_path(conf, kind) != NULL)
            hostlist_refresh(&lists[kind], conf, kind, true);
}
