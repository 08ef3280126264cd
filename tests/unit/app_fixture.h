/*
 * A worker's application with a fake store, whose results a case sets. The
 * stores have tests of their own: store_contract.c.
 */
#ifndef CURT_TEST_APP_FIXTURE_H
#define CURT_TEST_APP_FIXTURE_H

#include "http/handlers.h"
#include "service/create.h"

struct fake_store {
    struct store base;
    enum result get_result;
    enum result hit_result;
    enum result create_result;
    unsigned create_conflicts; /* RESULT_CONFLICT so many times before */
    const char *long_url;      /* what get finds */
    int64_t ttl;
    const char *created_at; /* NULL: the item has none */
    const char *reason;     /* likewise */
    struct link_rules rules;
    uint64_t link_hits;
    enum result spend_result;
    enum result settle_result;

    unsigned gets, creates, hits, spent, settled;
    char asked[65];               /* short_id of the last get */
    char drawn[CREATE_DRAWS][65]; /* short_id of each create */
    struct link stored;           /* a copy of the last link created */
};

struct fixture {
    struct conf conf;
    struct fake_store store;
    struct app app;
    struct http_request req;
    struct http_response res;
    struct buf path;
};

/* Set-up and tear-down; *state is a struct fixture. */
int app_set_up(void **state);
int app_tear_down(void **state);

/* Puts another APP_URL into the configuration. */
void app_serve_at(struct fixture *f, const char *app_url);

/* Sends a request, path still percent-encoded, with the fields that f->req
 * already has, and returns the status of the answer in f->res, after asserting
 * what every answer must have. The log is discarded. */
int app_request(struct fixture *f, const char *method, const char *path);

/* POST /create with a body. */
int app_post(struct fixture *f, const char *body);

/* Whether the head of the answer has this whole field line. */
bool app_has_field(const struct fixture *f, const char *line);

/* Asserts that the answer is problem+json, with this text somewhere in it, and
 * leads nowhere. */
void app_assert_problem(const struct fixture *f, const char *text);

#endif
