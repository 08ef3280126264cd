#include "aws_recorder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "aws_sts.h"
#include "clock.h"
#include "mem.h"

/* ---- The network's ends -------------------------------------------------- */

struct buf recorder_asked;
enum result recorder_answer;

static const char *shown(const char *s)
{
    return s != NULL ? s : "-";
}

static enum result give(struct aws_found *out, const char *name,
                        struct buf *reason)
{
    if (recorder_answer != RESULT_OK) {
        buf_addf(reason, "%s refuses", name);
        return recorder_answer;
    }
    const struct aws_keys keys = {"id-given", "secret-given", "token-given"};
    return aws_found_take(out, &keys, 4102444800, name, reason);
}

static void record_role(const char *action, const struct aws_sts_role *role)
{
    buf_addf(&recorder_asked,
             "%s %s session=%s external=%s region=%s duration=%s ", action,
             role->arn, shown(role->session), shown(role->external_id),
             shown(role->region), shown(role->duration));
}

enum result aws_sts_web_identity(const struct aws_source_request *request,
                                 const struct aws_sts_role *role,
                                 const char *token, struct aws_found *out,
                                 struct buf *reason)
{
    assert_non_null(request->conf);
    record_role("web", role);
    buf_addf(&recorder_asked, "token=%s\n", token);
    return give(out, "STS", reason);
}

enum result aws_sts_assume_role(const struct aws_source_request *request,
                                const struct aws_sts_role *role,
                                const struct aws_keys *keys,
                                struct aws_found *out, struct buf *reason)
{
    assert_non_null(request->conf);
    record_role("assume", role);
    buf_addf(&recorder_asked, "keys=%s,%s,%s\n", keys->id, keys->secret,
             shown(keys->token));
    return give(out, "STS", reason);
}

enum result aws_source_container(const struct aws_source_request *request,
                                 struct aws_found *out, struct buf *reason)
{
    assert_non_null(request->conf);
    buf_add_str(&recorder_asked, "container\n");
    return give(out, "container", reason);
}

enum result aws_source_instance(const struct aws_source_request *request,
                                struct aws_found *out, struct buf *reason)
{
    assert_non_null(request->conf);
    buf_add_str(&recorder_asked, "instance\n");
    return give(out, "instance", reason);
}

/* ---- Asking -------------------------------------------------------------- */

int recorder_set_up(void **state)
{
    static struct aws_files f;
    *state = &f;
    recorder_answer = RESULT_OK;
    buf_init(&recorder_asked, 8192);
    return aws_files_make(&f);
}

int recorder_tear_down(void **state)
{
    buf_free(&recorder_asked);
    return aws_files_remove(*state);
}

enum result recorder_ask(struct aws_files *f, const char *profile,
                         const char *config, const char *credentials,
                         struct aws_found *found)
{
    const struct aws_source_request request = {
        .conf = &f->conf, .deadline = clock_monotonic_ms() + 10000};
    aws_files_set(f, config, credentials);
    f->conf.aws_profile = mem_dup(profile);
    buf_reset(&recorder_asked);
    memset(found, 0x55, sizeof(*found));
    enum result r = aws_source_profile(&request, found, &f->reason);
    free(f->conf.aws_profile);
    f->conf.aws_profile = NULL;
    return r;
}

void recorder_check_good(struct aws_files *f, const struct recorder_case *c)
{
    struct aws_found found;
    if (recorder_ask(f, c->profile, c->config, c->credentials, &found) !=
        RESULT_OK)
        fail_msg("%s", f->reason.data);
    assert_int_equal(f->reason.len, 0);
    char *id = mem_printf("id-%s", c->name);
    char *secret = mem_printf("secret-%s", c->name);
    assert_string_equal(found.id, id);
    assert_string_equal(found.secret, secret);
    assert_string_equal(recorder_asked.data, c->asked);
    buf_add_str(&f->reason, found.where);
    aws_files_assert_reason(f, c->where);
    aws_found_free(&found);
    free(id);
    free(secret);
}

void recorder_check_bad(struct aws_files *f, const char *profile,
                        const char *config, const char *credentials,
                        enum result result, const char *reason)
{
    static const struct aws_found empty;
    struct aws_found found;
    enum result r = recorder_ask(f, profile, config, credentials, &found);
    if (r != result)
        fail_msg("%s: %s", result_text(r), f->reason.data);
    aws_files_assert_reason(f, reason);
    assert_memory_equal(&found, &empty, sizeof(empty));
}
