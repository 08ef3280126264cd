#include <stdio.h>

#include "base/percent.h"
#include "base/text.h"
#include "http/handlers.h"
#include "link/ids.h"
#include "link/qr.h"

/* What qr_set() accepts is shorter than the arrays, and only letters and
 * digits, which forms do not percent-encode. False: options->fault is set. */
static bool read_parameters(const struct http_request *req,
                            struct qr_options *options)
{
    char name[32], value[32];
    const char *query = req->query;
    size_t left = req->query_len;
    struct percent_pair pair;
    while (percent_next_pair(&query, &left, &pair)) {
        snprintf(name, sizeof(name), "%.*s", (int)pair.name_len, pair.name);
        snprintf(value, sizeof(value), "%.*s", (int)pair.value_len,
                 pair.value != NULL ? pair.value : "");
        if (!qr_set(options, name, value))
            return false;
    }
    return true;
}

void h_qr(struct app *app, const struct http_request *req, const char *short_id,
          struct http_response *res)
{
    struct cache_entry link;
    struct qr_options o = {QR_DEFAULTS};
    char etag[IDS_MAX + 80], detail[sizeof(o.fault) + 16];
    const char *app_url = app->conf->app_url;
    if (read_parameters(req, &o)) {
        if (!h_find_link(app, req, short_id, "QR code", &link, res))
            return;
        /* All that the image depends on. Caches may keep it for an hour: it has
         * the short URL only, and stays right when the link is deleted. */
        snprintf(etag, sizeof(etag), "\"%s-%u-%u-%u-%u-%llx-%s\"", CURT_VERSION,
                 o.format, o.level, o.margin, o.size,
                 (unsigned long long)text_hash(app_url), short_id);
        if (http_begin_cached(res, req, etag, "public, max-age=3600") &&
            qr_add(&res->body, app_url, short_id, &o))
            http_end(res, o.format == QR_PNG ? "image/png" : "image/svg+xml");
    }
    if (o.fault[0] != '\0') {
        snprintf(detail, sizeof(detail), "The parameter %s.", o.fault);
        http_problem(res, req, 400, detail);
    }
}
