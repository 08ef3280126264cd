#include "router.h"

#include <string.h>

#include "ids.h"

/* Routes with a path of their own. Their first segments are no ids (ids.c). */
static const struct route {
    const char *path;
    enum http_method method;
    const char *allow;
    void (*handle)(struct app *app, const struct http_request *req,
                   struct http_response *res);
} routes[] = {
    {"/create", HTTP_POST, "POST", h_create},
};

static void answer_405(const struct http_request *req, const char *allow,
                       struct http_response *res)
{
    http_problem(res, req, 405, "This address does not know that method.");
    http_field(res, "Allow", allow);
}

static const struct route *find_route(const struct http_request *req)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (strlen(routes[i].path) == req->path_len &&
            memcmp(routes[i].path, req->path, req->path_len) == 0)
            return &routes[i];
    return NULL;
}

bool router_takes_body(const struct http_request *req)
{
    const struct route *route = find_route(req);
    return route != NULL && req->method == route->method;
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

/* Reads the id that follows APP_URL's path. False: the path cannot be a link.
 */
static bool read_short_id(const struct url_app *app,
                          const struct http_request *req, char id[IDS_MAX + 1])
{
    if (req->path_len <= app->path_len ||
        memcmp(req->path, app->path, app->path_len) != 0)
        return false;
    const char *s = req->path + app->path_len;
    const size_t len = trim_id(s, req->path_len - app->path_len);
    if (!ids_valid(s, len))
        return false;
    memcpy(id, s, len);
    id[len] = '\0';
    return true;
}

void router_dispatch(struct app *app, const struct http_request *req,
                     struct http_response *res)
{
    char short_id[IDS_MAX + 1];
    const struct route *route = find_route(req);
    if (route != NULL) {
        if (req->method == route->method)
            route->handle(app, req, res);
        else
            answer_405(req, route->allow, res);
    } else if (!read_short_id(&app->conf->app, req, short_id)) {
        http_problem(res, req, 404, "There is no such link.");
    } else if (req->method == HTTP_GET || req->method == HTTP_HEAD) {
        h_redirect(app, req, short_id, res);
    } else {
        answer_405(req, "GET, HEAD", res);
    }
}
