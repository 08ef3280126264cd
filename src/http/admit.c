#include "http/admit.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/percent.h"
#include "base/utf8.h"
#include "service/plans.h"

#define REALM "Bearer realm=\"curt\""

/* Appends the value of a field of the form in the body. False: there is none.
 */
static bool admit_form_field(const struct http_request *req, const char *name,
                             struct buf *out)
{
    const char *s = req->body;
    size_t len = req->body_len;
    struct percent_pair pair;
    if (req->content_type == NULL ||
        !http_type_is(req->content_type, "application/x-www-form-urlencoded"))
        return false;
    while (percent_next_pair(&s, &len, &pair)) {
        if (pair.name_len != strlen(name) || pair.value == NULL ||
            memcmp(pair.name, name, pair.name_len) != 0)
            continue;
        percent_decode_form(out, pair.value, pair.value_len);
        return true;
    }
    return false;
}

void admit_refuse(const struct app *app, const struct http_request *req,
                  int status, const char *detail, struct http_response *res)
{
    struct buf url;
    if (!http_wants_page(req) || strcmp(app->conf->home, "page") != 0) {
        http_problem(res, req, status, detail);
        return;
    }
    buf_init(&url, 2 * URL_MAX);
    admit_form_field(req, "long_url", &url);
    const bool keep = !buf_failed(&url) && utf8_ok(url.data, url.len);
    const struct page_value values[] = {
        {"error", detail}, {"long_url", keep ? url.data : NULL}, {NULL, NULL}};
    http_page(res, req, status, "home.html", values);
    buf_free(&url);
}

/* ---- Pages of other sites ---------------------------------------------- */

/* Whether the Origin of the request is in CORS_ORIGINS. */
static bool admit_has_cors_origin(const struct conf *conf,
                                  const struct http_request *req)
{
    const char *list = conf->cors_origins;
    const size_t len = req->origin != NULL ? strlen(req->origin) : 0;
    while (list != NULL && *list != '\0') {
        const size_t n = strcspn(list, " \t,");
        if (n > 0 && n == len && memcmp(list, req->origin, n) == 0)
            return true;
        list += n + strspn(list + n, " \t,");
    }
    return false;
}

/* Whether a browser made the request for a page of another site, which must not
 * use an open shortener or the visitor's password. Other clients send neither
 * field. Sec-Fetch-Site: https://www.w3.org/TR/fetch-metadata/; "none" is the
 * user's own doing. */
static bool admit_is_cross_site(const struct conf *conf,
                                const struct http_request *req)
{
    const char *site = req->sec_fetch_site;
    if (admit_has_cors_origin(conf, req))
        return false;
    if (site != NULL)
        return strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
    return req->origin != NULL && !url_is_origin(req->origin, &conf->app);
}

void admit_add_cors(const struct conf *conf, const struct http_request *req,
                    struct http_response *res)
{
    if (!admit_has_cors_origin(conf, req))
        return;
    http_field(res, "Access-Control-Allow-Origin", req->origin);
    http_field(res, "Access-Control-Expose-Headers",
               "RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, "
               "X-Amzn-Trace-Id");
}

void admit_preflight(const struct conf *conf, const struct http_request *req,
                     struct http_response *res)
{
    if (!admit_has_cors_origin(conf, req)) {
        http_problem(res, req, 403,
                     "Pages of this origin cannot create links here: it is "
                     "not in CORS_ORIGINS.");
        return;
    }
    http_begin(res, req, 204);
    http_field(res, "Vary", "Origin");
    admit_add_cors(conf, req, res);
    http_field(res, "Access-Control-Allow-Methods", "POST");
    http_field(res, "Access-Control-Allow-Headers",
               "content-type, x-api-key, authorization, idempotency-key, "
               "accept");
    http_field(res, "Access-Control-Max-Age", "600");
}

/* ---- Limits -------------------------------------------------------------- */

void admit_add_limits(struct http_response *res, const struct limits_met *met)
{
    for (int policy = 1; met->count > 0 && policy >= 0; policy--) {
        buf_add_str(&res->head, policy ? "RateLimit-Policy: " : "RateLimit: ");
        for (size_t i = 0; i < met->count; i++) {
            const struct limits_state *s = &met->states[i];
            buf_add_str(&res->head, i > 0 ? ", \"" : "\"");
            buf_add_str(&res->head, limits_name(s->kind));
            buf_add_char(&res->head, '"');
            buf_add_str(&res->head, policy ? ";q=" : ";r=");
            buf_add_num(&res->head, policy ? s->rate.count : s->remaining);
            buf_add_str(&res->head, policy ? ";w=" : ";t=");
            buf_add_num(&res->head, policy ? s->rate.seconds : s->reset);
        }
        buf_add_str(&res->head, "\r\n");
    }
    const uint64_t wait = met->count > 0 ? met->states[met->count - 1].wait : 0;
    if (wait > 0) {
        buf_add_str(&res->head, "Retry-After: ");
        buf_add_num(&res->head, wait);
        buf_add_str(&res->head, "\r\n");
    }
}

const char *admit_limits_detail(const struct limits_met *met,
                                char detail[ADMIT_DETAIL_SIZE])
{
    const struct limits_state *s = &met->states[met->count - 1];
    /* Several links at once, of which some would be allowed. */
    const bool large = s->wait == 0 || s->remaining > 0;
    snprintf(detail, ADMIT_DETAIL_SIZE,
             large ? "This request creates too many links: at most %llu are "
                     "allowed now."
             : s->kind == LIMITS_KEY
                 ? "This API key has created too many links. Try again in "
                   "%llu s."
             : s->kind == LIMITS_CREATE
                 ? "Your address has created too many links. Try again in "
                   "%llu s."
             : s->kind == LIMITS_AUTH
                 ? "Your address has sent too many wrong API keys. Try again "
                   "in %llu s."
             : s->kind == LIMITS_UNKNOWN
                 ? "Your address has requested too many links that do not "
                   "exist. Try again in %llu s."
                 : "The quota of this API key is used up. Try again in %llu s.",
             (unsigned long long)(large ? s->remaining : s->wait));
    return detail;
}

/* ---- API keys ----------------------------------------------------------- */

/* The key in the head of a request, or NULL. */
static const char *admit_header_key(const struct http_request *req)
{
    const char *value = req->authorization;
    if (req->api_key != NULL)
        return req->api_key;
    return value != NULL && strncasecmp(value, "Bearer", 6) == 0 &&
                   strchr(" \t", value[6]) != NULL /* or the end */
               ? value + 6 + strspn(value + 6, " \t")
               : NULL;
}

static bool admit_limited(struct app *app, const struct http_request *req,
                          struct http_response *res)
{
    char detail[ADMIT_DETAIL_SIZE];
    admit_refuse(app, req, 429, admit_limits_detail(&app->met, detail), res);
    admit_add_limits(res, &app->met);
    return false;
}

/* Takes count from what the address may do; 0 only looks. */
static bool admit_address(struct app *app, const struct http_request *req,
                          enum limits_kind kind, uint64_t count)
{
    app->met.count = 1;
    return limits_take(app->limits, kind, req->remote_addr,
                       kind == LIMITS_AUTH ? app->conf->auth_limit
                                           : app->conf->create_limit,
                       count, &app->met.states[0]);
}

/* key: NULL where the request has none. */
static bool admit_key(struct app *app, const struct http_request *req,
                      const char *key, struct access_identity *who,
                      struct http_response *res)
{
    const char *reason = "";
    char detail[128], challenge[256];
    if (key == NULL) {
        admit_refuse(app, req, 401,
                     "Creating links here needs an API key, as X-Api-Key or "
                     "as a Bearer token.",
                     res);
        http_field(res, "WWW-Authenticate", REALM);
        return false;
    }
    if (!admit_address(app, req, LIMITS_AUTH, 0))
        return admit_limited(app, req, res);
    const enum result r = access_check(app, key, ACCESS_CREATE, who, &reason);
    if (r == RESULT_OK)
        return true;
    if (r == RESULT_UNAVAILABLE) {
        h_log_failure(app, r, "key");
        admit_refuse(app, req, 503, H_STORE_FAILED, res);
        return false;
    }
    if (r == RESULT_INVALID)
        (void)admit_address(app, req, LIMITS_AUTH, 1);
    snprintf(detail, sizeof(detail), "The API key %s.", reason);
    admit_refuse(app, req, r == RESULT_DENIED ? 403 : 401, detail, res);
    snprintf(challenge, sizeof(challenge),
             REALM ", error=\"%s\", error_description=\"%s\"",
             r == RESULT_DENIED ? "insufficient_scope" : "invalid_token",
             detail);
    http_field(res, "WWW-Authenticate", challenge);
    return false;
}

bool admit_create(struct app *app, const struct http_request *req,
                  struct access_identity *who, struct http_response *res)
{
    const bool open = app->conf->create_auth == CONF_AUTH_OPEN;
    const char *key = admit_header_key(req);
    struct buf field;
    *who = (struct access_identity){.name = ""};
    /* A page of another site cannot send these fields without a preflight. */
    if (key == NULL && admit_is_cross_site(app->conf, req)) {
        http_problem(res, req, 403,
                     "A page of another site cannot create links here. Send "
                     "the request from a page of this site, or without a "
                     "browser.");
        return false;
    }
    buf_init(&field, 4 * ACCESS_KEY_SIZE);
    if (key == NULL && !open && admit_form_field(req, "api_key", &field) &&
        (field.len > 0 || buf_failed(&field)))
        key = field.data;
    bool admitted;
    if (key != NULL || !open)
        admitted = admit_key(app, req, key, who, res);
    else /* before the body is looked at; admit_take() then takes */
        admitted = admit_address(app, req, LIMITS_CREATE, 0) ||
                   admit_limited(app, req, res);
    buf_wipe(&field);
    return admitted;
}

bool admit_take(struct app *app, const struct http_request *req,
                const struct access_identity *who, uint64_t count,
                struct http_response *res)
{
    enum result r;
    app->met.count = 0;
    if (!app->conf->limits) {
        r = RESULT_OK;
    } else if (who->name[0] != '\0') {
        r = plans_take(app, who->name, who->plan, count);
    } else {
        r = admit_address(app, req, LIMITS_CREATE, count) ? RESULT_OK
                                                          : RESULT_LIMITED;
    }
    if (r == RESULT_OK)
        return true;
    if (r == RESULT_LIMITED)
        return admit_limited(app, req, res);
    h_log_failure(app, r, "plan");
    admit_refuse(app, req, 503, H_STORE_FAILED, res);
    return false;
}
