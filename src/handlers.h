/*
 * What a worker does with a request. One file per handler (h_*.c); the router
 * chooses it.
 */
#ifndef CURT_HANDLERS_H
#define CURT_HANDLERS_H

#include "hits.h"
#include "http.h"
#include "lookup.h"

/* What handlers work with; belongs to the worker. */
struct app {
    const struct conf *conf;
    struct store *store;
    struct hits *hits;   /* NULL: there is no journal */
    struct cache *cache; /* NULL: there is no cache */
    bool hits_failed;    /* to open, when it was tried last */
    bool cache_failed;
    int64_t reopen_ms; /* when it is tried again */
};

/* POST /create: stores a link and answers with its short URL. */
void h_create(struct app *app, const struct http_request *req,
              struct http_response *res);

/* GET or HEAD of APP_URL's path and an id: 301 to the long URL. short_id is
 * valid (ids.h). */
void h_redirect(struct app *app, const struct http_request *req,
                const char *short_id, struct http_response *res);

/* The answer to a request that the store could not serve: 503 with
 * Retry-After, and the reason in the log. what: "link create", ... */
void h_store_failed(struct app *app, const struct http_request *req,
                    enum result r, const char *what, struct http_response *res);

#endif
