#include "http/limited.h"

#include <stdio.h>

static void add_parameter(struct buf *out, const char *name, uint64_t n)
{
    buf_add_char(out, ';');
    buf_add_str(out, name);
    buf_add_char(out, '=');
    buf_add_num(out, n);
}

void limited_fields(struct http_response *res, const struct limits_met *met)
{
    for (int policy = 1; met->count > 0 && policy >= 0; policy--) {
        buf_add_str(&res->head, policy ? "RateLimit-Policy: " : "RateLimit: ");
        for (size_t i = 0; i < met->count; i++) {
            const struct limits_state *s = &met->states[i];
            buf_add_str(&res->head, i > 0 ? ", \"" : "\"");
            buf_add_str(&res->head, limits_name(s->kind));
            buf_add_char(&res->head, '"');
            add_parameter(&res->head, policy ? "q" : "r",
                          policy ? s->rate.count : s->remaining);
            add_parameter(&res->head, policy ? "w" : "t",
                          policy ? s->rate.seconds : s->reset);
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

const char *limited_detail(const struct limits_met *met,
                           char detail[LIMITED_DETAIL_SIZE])
{
    const struct limits_state *s = &met->states[met->count - 1];
    /* Several links at once, of which some would be allowed. */
    const bool large = s->wait == 0 || s->remaining > 0;
    snprintf(detail, LIMITED_DETAIL_SIZE,
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
