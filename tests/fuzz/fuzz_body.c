/* body_read() and create_read(): the first byte chooses the media type, the
 * rest is the body. */
#include <json-c/json.h>
#include <string.h>

#include "base/json.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "fuzz.h"
#include "http/body.h"
#include "service/create.h"

static const char *const types[] = {
    NULL,
    "application/json",
    "application/x-www-form-urlencoded",
    "text/plain",
    "application/vnd.api+json; charset=utf-8",
    "text/html",
    "",
};

/* What was read of one link keeps the limits of link.h. */
static void read_link(json_object *members, size_t body_len)
{
    struct create_request r = {.result = RESULT_OK};
    const struct link *l = &r.link;
    json_object *tags = NULL;
    link_init(&r.link);
    create_read(members, &r);
    MUST((r.result == RESULT_OK) == (r.reason == NULL));
    MUST(r.result == RESULT_OK || r.member != NULL);
    if (r.result == RESULT_OK) {
        /* Nothing that decodes grows. */
        MUST(r.url_len <= body_len);
        MUST(l->short_id == NULL || strlen(l->short_id) <= 64);
        MUST(l->ttl > 0 && (l->ttl == LINK_NEVER || r.ttl_given));
        MUST(l->rules.max_hits <= CREATE_HITS_MAX);
        MUST(l->rules.not_before <= CREATE_TIME_MAX);
        MUST(l->title == NULL || (strlen(l->title) <= LINK_TITLE_MAX &&
                                  utf8_ok(l->title, strlen(l->title))));
        MUST(l->key == NULL && l->reason == NULL && !l->rules.disabled);
    }
    if (l->tags != NULL) {
        MUST(json_parse(l->tags, strlen(l->tags), JSON_LEVELS, &tags) ==
             RESULT_OK);
        MUST(json_object_array_length(tags) <= LINK_TAGS_MAX);
    }
    json_object_put(tags);
    link_free(&r.link);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *body = mem_dup_bytes((const char *)data + 1, size - 1);
    const char *type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    const struct http_request req = {
        .body = body, .body_len = size - 1, .content_type = type};
    char detail[BODY_DETAIL_SIZE] = "";
    json_object *members = NULL;
    const int status = body_read(&req, &members, detail);
    MUST((status == 0) == (members != NULL));
    if (status == 0) {
        MUST(type == NULL || strcmp(type, "text/html") != 0);
        const bool is_array = json_object_is_type(members, json_type_array);
        const size_t count = is_array ? json_object_array_length(members) : 1;
        MUST(count >= 1 && count <= STORE_MANY_MAX);
        for (size_t i = 0; i < count; i++)
            read_link(is_array ? json_object_array_get_idx(members, i)
                               : members,
                      req.body_len);
    } else {
        MUST(status == 400 || status == 415);
        MUST(detail[0] != '\0');
        MUST((status == 415) <= (type != NULL && type[0] == 't'));
    }
    json_object_put(members);
    free(body);
    return 0;
}
