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

/* The id behind APP_URL's path, or NULL where the path cannot be a link. */
static const char *find_short_id(const struct url_app *app,
                                 const struct http_request *req)
{
    if (req->path_len <= app->path_len ||
        memcmp(req->path, app->path, app->path_len) != 0)
        return NULL;
    const char *id = req->path + app->path_len;
    return ids_valid(id, req->path_len - app->path_len) ? id : NULL;
}

void router_dispatch(struct app *app, const struct http_request *req,
                     struct http_response *res)
{
    const struct route *route = find_route(req);
    if (route != NULL) {
        if (req->method == route->method)
            route->handle(app, req, res);
        else
            answer_405(req, route->allow, res);
        return;
    }
    const char *short_id = find_short_id(&app->conf->app, req);
    if (short_id == NULL)
        http_problem(res, req, 404, "There is no such link.");
    else if (req->method == HTTP_GET || req->method == HTTP_HEAD)
        h_redirect(app, req, short_id, res);
    else
        answer_405(req, "GET, HEAD", res);
}
