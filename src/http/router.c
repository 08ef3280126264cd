#include "http/router.h"

#include <string.h>

#include "http/admit.h"
#include "link/ids.h"

/* path: a whole path, or, without a '/', what follows the path of APP_URL. None
 * of them is an id: ids.c reserves the words, and no id has a '.'. */
struct route {
    const char *path;
    enum http_method method;
    void (*handle)(struct app *app, const struct http_request *req,
                   struct http_response *res);
};

static const struct route routes[] = {
    {"/create", HTTP_POST, h_create},
    {"/", HTTP_GET, h_home},
    {"/robots.txt", HTTP_GET, h_robots},
    {"/favicon.ico", HTTP_GET, h_file},
    {"", HTTP_GET, h_home},
    {"style.css", HTTP_GET, h_file},
    {"page.js", HTTP_GET, h_file},
    {"icon.svg", HTTP_GET, h_file},
};

/* What may follow an id. */
static const struct suffix {
    const char *text;
    void (*handle)(struct app *app, const struct http_request *req,
                   const char *short_id, struct http_response *res);
} suffixes[] = {
    {"+", h_preview},
    {".qr", h_qr},
};

/* *rest: what follows the path of APP_URL. False: the path does not begin with
 * it. */
static bool strip_prefix(const struct url_app *app,
                         const struct http_request *req, const char **rest,
                         size_t *len)
{
    if (req->path_len < app->path_len ||
        memcmp(req->path, app->path, app->path_len) != 0)
        return false;
    *rest = req->path + app->path_len;
    *len = req->path_len - app->path_len;
    return true;
}

static bool equals_text(const char *s, size_t len, const char *text)
{
    return len == strlen(text) && memcmp(s, text, len) == 0;
}

static const struct route *find_route(const struct url_app *app,
                                      const struct http_request *req)
{
    const char *rest = "";
    size_t len = 0;
    const bool inside = strip_prefix(app, req, &rest, &len);
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const char *path = routes[i].path;
        if (path[0] == '/' ? equals_text(req->path, req->path_len, path)
                           : inside && equals_text(rest, len, path))
            return &routes[i];
    }
    return NULL;
}

bool router_takes_body(const struct http_request *req)
{
    return req->method == HTTP_POST &&
           equals_text(req->path, req->path_len, "/create");
}

/* Without what sentences and chat programs leave after a link: some
 * punctuation, a space, U+200B. */
static size_t trim_id(const char *s, size_t len)
{
    for (;;) {
        if (len > 0 && s[len - 1] != '\0' &&
            strchr("/.,;:!)]}>\"' ", s[len - 1]) != NULL)
            len--;
        else if (len >= 3 && memcmp(s + len - 3, "\xe2\x80\x8b", 3) == 0)
            len -= 3;
        else
            return len;
    }
}

/* Reads the id that follows APP_URL's path, and the suffix after the id: NULL
 * without one. False: the path is not that of a link. */
static bool read_short_id(const struct conf *conf,
                          const struct http_request *req, char id[IDS_MAX + 1],
                          const struct suffix **suffix)
{
    const char *s;
    size_t len;
    *suffix = NULL;
    if (!strip_prefix(&conf->app, req, &s, &len))
        return false;
    len = trim_id(s, len);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        const size_t n = strlen(suffixes[i].text);
        if (len > n && memcmp(s + len - n, suffixes[i].text, n) == 0) {
            *suffix = &suffixes[i];
            len -= n;
            break;
        }
    }
    if (!ids_valid(s, len))
        return false;
    memcpy(id, s, len);
    id[len] = '\0';
    return !conf->case_insensitive || ids_lower(id);
}

void router_dispatch(struct app *app, const struct http_request *req,
                     struct http_response *res)
{
    char short_id[IDS_MAX + 1];
    const struct suffix *suffix;
    const struct route *route = NULL;
    const bool link = read_short_id(app->conf, req, short_id, &suffix);
    if (!link)
        route = find_route(&app->conf->app, req);
    if (!link && route == NULL) {
        http_problem(res, req, 404, "There is no such link.");
        return;
    }
    const enum http_method wanted = link ? HTTP_GET : route->method;
    if (req->method != wanted &&
        !(wanted == HTTP_GET && req->method == HTTP_HEAD)) {
        if (!link && route->handle == h_create && req->origin != NULL &&
            strcmp(req->method_name, "OPTIONS") == 0) {
            admit_preflight(app->conf, req, res);
            return;
        }
        http_problem(res, req, 405, "This address does not allow that method.");
        http_field(res, "Allow", wanted == HTTP_POST ? "POST" : "GET, HEAD");
    } else if (!link) {
        route->handle(app, req, res);
    } else if (suffix != NULL) {
        suffix->handle(app, req, short_id, res);
    } else {
        h_redirect(app, req, short_id, res);
    }
}
