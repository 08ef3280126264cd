/* Credentials of curt's own sources, without a network: the environment, and
 * profiles whose command counts how often it is run. */
#include "test.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "aws/credentials.h"
#include "base/clock.h"
#include "base/mem.h"
#include "processes.h"

#define CROWD 8

static struct conf *conf;
static struct {
    _Atomic unsigned gate;
    _Atomic unsigned stop;
    _Atomic unsigned numbers[CROWD];
} * shared;

static void write_in_dir(const char *name, const char *text)
{
    write_file(temp_path(conf, name), text);
}

/* A command that gives the keys of its n-th run, each of which takes as long
 * as there is a file "slow", and fails while there is a file "broken". */
static void write_command(unsigned life)
{
    char text[2048];
    snprintf(text, sizeof(text),
             "#!/bin/sh\n"
             "cd %s || exit 2\n"
             "printf x >>calls\n"
             "n=$(wc -c <calls)\n"
             "while [ -e slow ]; do sleep 0.02; done\n"
             "[ ! -e broken ] || exit 1\n"
             "end=$(($(date +%%s) + %u))\n"
             "printf '{\"Version\":1,\"AccessKeyId\":\"AKIA%%s\",' \"$n\"\n"
             "printf '\"SecretAccessKey\":\"secret/%%s\",' \"$n\"\n"
             "printf '\"SessionToken\":\"token-%%s\",' \"$n\"\n"
             "printf '\"Expiration\":\"%%s\"}' "
             "\"$(date -u -d @$end +%%Y-%%m-%%dT%%H:%%M:%%SZ)\"\n",
             conf->state_dir, life);
    write_in_dir("command", text);
    assert_int_equal(chmod(temp_path(conf, "command"), 0700), 0);
    snprintf(text, sizeof(text),
             "[default]\nregion = eu-west-1\n[profile run]\n"
             "credential_process = %s/command\n",
             conf->state_dir);
    write_in_dir("config", text);
}

static unsigned calls(void)
{
    struct stat st;
    return stat(temp_path(conf, "calls"), &st) == 0 ? (unsigned)st.st_size : 0;
}

static int set_up(void **state)
{
    int r = temp_conf_set_up(state);
    conf = *state;
    shared = share_memory(sizeof(*shared));
    assert_int_equal(setenv("HOME", conf->state_dir, 1), 0);
    conf->aws_config_file = mem_dup(temp_path(conf, "config"));
    conf->aws_shared_credentials_file = mem_dup(temp_path(conf, "shared"));
    conf->aws_ec2_metadata_disabled = 1;
    return r;
}

static int tear_down(void **state)
{
    free(conf->aws_config_file);
    free(conf->aws_shared_credentials_file);
    return temp_conf_tear_down(state);
}

EACH_TEST(set_up, tear_down)

static void run_profile(unsigned life)
{
    static char name[] = "run";
    conf->aws_profile = name;
    write_command(life);
}

/* The number that is in all three of the keys. */
static unsigned number_of(const struct aws_keys *keys)
{
    unsigned id = 0, secret = 0, token = 0;
    if (sscanf(keys->id, "AKIA%u", &id) != 1 ||
        sscanf(keys->secret, "secret/%u", &secret) != 1 ||
        keys->token == NULL || sscanf(keys->token, "token-%u", &token) != 1 ||
        id != secret || id != token)
        return 0;
    return id;
}

/* 0: there are none. A slow machine takes long to start a command. */
static unsigned get(struct aws_credentials *c)
{
    struct aws_keys keys;
    if (aws_credentials_get(c, clock_monotonic_ms() + 30000, &keys) !=
        RESULT_OK)
        return 0;
    if (number_of(&keys) == 0)
        abort();
    return number_of(&keys);
}

TEST(the_configuration_has_keys)
{
    static char id[] = "AKIA7", secret[] = "secret/7", token[] = "token-7";
    struct aws_credentials *c = aws_credentials_new(conf, true);
    struct aws_keys keys;
    run_profile(3600);
    conf->aws_access_key_id = id;
    assert_int_equal(aws_credentials_get(c, clock_monotonic_ms() + 1000, &keys),
                     RESULT_DENIED);
    assert_non_null(strstr(aws_credentials_error(c),
                           "credentials from environment: AWS_ACCESS_KEY_ID "));
    aws_credentials_free(c);
    conf->aws_secret_access_key = secret;
    c = aws_credentials_new(conf, true);
    assert_int_equal(aws_credentials_get(c, clock_monotonic_ms() + 1000, &keys),
                     RESULT_OK);
    assert_null(keys.token);
    assert_string_equal(keys.secret, secret);
    assert_string_equal(aws_credentials_source(c), "environment");
    aws_credentials_free(c);
    conf->aws_session_token = token;
    c = aws_credentials_new(conf, true);
    assert_int_equal(get(c), 7);
    assert_true(aws_credentials_shown_in(c, "<token-7>"));
    assert_false(aws_credentials_expire(c));
    assert_int_equal(calls(), 0);
    aws_credentials_free(c);
}

TEST(all_places_are_named)
{
    static const char *const said[] = {
        "no credentials; looked at: environment (",
        "AWS_ACCESS_KEY_ID is not set); web identity (",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "); shared files (",
        "/config",
        "); container (",
        "AWS_CONTAINER_CREDENTIALS_",
        "); instance metadata (",
        "AWS_EC2_METADATA_DISABLED"};
    struct aws_credentials *c = aws_credentials_new(conf, true);
    assert_int_equal(get(c), 0);
    const char *rest = aws_credentials_error(c);
    for (size_t i = 0; i < COUNT(said); i++) {
        const char *found = strstr(rest, said[i]);
        if (found == NULL)
            fail_msg("\"%s\" is not in \"%s\"", said[i], rest);
        rest = found;
    }
    aws_credentials_free(c);
}

TEST(a_profile_that_was_edited_is_read_again)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    write_in_dir("shared", "[default]\naws_access_key_id = AKIA1\n"
                           "aws_secret_access_key = secret/1\n"
                           "aws_session_token = token-1\n");
    assert_int_equal(get(c), 1);
    write_in_dir("shared", "[default]\naws_access_key_id = AKIA2\n"
                           "aws_secret_access_key = secret/2\n"
                           "aws_session_token = token-2\n");
    assert_int_equal(get(c), 1);
    sleep_us(1100000);
    assert_true(aws_credentials_expire(c));
    assert_int_equal(get(c), 2);
    aws_credentials_free(c);
}

static void get_once(void *arg)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    process_barrier(&shared->gate, CROWD);
    shared->numbers[*(unsigned *)arg] = get(c);
    aws_credentials_free(c);
}

static void send_crowd(pid_t children[CROWD], process_work *work)
{
    for (unsigned i = 0; i < CROWD; i++)
        children[i] = process_start(work, &i);
}

static void finish_crowd(const pid_t children[CROWD])
{
    for (unsigned i = 0; i < CROWD; i++)
        process_wait(children[i]);
}

TEST(the_command_runs_once_for_all)
{
    pid_t children[CROWD];
    run_profile(3600);
    send_crowd(children, get_once);
    finish_crowd(children);
    assert_int_equal(calls(), 1);
    for (unsigned i = 0; i < CROWD; i++)
        assert_int_equal(shared->numbers[i], 1);
    struct stat st;
    assert_int_equal(stat(temp_path(conf, "credentials"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void get_alone(void *arg)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    (void)arg;
    if (get(c) == 0)
        _exit(1);
    aws_credentials_free(c);
}

TEST(another_runs_it_when_one_is_killed)
{
    pid_t children[CROWD];
    run_profile(3600);
    write_in_dir("slow", "");
    pid_t asking = process_start(get_alone, NULL);
    while (calls() == 0)
        sleep_us(1000);
    send_crowd(children, get_once);
    sleep_us(200000);
    assert_int_equal(calls(), 1);
    process_kill(asking);
    while (calls() == 1)
        sleep_us(1000);
    assert_int_equal(unlink(temp_path(conf, "slow")), 0);
    finish_crowd(children);
    assert_int_equal(calls(), 2);
    for (unsigned i = 0; i < CROWD; i++)
        assert_int_equal(shared->numbers[i], 2);
}

static void get_all_the_time(void *arg)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    unsigned last = 0;
    while (atomic_load(&shared->stop) == 0) {
        unsigned number = get(c);
        if (number < last || number == 0)
            _exit(1);
        last = number;
        sleep_us(1000); /* the command needs the processors */
    }
    shared->numbers[*(unsigned *)arg] = last;
    aws_credentials_free(c);
}

TEST(keys_rotate_under_load)
{
    pid_t children[CROWD];
    struct aws_credentials *janitor = aws_credentials_new(conf, true);
    run_profile(6);
    send_crowd(children, get_all_the_time);
    const int64_t start = clock_monotonic_ms();
    while (calls() < 3) {
        aws_credentials_tend(janitor, clock_monotonic_ms() + 30000);
        sleep_us(100000);
    }
    atomic_store(&shared->stop, 1);
    finish_crowd(children);
    assert_in_range(calls(), 3, 2 + (clock_monotonic_ms() - start) / 1000);
    for (unsigned i = 0; i < CROWD; i++)
        assert_true(shared->numbers[i] + 1 >= calls());
    aws_credentials_free(janitor);
}

TEST(a_command_that_fails_costs_nothing_at_first)
{
    struct aws_credentials *c = aws_credentials_new(conf, true);
    run_profile(5);
    assert_int_equal(get(c), 1);
    const int64_t end = aws_credentials_expires(c);
    write_in_dir("broken", "");
    while (clock_now() < end) {
        aws_credentials_tend(c, clock_monotonic_ms() + 1000);
        if (get(c) != 1 && clock_now() < end)
            fail_msg("keys are gone before they end");
        sleep_us(20000);
    }
    assert_int_equal(get(c), 0);
    assert_non_null(
        strstr(aws_credentials_error(c), "credentials from shared files: "));
    assert_null(strstr(aws_credentials_error(c), "secret/"));
    assert_in_range(calls(), 2, 5);
    assert_int_equal(unlink(temp_path(conf, "broken")), 0);
    while (get(c) == 0)
        sleep_us(50000);
    assert_int_equal(get(c), calls());
    aws_credentials_free(c);
}
