/* body_read(): the first byte chooses the media type, the rest is the body. */
#include <string.h>

#include "base/mem.h"
#include "fuzz.h"
#include "http/body.h"

static const char *const types[] = {
    NULL,
    "application/json",
    "application/x-www-form-urlencoded",
    "text/plain",
    "application/vnd.api+json; charset=utf-8",
    "text/html",
    "",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *body = mem_dup_bytes((const char *)data + 1, size - 1);
    const char *type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    const struct http_request req = {
        .body = body, .body_len = size - 1, .content_type = type};
    struct buf url;
    const char *detail = NULL;
    buf_init(&url, req.body_len);
    int r = body_read(&req, &url, &detail);
    MUST(!buf_failed(&url));
    if (r == 0) {
        /* Nothing that decodes grows. */
        MUST(url.len <= req.body_len);
        MUST(type == NULL || strcmp(type, "text/html") != 0);
    } else {
        MUST(url.len == 0 || r == 400);
        MUST(detail != NULL && detail[0] != '\0');
        MUST((r == 415) <= (type != NULL && type[0] == 't'));
    }
    buf_free(&url);
    free(body);
    return 0;
}
