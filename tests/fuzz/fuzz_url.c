/* url_normalise() and what is made of its result; url_app_parse(). */
#include <json-c/json.h>
#include <string.h>

#include "base/mem.h"
#include "base/percent.h"
#include "fuzz.h"
#include "link/link.h"
#include "link/url.h"

static void check_text(const struct buf *url)
{
    MUST(!buf_failed(url));
    MUST(url->len <= URL_MAX);
    MUST(strlen(url->data) == url->len);
    for (size_t i = 0; i < url->len; i++)
        MUST(url->data[i] > 0x20 && url->data[i] < 0x7f);
    const char *host = strstr(url->data, "://");
    MUST(host != NULL);
    host += 3;
    size_t len = strcspn(host, "/?#");
    MUST(len > 0 && host[len] == '/');
    MUST(memchr(host, '@', len) == NULL);
    MUST(memchr(host, '%', len) == NULL);
    for (size_t i = 0; i < len; i++)
        MUST(!(host[i] >= 'A' && host[i] <= 'Z'));
    /* Path and query are valid (RFC 3986). */
    for (const char *c = host + len; *c != '\0' && *c != '#'; c++)
        MUST(*c == '%' ? percent_is_encoded(c, strlen(c))
                       : strchr("\"<>[\\]^`{|}", *c) == NULL);
}

/* What is stored is what a second look would store. */
static void check_repetition(const struct buf *url)
{
    struct buf again;
    const char *reason = NULL;
    buf_init(&again, URL_MAX);
    MUST(url_normalise(NULL, url->data, url->len, NULL, &again, &reason) ==
         RESULT_OK);
    if (strcmp(again.data, url->data) != 0)
        fprintf(stderr, "%s\n%s\n", url->data, again.data);
    MUST(strcmp(again.data, url->data) == 0);
    buf_free(&again);
}

/* Every URL leads back to a curt that is served at the root of its host. */
static void check_loop(const struct buf *url)
{
    struct url_app app;
    const char *reason = NULL;
    size_t origin = (size_t)(strstr(url->data, "://") + 3 - url->data);
    origin += strcspn(url->data + origin, "/");
    char *app_url = mem_printf("%.*s/", (int)origin, url->data);
    if (url_app_parse(app_url, &app, &reason) == RESULT_OK) {
        MUST(app.path_len == 1 && strcmp(app.path, "/") == 0);
        MUST(url_app_rest(url->data, &app, NULL));
        MUST(url_app_rest(app_url, &app, NULL));
        url_app_free(&app);
    } else {
        MUST(origin > 900); /* nothing but its length is wrong */
    }
    free(app_url);
}

static void check_analytics(const struct buf *url)
{
    char *text = link_analytics(url->data, &(struct link_client){0});
    json_object *map = json_tokener_parse(text);
    MUST(json_object_is_type(map, json_type_object));
    MUST(json_object_object_length(map) >= 3);
    json_object *agent = map;
    MUST(json_object_object_get_ex(map, "user_agent", &agent));
    MUST(agent == NULL);
    json_object_put(map);
    free(text);
}

static void check_app(const uint8_t *data, size_t size)
{
    struct url_app app;
    const char *reason = NULL;
    char *text = mem_dup_bytes((const char *)data, size);
    if (url_app_parse(text, &app, &reason) == RESULT_OK) {
        MUST(text[strlen(text) - 1] == '/');
        MUST(app.path[0] == '/' && app.path[app.path_len - 1] == '/');
        char *link = mem_printf("%sp7ISNcD", text);
        MUST(url_app_rest(link, &app, NULL));
        free(link);
    } else {
        MUST(reason != NULL);
    }
    url_app_free(&app);
    free(text);
}

/* URLs of other schemes. */
static void check_other(const uint8_t *data, size_t size)
{
    static const char schemes[] = "mailto tel app+x javascript";
    struct buf url, again;
    const char *reason = NULL;
    buf_init(&url, URL_MAX);
    buf_init(&again, URL_MAX);
    if (url_normalise(schemes, (const char *)data, size, NULL, &url, &reason) ==
        RESULT_OK) {
        for (size_t i = 0; i < url.len; i++)
            MUST(url.data[i] > 0x20 && url.data[i] < 0x7f);
        MUST(strncmp(url.data, "javascript", 10) != 0);
        MUST(url_normalise(schemes, url.data, url.len, NULL, &again, &reason) ==
             RESULT_OK);
        MUST(strcmp(again.data, url.data) == 0);
        size_t len;
        const char *host = url_host(url.data, &len);
        MUST(host > url.data && host + len <= url.data + url.len);
    } else {
        MUST(reason != NULL);
    }
    buf_free(&url);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf url;
    const char *reason = NULL;
    buf_init(&url, URL_MAX);
    if (url_normalise(NULL, (const char *)data, size, NULL, &url, &reason) ==
        RESULT_OK) {
        check_text(&url);
        check_repetition(&url);
        check_loop(&url);
        check_analytics(&url);
    } else {
        MUST(reason != NULL);
    }
    buf_free(&url);
    check_app(data, size);
    check_other(data, size);
    return 0;
}
