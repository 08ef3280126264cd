/* Shared files: how they come into being, and what replaces them when. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/mapfile.h"
#include "processes.h"
#include "store/sqlite/write_lock.h"

#define NAME   "shared"
#define SIZE   65536
#define MAKERS 10
#define ROUNDS 12

static void init(void *base);

static const struct mapfile_kind kind = {.header = {.magic = "curttst",
                                                    .version = 3,
                                                    .header_size = 64,
                                                    .size = SIZE},
                                         .init = init};

/* What init writes: every byte behind the header. */
static bool is_whole(const struct mapfile *m)
{
    const unsigned char *bytes = m->base;
    for (size_t i = sizeof(kind.header); i < m->size; i++)
        if (bytes[i] != (unsigned char)(i * 7 + 1))
            return false;
    return memcmp(bytes, &kind.header, sizeof(kind.header)) == 0;
}

static struct {
    struct conf *conf;
    _Atomic unsigned gate;
    _Atomic unsigned inits;
    _Atomic unsigned opened;
    unsigned pause_us; /* of init, half way */
    ino_t inodes[MAKERS];
} * shared;

static void init(void *base)
{
    unsigned char *bytes = base;
    for (size_t i = sizeof(kind.header); i < SIZE; i++) {
        if (i == SIZE / 2 && shared->pause_us > 0)
            sleep_us(shared->pause_us);
        bytes[i] = (unsigned char)(i * 7 + 1);
    }
    atomic_fetch_add(&shared->inits, 1);
}

static int set_up(void **state)
{
    int r = temp_conf_set_up(state);
    shared = share_memory(sizeof(*shared));
    shared->conf = *state;
    return r;
}

EACH_TEST(set_up, temp_conf_tear_down)

static enum result open_it(struct mapfile *m, const char **reason)
{
    *reason = NULL;
    return mapfile_open(shared->conf->state_dir, NAME, &kind, m, reason);
}

static void open_well(struct mapfile *m)
{
    const char *reason;
    assert_int_equal(open_it(m, &reason), RESULT_OK);
    assert_int_equal(m->size, SIZE);
    assert_true(is_whole(m));
}

static ino_t inode_of(const struct mapfile *m)
{
    struct stat st;
    return fstat(m->fd, &st) == 0 ? st.st_ino : 0;
}

static void make_at_once(void *arg)
{
    struct mapfile m;
    const char *reason;
    process_barrier(&shared->gate, MAKERS);
    if (open_it(&m, &reason) != RESULT_OK || !is_whole(&m))
        _exit(1);
    shared->inodes[*(unsigned *)arg] = inode_of(&m);
}

TEST(many_make_one_file)
{
    for (int round = 0; round < ROUNDS; round++) {
        pid_t children[MAKERS];
        atomic_store(&shared->gate, 0);
        atomic_store(&shared->inits, 0);
        shared->pause_us = round % 2 == 0 ? 0 : 3000;
        for (unsigned i = 0; i < MAKERS; i++)
            children[i] = process_start(make_at_once, &i);
        for (unsigned i = 0; i < MAKERS; i++)
            process_wait(children[i]);
        assert_int_equal(atomic_load(&shared->inits), 1);
        for (unsigned i = 0; i < MAKERS; i++)
            assert_int_equal(shared->inodes[i], shared->inodes[0]);
        assert_int_equal(access(temp_path(shared->conf, NAME ".new"), F_OK),
                         -1);
        assert_int_equal(unlink(temp_path(shared->conf, NAME)), 0);
    }
}

static void make_again_and_again(void *arg)
{
    (void)arg;
    for (;;) {
        struct mapfile m;
        const char *reason;
        if (open_it(&m, &reason) != RESULT_OK || !is_whole(&m))
            _exit(1);
        atomic_fetch_add(&shared->opened, 1);
        mapfile_close(&m);
        unlink(temp_path(shared->conf, NAME));
    }
}

/* Whatever a maker leaves behind when it is killed, the others never take it
 * for a file, and are not kept from making one. */
TEST(killed_makers_leave_nothing_that_counts)
{
    pid_t children[4];
    shared->pause_us = 300;
    for (unsigned i = 0; i < 4; i++)
        children[i] = process_start(make_again_and_again, NULL);
    for (unsigned kills = 0; kills < 150; kills++) {
        sleep_us(random_below(3000));
        unsigned victim = random_below(4);
        process_kill(children[victim]);
        children[victim] = process_start(make_again_and_again, NULL);
    }
    for (unsigned i = 0; i < 4; i++)
        process_kill(children[i]);
    assert_true(atomic_load(&shared->opened) > 50);
    struct mapfile m;
    open_well(&m);
    mapfile_close(&m);
}

static void write_map(const void *bytes, size_t len, off_t size)
{
    const char *path = temp_path(shared->conf, NAME);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
}

/* A file that is another in one respect is replaced; one who maps it already
 * keeps it as it is. */
static void assert_replaced(const struct mapfile_header *other, size_t len)
{
    struct mapfile old, new;
    const char *reason;
    write_map(other, len, (off_t)other->size);
    old.fd = open(temp_path(shared->conf, NAME), O_RDWR | O_CLOEXEC);
    const ino_t before = inode_of(&old);
    assert_int_equal(mapfile_open_existing(shared->conf->state_dir, NAME, &kind,
                                           &new, &reason),
                     RESULT_CORRUPT);
    assert_non_null(reason);
    open_well(&new);
    assert_true(inode_of(&new) != before);
    assert_int_equal(inode_of(&old), before);
    char *found = calloc(1, len + 1);
    assert_int_equal(pread(old.fd, found, len, 0), len);
    /* One of this kind is marked as replaced. */
    if (len > 0 && memcmp(other, &kind.header, 8) == 0)
        found[0] ^= kind.header.magic[0];
    assert_memory_equal(found, other, len);
    free(found);
    close(old.fd);
    mapfile_close(&new);
}

TEST(what_is_another_file_is_replaced)
{
    struct mapfile_header other = kind.header;
    other.version++;
    assert_replaced(&other, sizeof(other));
    other.version = 2;
    assert_replaced(&other, sizeof(other));
    other = kind.header;
    other.magic[0] = 'C';
    assert_replaced(&other, sizeof(other));
    other = kind.header;
    other.header_size = 72;
    assert_replaced(&other, sizeof(other));
    other = kind.header;
    other.owner = 1;
    assert_replaced(&other, sizeof(other));
    other = kind.header;
    other.size = SIZE + 4096;
    assert_replaced(&other, sizeof(other));
    other.size = SIZE - 1;
    assert_replaced(&other, sizeof(other));
    other.size = sizeof(other) - 1;
    assert_replaced(&other, sizeof(other) - 1);
    other.size = 0;
    assert_replaced(&other, 0);
    struct mapfile_header zeros = {.size = SIZE};
    assert_replaced(&zeros, 0);
}

/* The right header on a file that is too short would be a SIGBUS. */
TEST(a_file_that_was_cut_is_replaced)
{
    struct mapfile m;
    static const off_t sizes[] = {0, 1, 31, 32, 4096, SIZE - 1, SIZE + 1};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        open_well(&m);
        mapfile_close(&m);
        assert_int_equal(truncate(temp_path(shared->conf, NAME), sizes[i]), 0);
        open_well(&m);
        mapfile_close(&m);
    }
    assert_int_equal(atomic_load(&shared->inits), 1 + 7);
}

TEST(who_maps_the_old_file_keeps_it)
{
    struct mapfile old, new;
    struct mapfile_kind next = kind;
    const char *reason;
    next.header.version++;
    open_well(&old);
    assert_int_equal(
        mapfile_open(shared->conf->state_dir, NAME, &next, &new, &reason),
        RESULT_OK);
    ((char *)old.base)[100] = 'o';
    ((char *)new.base)[100] = 'n';
    assert_int_equal(((char *)old.base)[100], 'o');
    assert_true(mapfile_lock(&old, 0));
    assert_true(mapfile_lock(&new, 0)); /* another file, another lock */
    mapfile_close(&old);
    mapfile_close(&new);
    mapfile_close(&new); /* allowed */
}

TEST(what_is_not_a_file_is_not_followed)
{
    struct mapfile m;
    const char *reason;
    const struct conf *conf = shared->conf;
    assert_int_equal(mkdir(temp_path(conf, NAME), 0700), 0);
    assert_int_not_equal(open_it(&m, &reason), RESULT_OK);
    assert_non_null(reason);
    assert_int_equal(rmdir(temp_path(conf, NAME)), 0);

    int fd = open(temp_path(conf, "victim"), O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(fd, "precious", 8), 8);
    assert_int_equal(symlink("victim", temp_path(conf, NAME)), 0);
    assert_int_not_equal(open_it(&m, &reason), RESULT_OK);
    assert_non_null(reason);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 8);
    close(fd);
    assert_int_equal(unlink(temp_path(conf, NAME)), 0);

    assert_int_equal(mkfifo(temp_path(conf, NAME), 0600), 0);
    open_well(&m); /* takes its place, and does not wait for a writer */
    mapfile_close(&m);
}

TEST(a_directory_that_is_not_there_is_said)
{
    struct mapfile m;
    const char *reason = NULL;
    const char *dir = temp_path(shared->conf, "none");
    assert_int_equal(mapfile_open(dir, NAME, &kind, &m, &reason),
                     RESULT_UNAVAILABLE);
    assert_string_equal(reason, strerror(ENOENT));
    assert_null(m.base);
    mapfile_close(&m); /* allowed */
    assert_int_equal(mapfile_open_existing(dir, NAME, &kind, &m, &reason),
                     RESULT_NOT_FOUND);
    assert_int_equal(mapfile_open_existing(shared->conf->state_dir, NAME, &kind,
                                           &m, &reason),
                     RESULT_NOT_FOUND);
    assert_int_equal(access(temp_path(shared->conf, NAME), F_OK), -1);
}

TEST(its_blocks_are_allocated)
{
    struct mapfile m;
    struct stat st;
    open_well(&m);
    assert_int_equal(fstat(m.fd, &st), 0);
    assert_true(st.st_blocks * 512 >= SIZE);
    assert_int_equal(st.st_mode & 0007, 0);
    mapfile_close(&m);
}

/* A disk, or else a limit, that has no room for the file. */
static void make_without_room(void *arg)
{
    (void)arg;
    struct mapfile m;
    const char *reason;
    const char *dir = shared->conf->state_dir;
    int error = ENOSPC;
    if (unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", dir, "tmpfs", 0, "size=16k") < 0) {
        const struct rlimit limit = {SIZE / 4, SIZE / 4};
        signal(SIGXFSZ, SIG_IGN);
        error = EFBIG;
        if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
            _exit(1);
    }
    if (open_it(&m, &reason) != RESULT_UNAVAILABLE || m.base != NULL)
        _exit(2);
    if (strcmp(reason, strerror(error)) != 0)
        _exit(3);
    /* What was begun is gone again: it would fill the disk. */
    if (access(temp_path(shared->conf, NAME ".new"), F_OK) == 0 ||
        access(temp_path(shared->conf, NAME), F_OK) == 0)
        _exit(4);
}

TEST(a_full_disk_is_said)
{
    process_wait(process_start(make_without_room, NULL));
    assert_int_equal(atomic_load(&shared->inits), 0);
}

static void make_slowly(void *arg)
{
    (void)arg;
    struct mapfile m;
    const char *reason;
    if (open_it(&m, &reason) != RESULT_OK || !is_whole(&m))
        _exit(1);
}

TEST(a_maker_that_is_stopped_stops_nobody_else)
{
    struct mapfile m;
    const char *reason;
    shared->pause_us = 1000000;
    pid_t maker = process_start(make_slowly, NULL);
    while (access(temp_path(shared->conf, NAME ".new"), F_OK) < 0)
        sleep_us(1000);
    process_stop(maker);
    assert_int_equal(open_it(&m, &reason), RESULT_UNAVAILABLE);
    assert_non_null(strstr(reason, "another process"));
    kill(maker, SIGCONT);
    process_wait(maker);
    open_well(&m);
    assert_int_equal(atomic_load(&shared->inits), 1);
    mapfile_close(&m);
}

static void hold_the_lock(void *arg)
{
    (void)arg;
    struct mapfile m;
    const char *reason;
    if (open_it(&m, &reason) != RESULT_OK || !mapfile_lock(&m, 1000000))
        _exit(1);
    atomic_store(&shared->gate, 1);
    for (;;)
        pause();
}

TEST(the_lock_has_one_holder_and_dies_with_it)
{
    struct mapfile m;
    open_well(&m);
    pid_t holder = process_start(hold_the_lock, NULL);
    while (atomic_load(&shared->gate) == 0)
        sleep_us(1000);
    assert_false(mapfile_lock(&m, 0));
    process_stop(holder);
    const int64_t begun = clock_monotonic_ms();
    assert_false(mapfile_lock(&m, 50000));
    assert_true(clock_monotonic_ms() - begun >= 40);
    process_kill(holder);
    assert_true(mapfile_lock(&m, 0));
    mapfile_unlock(&m);
    mapfile_close(&m);
}

/* Who comes in while another is in takes its mark away. */
static void mark_under_lock(void *arg)
{
    (void)arg;
    struct mapfile m;
    const char *reason;
    if (open_it(&m, &reason) != RESULT_OK)
        _exit(1);
    volatile pid_t *mark = (pid_t *)(void *)((char *)m.base + 1024);
    for (;;) {
        if (!mapfile_lock(&m, 1000000))
            continue;
        *mark = getpid();
        for (unsigned n = random_below(200); n > 0; n--)
            sched_yield();
        if (*mark != getpid())
            _exit(2);
        atomic_fetch_add(&shared->opened, 1);
        mapfile_unlock(&m);
    }
}

TEST(two_are_never_under_the_lock)
{
    pid_t children[3];
    struct mapfile m;
    open_well(&m);
    mapfile_close(&m);
    for (unsigned i = 0; i < 3; i++)
        children[i] = process_start(mark_under_lock, NULL);
    for (unsigned kills = 0; kills < 100; kills++) {
        sleep_us(random_below(3000));
        const unsigned victim = random_below(3);
        process_kill(children[victim]);
        children[victim] = process_start(mark_under_lock, NULL);
    }
    const unsigned before = atomic_load(&shared->opened);
    while (atomic_load(&shared->opened) == before)
        sleep_us(1000);
    for (unsigned i = 0; i < 3; i++)
        process_kill(children[i]);
}

/* Another user can hold a lock on every file that she can open. */
static void hold_what_can_be_opened(void *arg)
{
    char names[][20] = {".", NAME, "files.lock", "janitor.lock"};
    (void)arg;
    if (setgid(65534) < 0 || setuid(65534) < 0)
        _exit(1);
    for (unsigned i = 0; i < COUNT(names); i++) {
        int fd = open(temp_path(shared->conf, names[i]), O_RDONLY);
        if ((fd >= 0) != (i == 0) || (i == 0 && flock(fd, LOCK_EX) < 0))
            _exit(1);
    }
    atomic_store(&shared->gate, 1);
    for (;;)
        pause();
}

TEST(locks_are_out_of_reach_of_others)
{
    struct mapfile m;
    struct stat st;
    const struct conf *conf = shared->conf;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(conf->state_dir, 0755), 0);
    /* One of an earlier version lets the group in, and is closed. */
    close(open(temp_path(conf, "janitor.lock"), O_RDWR | O_CREAT, 0644));
    close(lock_take(conf->state_dir, "janitor.lock", 0));
    open_well(&m);
    mapfile_close(&m);
    pid_t other = process_start(hold_what_can_be_opened, NULL);
    while (atomic_load(&shared->gate) == 0)
        sleep_us(1000);
    assert_int_equal(unlink(temp_path(conf, NAME)), 0);
    open_well(&m);
    mapfile_close(&m);
    process_kill(other);
    assert_int_equal(stat(temp_path(conf, "files.lock"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

TEST(lock_that_is_not_a_file_is_said)
{
    struct mapfile m;
    const char *reason;
    const char *path = temp_path(shared->conf, "files.lock");
    assert_int_equal(symlink("victim", path), 0);
    assert_int_equal(open_it(&m, &reason), RESULT_UNAVAILABLE);
    assert_string_equal(reason, strerror(ELOOP));
    assert_int_equal(access(temp_path(shared->conf, "victim"), F_OK), -1);
}

/* A lock file that is removed while it is waited for. */
TEST(lock_of_a_removed_file_does_not_count)
{
    const char *dir = shared->conf->state_dir;
    int first = lock_take(dir, "lock", 0);
    assert_true(first >= 0 && lock_is_valid(first, dir, "lock"));
    assert_int_equal(lock_take(dir, "lock", 2000), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    assert_int_equal(unlink(temp_path(shared->conf, "lock")), 0);
    assert_false(lock_is_valid(first, dir, "lock"));
    int second = lock_take(dir, "lock", 0);
    assert_true(second >= 0 && lock_is_valid(second, dir, "lock"));
    assert_false(lock_is_valid(first, dir, "lock"));
    close(first);
    close(second);
}

/* On a small tmpfs both files have no room. */
static void make_a_larger_one_in_its_place(void *arg)
{
    (void)arg;
    struct mapfile m;
    const char *reason;
    const char *dir = shared->conf->state_dir;
    struct mapfile_kind next = kind;
    next.header.version++;
    next.header.size = SIZE + SIZE / 2;
    next.init = NULL;
    if (unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", dir, "tmpfs", 0, "size=120k") < 0)
        _exit(0); /* not root */
    if (open_it(&m, &reason) != RESULT_OK)
        _exit(1);
    mapfile_close(&m);
    if (mapfile_open(dir, NAME, &next, &m, &reason) != RESULT_OK)
        _exit(2);
    /* A process that maps it has its room until it ends. */
    struct mapfile other;
    if (mapfile_open(dir, NAME, &kind, &other, &reason) != RESULT_UNAVAILABLE ||
        !mapfile_is_replaced(&m))
        _exit(3);
    mapfile_close(&m);
    if (mapfile_open(dir, NAME, &kind, &other, &reason) != RESULT_OK)
        _exit(4);
}

TEST(makes_room_first)
{
    process_wait(process_start(make_a_larger_one_in_its_place, NULL));
}

/* A right header, and after it what no curt has written. */
TEST(write_lock_of_a_crafted_file_is_harmless)
{
    const char *dir = shared->conf->state_dir;
    for (unsigned round = 0; round < 200; round++) {
        struct write_lock *w = write_lock_open(dir, "writers");
        assert_true(round > 0 || w != NULL);
        write_lock_close(w);
        uint32_t junk[20];
        int fd = open(temp_path(shared->conf, "writers"), O_RDWR | O_CLOEXEC);
        for (unsigned i = 0; i < 20; i++)
            junk[i] = random_below(round % 2 == 0 ? UINT32_MAX : 256);
        const size_t begin = sizeof(struct mapfile_header);
        assert_true(pwrite(fd, junk, sizeof(pthread_mutex_t), (off_t)begin) >
                    0);
        close(fd);
        w = write_lock_open(dir, "writers");
        if (write_lock_take(w, INT64_MAX))
            write_lock_release(w);
        write_lock_close(w);
    }
}
