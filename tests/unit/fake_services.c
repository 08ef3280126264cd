#include "fake_services.h"

#include "aws/sts.h"
#include "base/clock.h"
#include "base/mem.h"
#include "test.h"

/* ---- The network's ends -------------------------------------------------- */

struct buf service_requests;
enum result service_result;

static const char *shown(const char *s)
{
    return s != NULL ? s : "-";
}

static enum result give(struct aws_found *out, const char *name,
                        struct buf *reason)
{
    if (service_result != RESULT_OK) {
        buf_addf(reason, "%s refuses", name);
        return service_result;
    }
    const struct aws_keys keys = {"id-given", "secret-given", "token-given"};
    return aws_found_take(out, &keys, 4102444800, name, reason);
}

enum result aws_sts_assume_role(const struct aws_source_request *request,
                                const struct aws_sts_role *role,
                                const struct aws_keys *keys,
                                struct aws_found *out, struct buf *reason)
{
    assert_non_null(request->conf);
    buf_addf(&service_requests,
             "%s %s session=%s external=%s region=%s duration=%s ",
             role->token != NULL ? "web" : "assume", role->arn,
             shown(role->session), shown(role->external_id),
             shown(role->region), shown(role->duration));
    if (role->token != NULL)
        buf_addf(&service_requests, "token=%s\n", role->token);
    else
        buf_addf(&service_requests, "keys=%s,%s,%s\n", keys->id, keys->secret,
                 shown(keys->token));
    return give(out, "STS", reason);
}

aws_source __wrap_aws_source_container;
aws_source __wrap_aws_source_instance;

enum result
__wrap_aws_source_container(const struct aws_source_request *request,
                            struct aws_found *out, struct buf *reason)
{
    assert_non_null(request->conf);
    buf_add_str(&service_requests, "container\n");
    return give(out, "container", reason);
}

enum result __wrap_aws_source_instance(const struct aws_source_request *request,
                                       struct aws_found *out,
                                       struct buf *reason)
{
    assert_non_null(request->conf);
    buf_add_str(&service_requests, "instance\n");
    return give(out, "instance", reason);
}

/* ---- Asking -------------------------------------------------------------- */

int services_set_up(void **state)
{
    static struct aws_files f;
    *state = &f;
    service_result = RESULT_OK;
    buf_init(&service_requests, 8192);
    return aws_files_make(&f);
}

int services_tear_down(void **state)
{
    buf_free(&service_requests);
    return aws_files_remove(*state);
}

enum result query_profile(struct aws_files *f, const char *profile,
                          const char *config, const char *credentials,
                          struct aws_found *found)
{
    const struct aws_source_request request = {
        .conf = &f->conf, .deadline = clock_monotonic_ms() + 10000};
    aws_files_set(f, config, credentials);
    f->conf.aws_profile = mem_dup(profile);
    buf_reset(&service_requests);
    memset(found, 0x55, sizeof(*found));
    enum result r = aws_source_profile(&request, found, &f->reason);
    free(f->conf.aws_profile);
    f->conf.aws_profile = NULL;
    return r;
}

void assert_credentials(struct aws_files *f, const struct profile_case *c)
{
    struct aws_found found;
    if (query_profile(f, c->profile, c->config, c->credentials, &found) !=
        RESULT_OK)
        fail_msg("%s", f->reason.data);
    assert_int_equal(f->reason.len, 0);
    char *id = mem_printf("id-%s", c->name);
    char *secret = mem_printf("secret-%s", c->name);
    assert_string_equal(found.id, id);
    assert_string_equal(found.secret, secret);
    assert_string_equal(service_requests.data, c->asked);
    buf_add_str(&f->reason, found.where);
    aws_files_assert_reason(f, c->where);
    aws_found_free(&found);
    free(id);
    free(secret);
}

void assert_no_credentials(struct aws_files *f, const char *profile,
                           const char *config, const char *credentials,
                           enum result result, const char *reason)
{
    static const struct aws_found empty;
    struct aws_found found;
    enum result r = query_profile(f, profile, config, credentials, &found);
    if (r != result)
        fail_msg("%s: %s", result_text(r), f->reason.data);
    aws_files_assert_reason(f, reason);
    assert_memory_equal(&found, &empty, sizeof(empty));
}
