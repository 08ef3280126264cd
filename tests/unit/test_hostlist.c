/* The lists of hosts, and what may be shortened. */
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "app_fixture.h"
#include "base/mem.h"
#include "base/text.h"
#include "link/url.h"
#include "service/targets.h"

struct site {
    struct conf conf;
    struct hostlist lists[HOSTLIST_KINDS];
    char *dir, *path;
};

static int set_up(void **state)
{
    static struct site s;
    static char schemes[] = "http https mailto ssh";
    s = (struct site){.dir = mem_dup(temp_dir())};
    s.path = mem_printf("%s/list", s.dir);
    s.conf.runtime_dir = s.dir;
    s.conf.blocked_hosts = s.path;
    s.conf.url_schemes = schemes;
    const char *reason;
    assert_int_equal(url_app_parse("https://sho.rt/t/", &s.conf.app, &reason),
                     RESULT_OK);
    log_set_level(LOG_LEVEL_ERROR);
    *state = &s;
    return 0;
}

static int tear_down(void **state)
{
    struct site *s = *state;
    hostlist_close_all(s->lists);
    url_app_free(&s->conf.app);
    free(s->path);
    free(s->dir);
    return 0;
}

EACH_TEST(set_up, tear_down)

static bool is_blocked(struct site *s, const char *host)
{
    const enum result r =
        hostlist_find(&s->lists[0], &s->conf, HOSTLIST_BLOCKED, host);
    assert_true(r == RESULT_OK || r == RESULT_NOT_FOUND);
    return r == RESULT_OK;
}

TEST(siphash_has_the_published_values)
{
    /* Aumasson and Bernstein, appendix A. */
    unsigned char message[15];
    const uint64_t key[] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    for (unsigned char i = 0; i < sizeof(message); i++)
        message[i] = i;
    assert_true(text_hash_keyed(key, message, 15) == 0xa129ca6149be45e5);
    assert_true(text_hash_keyed(key, message, 8) == 0x93f5f5799a932462);
    assert_true(text_hash_keyed(key, message, 0) == 0x726fdb47dd0e0e31);
}

TEST(a_name_stands_for_all_below_it)
{
    struct site *s = *state;
    write_file(s->path, "\xef\xbb\xbf"
                        "first.example\r\n"
                        "# comment\n\n  \t\n"
                        "  Spaces.EXAMPLE\t# why\n"
                        "co.uk\n*.org.uk\n*.below.example\ngithub.io\n"
                        "*.zip\nm\xc3\xbcnchen.de\nxn--bcher-kva.example\n"
                        "192.0.2.1\n0x7f.1\n[2001:DB8:0::1]\nintranet\n"
                        "dot.example.\nlast.example");
    static const char *const in[] = {"first.example",
                                     "a.first.example",
                                     "a.b.c.first.example",
                                     "first.example.",
                                     "spaces.example",
                                     "co.uk",
                                     "x.org.uk",
                                     "a.x.org.uk",
                                     "a.below.example",
                                     "github.io",
                                     "evil.zip",
                                     "xn--mnchen-3ya.de",
                                     "www.xn--mnchen-3ya.de",
                                     "xn--bcher-kva.example",
                                     "192.0.2.1",
                                     "127.0.0.1",
                                     "[2001:db8::1]",
                                     "intranet",
                                     "dot.example",
                                     "x.dot.example",
                                     "last.example"};
    static const char *const out[] = {"irst.example",
                                      "xfirst.example",
                                      "example",
                                      "comment",
                                      "x.co.uk",
                                      "org.uk",
                                      "below.example",
                                      "x.github.io",
                                      "zip",
                                      "a.intranet",
                                      "192.0.2.2",
                                      "2.0.192",
                                      "[2001:db8::2]",
                                      "why",
                                      "first.example.com"};
    for (size_t i = 0; i < COUNT(in); i++)
        if (!is_blocked(s, in[i]))
            fail_msg("%s", in[i]);
    for (size_t i = 0; i < COUNT(out); i++)
        if (is_blocked(s, out[i]))
            fail_msg("%s", out[i]);
    assert_int_equal(
        hostlist_find(&s->lists[0], &s->conf, HOSTLIST_BLOCKED, ""),
        RESULT_NOT_FOUND);
}

TEST(an_empty_list_has_nothing)
{
    struct site *s = *state;
    write_file(s->path, "");
    assert_false(is_blocked(s, "example.com"));
}

TEST(lines_that_are_not_hosts_are_reported_and_skipped)
{
    struct site *s = *state;
    struct buf faults, text;
    size_t count = 0;
    buf_init(&faults, CONF_FAULTS_MAX);
    buf_init(&text, 10000);
    buf_add_str(&text,
                "a.example\nhttp://b.example/\n*\n*.[::1]\n0.0.0.0 x.y\n");
    for (int i = 0; i < 20; i++)
        buf_add_str(&text, "not a host\n");
    buf_add_str(&text, "c.example\n");
    write_file(s->path, text.data);
    assert_int_equal(
        hostlist_check(&s->conf, HOSTLIST_BLOCKED, &count, &faults), RESULT_OK);
    assert_int_equal(count, 2);
    char *second = mem_printf("%s:2: not a host name or address: "
                              "http://b.example/\n%s:3: ",
                              s->path, s->path);
    assert_memory_equal(faults.data, second, strlen(second));
    assert_null(strstr(faults.data, ":12:"));
    assert_non_null(strstr(faults.data, ": 14 more lines are not host names"));
    assert_true(is_blocked(s, "c.example"));
    free(second);
    buf_free(&text);
    buf_free(&faults);
}

TEST(a_file_that_cannot_be_read_is_a_fault)
{
    struct site *s = *state;
    struct buf faults;
    size_t count = 0;
    buf_init(&faults, CONF_FAULTS_MAX);
    assert_int_equal(
        hostlist_check(&s->conf, HOSTLIST_ALLOWED, &count, &faults),
        RESULT_NOT_FOUND);
    assert_int_equal(faults.len, 0);
    assert_int_equal(
        hostlist_check(&s->conf, HOSTLIST_BLOCKED, &count, &faults),
        RESULT_UNAVAILABLE);
    assert_non_null(strstr(faults.data, "/list: No such file"));
    buf_free(&faults);
    start_capture();
    assert_int_equal(
        hostlist_find(&s->lists[0], &s->conf, HOSTLIST_BLOCKED, "a.b"),
        RESULT_UNAVAILABLE);
    char log[2000];
    end_capture(log, sizeof(log));
    assert_non_null(strstr(log, "creates are refused until it is there"));
}

/* As time passes: the next call looks again. */
static void look(struct site *s)
{
    for (int i = 0; i < HOSTLIST_KINDS; i++)
        s->lists[i].look_ms = s->lists[i].retry_ms = 0;
}

TEST(a_changed_list_is_compiled_by_the_janitor)
{
    struct site *s = *state;
    struct hostlist janitor[HOSTLIST_KINDS] = {{.table = NULL}};
    write_file(s->path, "a.example\n");
    assert_true(is_blocked(s, "a.example"));
    hostlist_tend(janitor, &s->conf);
    write_file(s->path, "b.example\nc.example\n");
    look(s);
    assert_true(is_blocked(s, "a.example")); /* until the table is there */
    janitor[0].look_ms = 0;
    hostlist_tend(janitor, &s->conf);
    assert_true(is_blocked(s, "a.example")); /* for a second */
    look(s);
    assert_true(is_blocked(s, "b.example"));
    assert_false(is_blocked(s, "a.example"));
    /* A list that is gone: the one before stays, here and for new processes. */
    assert_int_equal(unlink(s->path), 0);
    look(s);
    janitor[0].look_ms = 0;
    start_capture();
    hostlist_tend(janitor, &s->conf);
    hostlist_close_all(s->lists);
    assert_true(is_blocked(s, "b.example"));
    char log[4000];
    end_capture(log, sizeof(log));
    assert_non_null(strstr(log, "the one before stays"));
    hostlist_close_all(janitor);
}

TEST(a_table_of_another_list_or_version_is_not_used)
{
    struct site *s = *state;
    char *table = mem_printf("%s/blocked-hosts", s->dir);
    char *other = mem_printf("%s/other", s->dir);
    struct stat st;
    write_file(s->path, "a.example\n");
    write_file(other, "b.example\n");
    assert_true(is_blocked(s, "a.example"));
    assert_int_equal(stat(table, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    s->conf.blocked_hosts = other;
    hostlist_close_all(s->lists);
    assert_true(is_blocked(s, "b.example"));
    assert_false(is_blocked(s, "a.example"));
    for (size_t cut = 0; cut < 3; cut++) {
        hostlist_close_all(s->lists);
        write_bytes(table, "curthos0........", cut * 8);
        assert_true(is_blocked(s, "b.example"));
    }
    /* Cut short: nothing reads after its end. */
    hostlist_close_all(s->lists);
    assert_int_equal(stat(table, &st), 0);
    assert_int_equal(truncate(table, st.st_size - 8), 0);
    assert_true(is_blocked(s, "b.example"));
    free(table);
    free(other);
}

TEST(many_hosts_are_found)
{
    struct site *s = *state;
    const int count = 20000;
    FILE *out = fopen(s->path, "we");
    assert_non_null(out);
    for (int i = 0; i < count; i++)
        fprintf(out, "host-%d.example.net\n", i);
    assert_int_equal(fclose(out), 0);
    char host[80];
    for (int i = 0; i < count; i++) {
        snprintf(host, sizeof(host), "w.host-%d.example.net", i);
        assert_true(is_blocked(s, host));
        snprintf(host, sizeof(host), "host-%d.example.org", i);
        assert_false(is_blocked(s, host));
    }
}

/* ---- The check of a create ------------------------------------------- */

static const char *refusal(struct site *s, const char *url)
{
    struct buf out;
    struct link link;
    const char *reason = NULL;
    link_init(&link);
    buf_init(&out, URL_MAX);
    const enum result r = targets_accept(&s->conf, s->lists, NULL, url,
                                         strlen(url), &out, &link, &reason);
    assert_int_equal(r, reason == NULL ? RESULT_OK : RESULT_INVALID);
    buf_free(&out);
    link_free(&link);
    return reason != NULL ? reason : "";
}

TEST(targets_follow_the_configuration)
{
    struct site *s = *state;
    static const struct {
        const char *url, *why;
    } cases[] = {
        {"https://good.example/", ""},
        {"https://bad.example/", "leads to a blocked host"},
        {"https://A.BAD.example:8443/x", "leads to a blocked host"},
        {"ssh://me@bad.example/", "leads to a blocked host"},
        {"ssh://me@B%61d.example/", "leads to a blocked host"},
        {"mailto:me@bad.example", ""},
        {"http://127.1/", "private or local"},
        {"ssh://0x7f.1/", "private or local"},
        {"http://intranet/", "private or local"},
        {"ssh://resolve/", ""},
        {"ssh://localhost/", "private or local"},
        {"http://bit.ly/x", "another URL shortener"},
        {"http://p\u0430ypal.com/", "can be mistaken for another"},
        {"ftp://good.example/", "is not an absolute http or https URL"},
    };
    s->conf.private_targets = CONF_REFUSE;
    s->conf.shortener_targets = CONF_REFUSE;
    s->conf.lookalike_hosts = CONF_REFUSE;
    write_file(s->path, "bad.example\n");
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *why = refusal(s, cases[i].url);
        if (cases[i].why[0] == '\0' ? why[0] != '\0'
                                    : strstr(why, cases[i].why) == NULL)
            fail_msg("%s: %s", cases[i].url, why);
    }
    static char https[] = "https";
    s->conf.url_schemes = https;
    assert_string_equal(refusal(s, "http://good.example/"),
                        "has a scheme that is not allowed here");
    assert_string_equal(refusal(s, "https://good.example/"), "");
}

TEST(everything_is_allowed_where_nothing_is_configured)
{
    struct site *s = *state;
    s->conf.blocked_hosts = NULL;
    assert_string_equal(refusal(s, "http://127.1/"), "");
    assert_string_equal(refusal(s, "http://bit.ly/"), "");
    assert_string_equal(refusal(s, "http://p\u0430ypal.com/"), "");
}

TEST(only_allowed_hosts)
{
    struct site *s = *state;
    s->conf.allowed_hosts = s->path;
    s->conf.blocked_hosts = NULL;
    write_file(s->path, "good.example\n");
    assert_string_equal(refusal(s, "http://good.example/"), "");
    assert_string_equal(refusal(s, "http://a.good.example/"), "");
    assert_non_null(strstr(refusal(s, "http://bad.example/"), "allowed hosts"));
    assert_string_equal(refusal(s, "mailto:x@bad.example"), "");
}

TEST(a_look_alike_gets_a_warning)
{
    struct site *s = *state;
    struct buf out;
    struct link link;
    const char *reason = NULL, *url = "http://p\u0430ypal.com/";
    s->conf.blocked_hosts = NULL;
    s->conf.lookalike_hosts = CONF_WARN;
    link_init(&link);
    buf_init(&out, URL_MAX);
    assert_int_equal(targets_accept(&s->conf, s->lists, NULL, url, strlen(url),
                                    &out, &link, &reason),
                     RESULT_OK);
    assert_true(link.rules.warning);
    assert_non_null(strstr(link.reason, "xn--pypal-4ve.com"));
    buf_free(&out);
    link_free(&link);
}

TEST(a_create_without_its_list_is_503)
{
    void *fixture = NULL;
    assert_int_equal(app_set_up(&fixture), 0);
    struct fixture *f = fixture;
    struct site *s = *state;
    f->conf.runtime_dir = s->dir;
    f->conf.blocked_hosts = s->path;
    assert_int_equal(app_post(f, "{\"long_url\":\"http://a.example/\"}"), 503);
    assert_int_equal(f->store.creates, 0);
    write_file(s->path, "a.example\n");
    f->app.hosts[0].look_ms = f->app.hosts[0].retry_ms = 0;
    assert_int_equal(app_post(f, "{\"long_url\":\"http://a.example/\"}"), 400);
    app_assert_problem(f, "The long_url leads to a blocked host.");
    assert_int_equal(app_post(f, "{\"long_url\":\"http://b.example/\"}"), 200);
    hostlist_close_all(f->app.hosts);
    app_tear_down(&fixture);
}
