/* The file of credentials: whole sets, whichever process dies, and only for
 * processes of the same configuration. */
#include "test.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "aws/credentials_file.h"
#include "base/clock.h"
#include "base/mapfile.h"
#include "base/mem.h"
#include "processes.h"

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
    int r = temp_conf_set_up(state);
    conf = *state;
    shared = share_memory(sizeof(*shared));
    assert_int_equal(setenv("HOME", conf->state_dir, 1), 0);
    return r;
}

EACH_TEST(set_up, temp_conf_tear_down)

static struct aws_credentials_file *open_file(void)
{
    struct aws_credentials_file *s = aws_credentials_file_open(conf);
    assert_non_null(s);
    return s;
}

/* A set that is n all over. */
static void fill(struct aws_credentials_set *set, unsigned n)
{
    memset(set, 0, sizeof(*set));
    set->fetched_ms = (int64_t)n * 7;
    set->failures = n;
    snprintf(set->id, sizeof(set->id), "AKIA%09u", n);
    memset(set->secret, 'a' + (int)(n % 26), 40);
    memset(set->token, 'a' + (int)(n % 26), 900);
    snprintf(set->error, sizeof(set->error), "%u times", n);
}

static bool is_whole(const struct aws_credentials_set *found)
{
    static struct aws_credentials_set wanted;
    fill(&wanted, found->failures);
    return memcmp(found, &wanted, sizeof(wanted)) == 0;
}

TEST(what_is_published_is_read)
{
    struct aws_credentials_file *f = open_file(), *other = open_file();
    static struct aws_credentials_set mine, theirs;
    assert_false(aws_credentials_file_read(other, &theirs));
    for (unsigned n = 1; n < 10; n++) {
        fill(&mine, n);
        aws_credentials_file_publish(f, &mine);
        assert_false(aws_credentials_file_read(f, &theirs));
        assert_true(aws_credentials_file_read(other, &theirs));
        assert_memory_equal(&mine, &theirs, sizeof(mine));
        assert_false(aws_credentials_file_read(other, &theirs));
    }
    aws_credentials_file_close(f);
    aws_credentials_file_close(other);
}

static void read_all_the_time(void *arg)
{
    static struct aws_credentials_set found;
    struct aws_credentials_file *f = open_file();
    uint32_t last = 0;
    (void)arg;
    atomic_fetch_add(&shared->gate, 1);
    while (atomic_load(&shared->done) < WRITERS) {
        (void)aws_credentials_file_read(f, &found);
        if (found.failures < last || !is_whole(&found))
            _exit(1);
        last = found.failures;
    }
    aws_credentials_file_close(f);
}

static void publish_all_the_time(void *arg)
{
    static struct aws_credentials_set set;
    struct aws_credentials_file *f = open_file();
    (void)arg;
    for (unsigned i = 0; i < PUBLISHES; i++) {
        while (!aws_credentials_file_lock(f, 1000000))
            continue;
        (void)aws_credentials_file_read(f, &set);
        fill(&set, set.failures + 1);
        aws_credentials_file_publish(f, &set);
        aws_credentials_file_unlock(f);
    }
    atomic_fetch_add(&shared->done, 1);
    aws_credentials_file_close(f);
}

TEST(readers_see_whole_states)
{
    static struct aws_credentials_set first;
    pid_t children[READERS + WRITERS];
    struct aws_credentials_file *s = open_file();
    fill(&first, 1);
    aws_credentials_file_publish(s, &first);
    for (unsigned i = 0; i < READERS; i++)
        children[i] = process_start(read_all_the_time, NULL);
    while (atomic_load(&shared->gate) < READERS)
        sleep_us(1000);
    for (unsigned i = READERS; i < READERS + WRITERS; i++)
        children[i] = process_start(publish_all_the_time, NULL);
    for (unsigned i = 0; i < READERS + WRITERS; i++)
        process_wait(children[i]);
    assert_true(aws_credentials_file_read(s, &first));
    assert_int_equal(first.failures, 1 + WRITERS * PUBLISHES);
    aws_credentials_file_close(s);
}

/* Here, so that each copy of it takes the same instructions. */
static struct aws_credentials_set to_publish;

static void publish_two(void *arg)
{
    (void)arg;
    process_skip();
    struct aws_credentials_file *s = open_file();
    process_skip();
    if (!aws_credentials_file_lock(s, 0))
        _exit(1);
    aws_credentials_file_publish(s, &to_publish);
}

static const void *watch_file(size_t *size)
{
    struct stat st;
    int fd = open(temp_path(conf, "credentials"), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    *size = (size_t)st.st_size;
    void *bytes = mmap(NULL, *size, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(bytes != MAP_FAILED);
    close(fd);
    return bytes;
}

/* Which set was selected after the last writer was killed. */
static unsigned survived;

/* Kills a writer when so many bytes, or groups of them, have been written.
 * False: it came to its end. */
static bool kill_writer(unsigned changes)
{
    static struct aws_credentials_set state;
    size_t size;
    struct aws_credentials_file *s = open_file();
    fill(&state, 1);
    fill(&to_publish, 2);
    aws_credentials_file_publish(s, &state);
    const void *watched = watch_file(&size);
    bool killed =
        process_kill_at_change(publish_two, NULL, watched, size, changes);
    assert_int_equal(munmap((void *)(uintptr_t)watched, size), 0);
    (void)aws_credentials_file_read(s, &state);
    assert_true(is_whole(&state));
    assert_in_range(state.failures, killed ? 1 : 2, 2);
    survived = state.failures;
    /* The dead one's lock is free, and the next one can go on. */
    assert_true(aws_credentials_file_lock(s, 0));
    fill(&state, 3);
    aws_credentials_file_publish(s, &state);
    aws_credentials_file_close(s);
    s = open_file();
    assert_true(aws_credentials_file_read(s, &state));
    assert_int_equal(state.failures, 3);
    assert_true(is_whole(&state));
    aws_credentials_file_close(s);
    assert_int_equal(unlink(temp_path(conf, "credentials")), 0);
    return killed;
}

/* How many changes a writer makes that is not killed. */
static unsigned count_changes(void)
{
    static struct aws_credentials_set state;
    size_t size;
    struct aws_credentials_file *s = open_file();
    fill(&state, 1);
    fill(&to_publish, 2);
    aws_credentials_file_publish(s, &state);
    const void *watched = watch_file(&size);
    const unsigned count =
        process_count_changes(publish_two, NULL, watched, size);
    assert_int_equal(munmap((void *)(uintptr_t)watched, size), 0);
    aws_credentials_file_close(s);
    assert_int_equal(unlink(temp_path(conf, "credentials")), 0);
    return count;
}

TEST(a_killed_writer_leaves_the_state_before)
{
    const unsigned last = count_changes();
    /* Here and there, and before the last change of all. */
    for (unsigned n = 2; n < last - 1; n = n * 4 + 1) {
        assert_true(kill_writer(n));
        assert_int_equal(survived, 1);
    }
    assert_true(kill_writer(last - 1));
    assert_int_equal(survived, 1);
    /* The very last change is that of the generation. */
    assert_true(kill_writer(last));
    assert_int_equal(survived, 2);
}

/* A right header, and after it what no curt has written. */
TEST(what_a_damaged_file_has_is_bounded)
{
    static struct aws_credentials_set found;
    aws_credentials_file_close(open_file());
    int fd = open(temp_path(conf, "credentials"), O_RDWR | O_CLOEXEC);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = sizeof(struct mapfile_header); at < st.st_size; at++)
        assert_int_equal(pwrite(fd, "\xff", 1, at), 1);
    close(fd);
    struct aws_credentials_file *s = open_file();
    (void)aws_credentials_file_read(s, &found);
    assert_true(strlen(found.token) < AWS_CREDENTIALS_TOKEN_SIZE);
    assert_true(strlen(found.error) < AWS_CREDENTIALS_TEXT_SIZE);
    assert_true(found.result <= RESULT_INTERNAL);
    aws_credentials_file_publish(s, &found);
    aws_credentials_file_close(s);
}

TEST(only_the_owner_can_read_it)
{
    struct stat st;
    mode_t before = umask(0);
    struct aws_credentials_file *s = open_file();
    umask(before);
    assert_int_equal(stat(temp_path(conf, "credentials"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    aws_credentials_file_close(s);
}

TEST(core_dumps_leave_it_out)
{
    char line[4096];
    bool inside = false, left_out = false;
    struct aws_credentials_file *s = open_file();
    FILE *maps = fopen("/proc/self/smaps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        if (strstr(line, temp_path(conf, "credentials")) != NULL)
            inside = true;
        if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            left_out = strstr(line, " dd") != NULL;
            break;
        }
    }
    fclose(maps);
    assert_true(inside);
    assert_true(left_out);
    aws_credentials_file_close(s);
}

/* Whether two processes with these configurations share. */
static bool share_one_file(const struct conf *a, const struct conf *b)
{
    static struct aws_credentials_set state;
    struct aws_credentials_file *first = aws_credentials_file_open(a);
    assert_non_null(first);
    fill(&state, 1);
    aws_credentials_file_publish(first, &state);
    struct aws_credentials_file *second = aws_credentials_file_open(b);
    assert_non_null(second);
    const bool one = aws_credentials_file_read(second, &state);
    /* The first process keeps its own. */
    assert_false(aws_credentials_file_read(first, &state));
    aws_credentials_file_close(first);
    aws_credentials_file_close(second);
    assert_int_equal(unlink(temp_path(conf, "credentials")), 0);
    return one;
}

TEST(another_configuration_gets_no_keys)
{
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
    for (size_t i = 0; i < COUNT(texts); i++) {
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

TEST(an_edited_profile_gets_no_old_keys)
{
    struct conf with = *conf;
    static struct aws_credentials_set published;
    char *path = mem_dup(temp_path(conf, "profiles"));
    with.aws_config_file = path;
    write_file(path, "[default]\nrole_arn = one\n");
    assert_true(share_one_file(&with, &with));
    struct aws_credentials_file *s = aws_credentials_file_open(&with);
    assert_non_null(s);
    fill(&published, 1);
    aws_credentials_file_publish(s, &published);
    write_file(path, "[default]\nrole_arn = another\n");
    struct aws_credentials_file *edited = aws_credentials_file_open(&with);
    assert_non_null(edited);
    assert_false(aws_credentials_file_read(edited, &published));
    aws_credentials_file_close(s);
    aws_credentials_file_close(edited);
    free(path);
}

TEST(a_file_that_others_can_read_is_not_used)
{
    const char *path = temp_path(conf, "credentials");
    aws_credentials_file_close(open_file());
    assert_int_equal(chmod(path, 0640), 0);
    assert_null(aws_credentials_file_open(conf));
    assert_int_equal(chmod(path, 0602), 0);
    assert_null(aws_credentials_file_open(conf));
    assert_int_equal(chmod(path, 0600), 0);
    char *second = mem_dup(temp_path(conf, "second-name"));
    assert_int_equal(link(temp_path(conf, "credentials"), second), 0);
    assert_null(aws_credentials_file_open(conf));
    assert_int_equal(unlink(second), 0);
    free(second);
    aws_credentials_file_close(open_file());
}

/* mapfile gives root's files to the owner of the directory. */
TEST(roots_keys_are_not_given_away)
{
    if (geteuid() != 0) {
        aws_credentials_file_close(open_file());
        return;
    }
    assert_int_equal(chown(conf->runtime_dir, 65534, 65534), 0);
    assert_null(aws_credentials_file_open(conf));
    assert_int_equal(access(temp_path(conf, "credentials"), F_OK), -1);
    assert_int_equal(chown(conf->runtime_dir, 0, 0), 0);
    aws_credentials_file_close(open_file());
}

TEST(a_missing_directory_is_a_fault)
{
    char none[] = "/nonexistent/curt";
    struct conf without = *conf;
    without.runtime_dir = none;
    assert_null(aws_credentials_file_open(&without));
    aws_credentials_file_close(NULL);
}
