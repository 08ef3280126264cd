#include <stdio.h>
#include <string.h>

#include "http/handlers.h"
#include "link/url.h"

void h_home(struct app *app, const struct http_request *req,
            struct http_response *res)
{
    static const struct page_value no_values[] = {{NULL, NULL}};
    const char *home = app->conf->home;
    if (strcmp(home, "page") == 0) {
        http_page(res, req, 200, "home.html", no_values);
    } else if (strcmp(home, "off") == 0) {
        http_problem(res, req, 404, "There is nothing at this address.");
    } else {
        http_begin(res, req, 302);
        http_field(res, "Location", home);
        http_field(res, "Cache-Control", "private, max-age=90");
        http_end(res, "text/plain; charset=utf-8");
    }
}

/* Pages name these files with their version: that URL never changes its
 * contents, so caches may keep it for a year. */
void h_file(struct app *app, const struct http_request *req,
            struct http_response *res)
{
    static const struct {
        const char *name;
        const char *type;
    } types[] = {
        {"style.css", "text/css; charset=utf-8"},
        {"page.js", "text/javascript; charset=utf-8"},
        {"icon.svg", "image/svg+xml"},
        {"favicon.ico", "image/x-icon"},
    };
    char etag[16], version[16];
    const char *const slash = memrchr(req->path, '/', req->path_len);
    size_t i = 0;
    while (strcmp(slash + 1, types[i].name) != 0)
        i++;
    const struct page_file *file = page_file(types[i].name);
    const uint32_t number = page_version(app->conf);
    snprintf(etag, sizeof(etag), "\"%08x\"", number);
    snprintf(version, sizeof(version), "v=%08x", number);
    const bool current = req->query_len == strlen(version) &&
                         memcmp(req->query, version, req->query_len) == 0;
    if (!http_begin_cached(res, req, etag,
                           current ? "public, max-age=31536000, immutable"
                                   : "public, max-age=3600"))
        return;
    if (i == 0)
        page_add_style(&res->body, app->conf);
    else
        buf_add(&res->body, file->data, file->size);
    http_end(res, types[i].type);
}

/* Robots may follow links: the site that one leads to has its own rules. */
void h_robots(struct app *app, const struct http_request *req,
              struct http_response *res)
{
    http_begin(res, req, 200);
    http_field(res, "Cache-Control", "public, max-age=86400");
    const char *prefix = url_path(app->conf->app_url);
    buf_addf(&res->body,
             "User-agent: *\nDisallow: /create\nDisallow: %s*+$\n"
             "Disallow: %s*.qr\n",
             prefix, prefix);
    http_end(res, "text/plain; charset=utf-8");
}
