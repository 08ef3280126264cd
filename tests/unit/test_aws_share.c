/* The shared file of keys: whole states, whoever dies, and for nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aws_share.h"
#include "clock.h"
#include "crew.h"
#include "mapfile.h"
#include "mem.h"

#define READERS   6
#define WRITERS   2
#define PUBLISHES 3000

static struct conf *conf;
static struct {
    _Atomic unsigned gate;
    _Atomic unsigned done;
} * shared;

static int set_up(void **state)
{
    int r = crew_set_up(state);
    conf = *state;
    shared = crew_share(sizeof(*shared));
    assert_int_equal(setenv("HOME", conf->state_dir, 1), 0);
    return r;
}

static struct aws_share *open_share(void)
{
    struct aws_share *s = aws_share_open(conf);
    assert_non_null(s);
    return s;
}

/* A state that is n all over. */
static void fill(struct aws_share_state *state, unsigned n)
{
    memset(state, 0, sizeof(*state));
    state->keys.serial = n;
    state->keys.plan.over_ms = (int64_t)n * 7;
    snprintf(state->keys.id, sizeof(state->keys.id), "AKIA%09u", n);
    memset(state->keys.secret, 'a' + (int)(n % 26), 40);
    memset(state->keys.token, 'a' + (int)(n % 26), 900);
    state->failure.count = n;
    snprintf(state->failure.text, sizeof(state->failure.text), "%u times", n);
}

static bool is_whole(const struct aws_share_state *found)
{
    static struct aws_share_state wanted;
    fill(&wanted, found->failure.count);
    return memcmp(found, &wanted, sizeof(wanted)) == 0;
}

static void what_is_published_is_read(void **state)
{
    (void)state;
    struct aws_share *s = open_share(), *other = open_share();
    static struct aws_share_state mine, theirs;
    assert_int_equal(aws_share_generation(s), 0);
    for (unsigned n = 1; n < 10; n++) {
        fill(&mine, n);
        assert_int_equal(aws_share_publish(s, &mine), n);
        assert_int_equal(aws_share_generation(other), n);
        assert_int_equal(aws_share_read(other, &theirs), n);
        assert_memory_equal(&mine, &theirs, sizeof(mine));
    }
    aws_share_close(s);
    aws_share_close(other);
}

static void read_all_the_time(void *arg)
{
    static struct aws_share_state found;
    struct aws_share *s = open_share();
    uint64_t last = 0;
    (void)arg;
    atomic_fetch_add(&shared->gate, 1);
    while (atomic_load(&shared->done) < WRITERS) {
        uint64_t generation = aws_share_read(s, &found);
        if (generation < last || !is_whole(&found))
            _exit(1);
        last = generation;
    }
    aws_share_close(s);
}

static void publish_all_the_time(void *arg)
{
    static struct aws_share_state state;
    struct aws_share *s = open_share();
    (void)arg;
    for (unsigned i = 0; i < PUBLISHES; i++) {
        while (!aws_share_lock(s, 1000000, 0))
            continue;
        fill(&state, (unsigned)aws_share_generation(s) + 1);
        aws_share_publish(s, &state);
        aws_share_unlock(s);
    }
    atomic_fetch_add(&shared->done, 1);
    aws_share_close(s);
}

static void readers_see_whole_states(void **state)
{
    (void)state;
    static struct aws_share_state first;
    pid_t children[READERS + WRITERS];
    struct aws_share *s = open_share();
    fill(&first, 1);
    aws_share_publish(s, &first);
    for (unsigned i = 0; i < READERS; i++)
        children[i] = crew_start(read_all_the_time, NULL);
    while (atomic_load(&shared->gate) < READERS)
        crew_sleep_us(1000);
    for (unsigned i = READERS; i < READERS + WRITERS; i++)
        children[i] = crew_start(publish_all_the_time, NULL);
    for (unsigned i = 0; i < READERS + WRITERS; i++)
        crew_finish(children[i]);
    assert_int_equal(aws_share_generation(s), 1 + WRITERS * PUBLISHES);
    aws_share_close(s);
}

static void publish_two(void *arg)
{
    static struct aws_share_state state;
    struct aws_share *s = open_share();
    (void)arg;
    if (!aws_share_lock(s, 0, 0))
        _exit(1);
    fill(&state, 2);
    aws_share_publish(s, &state);
}

static const void *watch_file(size_t *size)
{
    struct stat st;
    int fd = open(crew_path(conf, "credentials"), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    *size = (size_t)st.st_size;
    void *bytes = mmap(NULL, *size, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(bytes != MAP_FAILED);
    close(fd);
    return bytes;
}

/* Which state was in force after the last writer was killed. */
static unsigned survived;

/* Kills a writer when so many bytes, or groups of them, have been written.
 * False: it came to its end. */
static bool kill_writer(unsigned changes)
{
    static struct aws_share_state state;
    size_t size;
    struct aws_share *s = open_share();
    fill(&state, 1);
    aws_share_publish(s, &state);
    const void *watched = watch_file(&size);
    bool killed =
        crew_kill_at_change(publish_two, NULL, watched, size, changes);
    assert_int_equal(munmap((void *)(uintptr_t)watched, size), 0);
    const uint64_t generation = aws_share_read(s, &state);
    assert_int_equal(generation, state.failure.count);
    assert_true(is_whole(&state));
    assert_in_range(state.failure.count, killed ? 1 : 2, 2);
    survived = state.failure.count;
    /* The dead one's lock is free, and the next one can go on. */
    assert_true(aws_share_lock(s, 0, 0));
    fill(&state, 3);
    aws_share_publish(s, &state);
    aws_share_read(s, &state);
    assert_int_equal(state.failure.count, 3);
    assert_true(is_whole(&state));
    aws_share_close(s);
    assert_int_equal(unlink(crew_path(conf, "credentials")), 0);
    return killed;
}

static void a_killed_writer_leaves_the_state_before(void **state)
{
    (void)state;
    /* Here and there, then ever closer to the last change of all. */
    unsigned last = 1, too_many;
    for (too_many = 2; kill_writer(too_many); too_many = too_many * 4 + 1) {
        last = too_many;
        assert_int_equal(survived, 1);
    }
    while (too_many - last > 1) {
        unsigned middle = last + (too_many - last) / 2;
        if (kill_writer(middle))
            last = middle;
        else
            too_many = middle;
    }
    /* The very last change is that of the generation. */
    assert_true(kill_writer(last));
    assert_int_equal(survived, 2);
    assert_true(kill_writer(last - 1));
    assert_int_equal(survived, 1);
}

/* A right header, and after it what no curt has written. */
static void share_of_a_crafted_file_is_bounded(void **state)
{
    (void)state;
    static struct aws_share_state found;
    aws_share_close(open_share());
    int fd = open(crew_path(conf, "credentials"), O_RDWR | O_CLOEXEC);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = sizeof(struct mapfile_header); at < st.st_size; at++)
        assert_int_equal(pwrite(fd, "\xff", 1, at), 1);
    close(fd);
    struct aws_share *s = open_share();
    (void)aws_share_read(s, &found);
    assert_true(strlen(found.keys.token) < AWS_SHARE_TOKEN_SIZE);
    assert_true(strlen(found.failure.text) < AWS_SHARE_TEXT_SIZE);
    assert_true(found.failure.result <= RESULT_INTERNAL);
    assert_true(aws_share_publish(s, &found) != UINT64_MAX);
    aws_share_close(s);
}

static void only_the_owner_can_read_it(void **state)
{
    (void)state;
    struct stat st;
    mode_t before = umask(0);
    struct aws_share *s = open_share();
    umask(before);
    assert_int_equal(stat(crew_path(conf, "credentials"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    aws_share_close(s);
}

static void core_dumps_leave_it_out(void **state)
{
    (void)state;
    char line[4096];
    bool inside = false, left_out = false;
    struct aws_share *s = open_share();
    FILE *maps = fopen("/proc/self/smaps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        if (strstr(line, crew_path(conf, "credentials")) != NULL)
            inside = true;
        if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            left_out = strstr(line, " dd") != NULL;
            break;
        }
    }
    fclose(maps);
    assert_true(inside);
    assert_true(left_out);
    aws_share_close(s);
}

/* Whether two processes with these configurations share. */
static bool share_one_file(const struct conf *a, const struct conf *b)
{
    static struct aws_share_state state;
    struct aws_share *first = aws_share_open(a);
    assert_non_null(first);
    fill(&state, 1);
    aws_share_publish(first, &state);
    struct aws_share *second = aws_share_open(b);
    assert_non_null(second);
    uint64_t generation = aws_share_generation(second);
    /* Who had it keeps what it had. */
    assert_int_equal(aws_share_generation(first), 1);
    aws_share_close(first);
    aws_share_close(second);
    assert_int_equal(unlink(crew_path(conf, "credentials")), 0);
    return generation == 1;
}

static void another_configuration_gets_no_keys(void **state)
{
    (void)state;
    char other[] = "other";
    struct conf changed = *conf;
    char **const texts[] = {
        &changed.aws_profile,
        &changed.aws_config_file,
        &changed.aws_shared_credentials_file,
        &changed.aws_web_identity_token_file,
        &changed.aws_role_arn,
        &changed.aws_role_session_name,
        &changed.aws_endpoint_url,
        &changed.aws_endpoint_url_sts,
        &changed.aws_region,
        &changed.aws_default_region,
        &changed.aws_container_credentials_relative_uri,
        &changed.aws_container_credentials_full_uri,
        &changed.aws_container_authorization_token,
        &changed.aws_container_authorization_token_file,
        &changed.aws_ec2_metadata_service_endpoint,
    };
    assert_true(share_one_file(conf, &changed));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        *texts[i] = other;
        assert_false(share_one_file(conf, &changed));
        *texts[i] = NULL;
    }
    changed.aws_ec2_metadata_disabled = 1;
    assert_false(share_one_file(conf, &changed));
    changed.aws_ec2_metadata_disabled = 0;
    /* The same text, as another setting. */
    struct conf role = *conf, profile = *conf;
    role.aws_role_arn = other;
    profile.aws_profile = other;
    assert_false(share_one_file(&role, &profile));
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void an_edited_profile_gets_no_old_keys(void **state)
{
    (void)state;
    struct conf with = *conf;
    static struct aws_share_state published;
    char *path = mem_dup(crew_path(conf, "profiles"));
    with.aws_config_file = path;
    write_file(path, "[default]\nrole_arn = one\n");
    assert_true(share_one_file(&with, &with));
    struct aws_share *s = aws_share_open(&with);
    assert_non_null(s);
    fill(&published, 1);
    aws_share_publish(s, &published);
    write_file(path, "[default]\nrole_arn = another\n");
    struct aws_share *edited = aws_share_open(&with);
    assert_non_null(edited);
    assert_int_equal(aws_share_generation(edited), 0);
    aws_share_close(s);
    aws_share_close(edited);
    free(path);
}

static void a_file_that_others_can_read_is_not_used(void **state)
{
    (void)state;
    const char *path = crew_path(conf, "credentials");
    aws_share_close(open_share());
    assert_int_equal(chmod(path, 0640), 0);
    assert_null(aws_share_open(conf));
    assert_int_equal(chmod(path, 0602), 0);
    assert_null(aws_share_open(conf));
    assert_int_equal(chmod(path, 0600), 0);
    char *second = mem_dup(crew_path(conf, "second-name"));
    assert_int_equal(link(crew_path(conf, "credentials"), second), 0);
    assert_null(aws_share_open(conf));
    assert_int_equal(unlink(second), 0);
    free(second);
    aws_share_close(open_share());
}

/* mapfile gives root's files to the owner of the directory. */
static void roots_keys_are_not_given_away(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        aws_share_close(open_share());
        return;
    }
    assert_int_equal(chown(conf->runtime_dir, 65534, 65534), 0);
    assert_null(aws_share_open(conf));
    assert_int_equal(access(crew_path(conf, "credentials"), F_OK), -1);
    assert_int_equal(chown(conf->runtime_dir, 0, 0), 0);
    aws_share_close(open_share());
}

static void no_directory_is_no_share(void **state)
{
    (void)state;
    char none[] = "/nonexistent/curt";
    struct conf without = *conf;
    without.runtime_dir = none;
    assert_null(aws_share_open(&without));
    aws_share_close(NULL);
}

static void who_takes_too_long_is_overdue(void **state)
{
    (void)state;
    struct aws_share *s = open_share(), *other = open_share();
    int64_t now = clock_monotonic_ms();
    assert_true(aws_share_lock(s, 0, now + 5000));
    assert_false(aws_share_lock(other, 2000, now));
    assert_false(aws_share_overdue(other, now + 5000));
    assert_true(aws_share_overdue(other, now + 7000));
    aws_share_unlock(s);
    assert_true(aws_share_lock(other, 0, now));
    aws_share_close(s);
    aws_share_close(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, crew_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_published_is_read),
        TEST(readers_see_whole_states),
        TEST(a_killed_writer_leaves_the_state_before),
        TEST(only_the_owner_can_read_it),
        TEST(share_of_a_crafted_file_is_bounded),
        TEST(core_dumps_leave_it_out),
        TEST(another_configuration_gets_no_keys),
        TEST(an_edited_profile_gets_no_old_keys),
        TEST(a_file_that_others_can_read_is_not_used),
        TEST(roots_keys_are_not_given_away),
        TEST(no_directory_is_no_share),
        TEST(who_takes_too_long_is_overdue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
