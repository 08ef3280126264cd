#include "app_fixture.h"

#include <fcntl.h>

#include "base/mem.h"
#include "base/percent.h"
#include "http/router.h"
#include "test.h"

static enum result fake_get(struct store *s, const char *short_id,
                            enum store_view view, struct link *out)
{
    struct fake_store *t = (struct fake_store *)s;
    (void)view;
    t->gets++;
    snprintf(t->asked, sizeof(t->asked), "%s", short_id);
    if (t->get_result != RESULT_OK)
        return store_fail(s, t->get_result, "as \"told\"\n");
    link_set(&out->short_id, short_id);
    link_set(&out->short_url, "https://sho.rt/t/found");
    link_set(&out->long_url, t->long_url);
    if (t->ttl != LINK_NEVER)
        link_set_ttl(out, t->ttl);
    link_set(&out->created_at, t->created_at);
    link_set(&out->reason, t->reason);
    out->rules = t->rules;
    out->hits = t->link_hits;
    return RESULT_OK;
}

static enum result fake_add_hits(struct store *s, const char *short_id,
                                 uint64_t n, const struct store_flush *flush)
{
    struct fake_store *t = (struct fake_store *)s;
    assert_null(flush);
    assert_string_equal(short_id, t->asked);
    assert_int_equal(n, 1);
    t->hits++;
    return t->hit_result;
}

static enum result fake_spend_hit(struct store *s, const char *short_id)
{
    struct fake_store *t = (struct fake_store *)s;
    assert_string_equal(short_id, t->asked);
    t->spent++;
    return t->spend_result;
}

static enum result fake_settle(struct store *s)
{
    struct fake_store *t = (struct fake_store *)s;
    assert_int_not_equal(t->gets, 0);
    t->settled++;
    return t->settle_result;
}

static enum result fake_create(struct store *s, const struct link *l)
{
    struct fake_store *t = (struct fake_store *)s;
    assert_in_range(t->creates, 0, CREATE_DRAWS - 1);
    snprintf(t->drawn[t->creates], sizeof(t->drawn[0]), "%s", l->short_id);
    t->creates++;
    link_set(&t->stored.short_id, l->short_id);
    link_set(&t->stored.long_url, l->long_url);
    link_set(&t->stored.short_url, l->short_url);
    link_set(&t->stored.created_at, l->created_at);
    link_set(&t->stored.analytics, l->analytics);
    link_set(&t->stored.title, l->title);
    link_set(&t->stored.tags, l->tags);
    link_set(&t->stored.key, l->key);
    t->stored.rules = l->rules;
    t->stored.ttl = l->ttl;
    t->stored.hits = l->hits;
    return t->creates <= t->create_conflicts ? RESULT_CONFLICT
                                             : t->create_result;
}

static const struct store_ops fake_ops = {
    .name = "told",
    .create = fake_create,
    .get = fake_get,
    .add_hits = fake_add_hits,
    .spend_hit = fake_spend_hit,
    .settle = fake_settle,
};

void app_serve_at(struct fixture *f, const char *app_url)
{
    const char *reason;
    url_app_free(&f->conf.app);
    free(f->conf.app_url);
    f->conf.app_url = mem_dup(app_url);
    assert_int_equal(url_app_parse(app_url, &f->conf.app, &reason), RESULT_OK);
}

int app_set_up(void **state)
{
    static struct fixture f;
    static char home[] = "page";
    f = (struct fixture){
        .conf = {.min_char = 7,
                 .max_char = 7,
                 .max_body = 65536,
                 .store_timeout = 3,
                 .create_auth = CONF_AUTH_OPEN,
                 .home = home},
        .store = {.base = {.ops = &fake_ops},
                  .long_url = "https://example.com/",
                  .ttl = LINK_NEVER},
    };
    f.conf.link_ttl = 604800;
    f.store.base.conf = &f.conf;
    f.app = (struct app){.conf = &f.conf, .store = &f.store.base};
    buf_init(&f.store.base.error, 100);
    link_init(&f.store.stored);
    http_response_init(&f.res, &f.conf);
    buf_init(&f.path, 1000);
    app_serve_at(&f, "https://sho.rt/t/");
    *state = &f;
    return 0;
}

int app_tear_down(void **state)
{
    struct fixture *f = *state;
    buf_free(&f->store.base.error);
    link_free(&f->store.stored);
    http_response_free(&f->res);
    buf_free(&f->path);
    url_app_free(&f->conf.app);
    free(f->conf.app_url);
    return 0;
}

/* Asserts what every answer has: one head, well formed, and its length. */
static void check_answer(const struct http_response *res)
{
    char length[40];
    assert_false(buf_failed(&res->head));
    assert_false(buf_failed(&res->body));
    assert_int_equal(strlen(res->head.data), res->head.len);
    for (const char *s = res->head.data; *s != '\0';) {
        size_t len = strcspn(s, "\r\n");
        assert_memory_equal(s + len, "\r\n", 2);
        assert_true(memchr(s, ':', len) != NULL);
        s += len + 2;
    }
    snprintf(length, sizeof(length), "\r\nContent-Length: %zu\r\n",
             res->body.len);
    if (res->status == 304 || res->status == 204)
        assert_int_equal(res->body.len, 0);
    else
        assert_non_null(strstr(res->head.data, length));
    assert_memory_equal(res->head.data, "X-Amzn-Trace-Id: Root=1-2-3\r\n", 29);
}

int app_request(struct fixture *f, const char *method, const char *path)
{
    static const char *const names[] = {
        [HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_POST] = "POST"};
    f->req.method = HTTP_OTHER;
    for (size_t i = 0; i < COUNT(names); i++)
        if (strcmp(names[i], method) == 0)
            f->req.method = (enum http_method)i;
    buf_reset(&f->path);
    percent_decode(&f->path, path, strcspn(path, "?"));
    f->req.method_name = method;
    f->req.uri = path;
    const char *query = strchr(path, '?');
    f->req.query = query != NULL ? query + 1 : "";
    f->req.query_len = strlen(f->req.query);
    f->req.path = f->path.data;
    f->req.path_len = f->path.len;
    if (f->req.body == NULL)
        f->req.body = "";
    snprintf(f->req.trace_id, sizeof(f->req.trace_id), "Root=1-2-3");

    log_set_level(LOG_LEVEL_ERROR);
    start_capture();
    router_dispatch(&f->app, &f->req, &f->res);
    end_capture(NULL, 0);
    check_answer(&f->res);
    return f->res.status;
}

int app_post(struct fixture *f, const char *body)
{
    f->req.body = body;
    f->req.body_len = strlen(body);
    return app_request(f, "POST", "/create");
}

bool app_has_field(const struct fixture *f, const char *line)
{
    char *whole = mem_printf("\r\n%s\r\n", line);
    bool found = strstr(f->res.head.data, whole) != NULL;
    free(whole);
    return found;
}

void app_assert_problem(const struct fixture *f, const char *text)
{
    assert_true(app_has_field(f, "Content-Type: application/problem+json"));
    assert_non_null(strstr(f->res.body.data, text));
    assert_false(strstr(f->res.head.data, "Location") != NULL);
}
