/* The small parsers of what a request has in its head: percent-encoding,
 * pairs, UTF-8, Accept, numbers, trace ids; and those of usage plans. */
#include <string.h>

#include "base/mem.h"
#include "base/percent.h"
#include "base/text.h"
#include "base/utf8.h"
#include "fuzz.h"
#include "http/http.h"
#include "http/page.h"
#include "link/ids.h"
#include "service/plans.h"

static void check_decoding(const char *s, size_t len)
{
    struct buf decoded, encoded, back;
    buf_init(&decoded, len);
    buf_init(&encoded, 3 * len);
    buf_init(&back, len);
    percent_decode_form(&decoded, s, len);
    MUST(!buf_failed(&decoded));
    MUST(memchr(s, '%', len) != NULL || decoded.len == len);
    buf_reset(&decoded);
    percent_decode(&decoded, s, len);
    MUST(!buf_failed(&decoded));
    percent_encode(&encoded, decoded.data, decoded.len, "");
    MUST(!buf_failed(&encoded));
    percent_decode(&back, encoded.data, encoded.len);
    MUST(back.len == decoded.len);
    MUST(memcmp(back.data, decoded.data, back.len) == 0);
    buf_free(&decoded);
    buf_free(&encoded);
    buf_free(&back);
}

static void check_pairs(const char *s, size_t len)
{
    const char *rest = s;
    size_t left = len;
    size_t taken = 0;
    struct percent_pair pair;
    while (percent_next_pair(&rest, &left, &pair)) {
        MUST(pair.name >= s + taken);
        MUST(memchr(pair.name, '&', pair.name_len) == NULL);
        MUST(memchr(pair.name, '=', pair.name_len) == NULL);
        if (pair.value != NULL) {
            MUST(pair.value == pair.name + pair.name_len + 1);
            MUST(memchr(pair.value, '&', pair.value_len) == NULL);
        } else {
            MUST(pair.name_len > 0 && pair.value_len == 0);
        }
        MUST((size_t)(rest - s) > taken);
        taken = (size_t)(rest - s);
        MUST(left == len - taken);
    }
    MUST(left == 0 && rest == s + len);
}

static void check_utf8(const char *s, size_t len)
{
    struct buf clean, again;
    buf_init(&clean, 3 * len);
    utf8_add_clean(&clean, s, len);
    MUST(!buf_failed(&clean));
    for (size_t pos = 0; pos < clean.len;)
        MUST(utf8_next(clean.data, clean.len, &pos) != UTF8_BAD);
    buf_init(&again, clean.len);
    utf8_add_clean(&again, clean.data, clean.len);
    MUST(again.len == clean.len);
    MUST(memcmp(again.data, clean.data, clean.len) == 0);
    buf_free(&clean);
    buf_free(&again);
}

static void check_header(const char *text)
{
    int quality = http_accept_quality(text, "text/html");
    MUST(quality >= -1 && quality <= 1000);
    if (http_type_is(text, "text/html"))
        MUST(http_accept_quality(text, "text/html") >= 0);

    struct trace_id_source source = {.left = 0};
    char trace[TRACE_ID_MAX + 1];
    trace_id_choose(&source, text, trace);
    MUST(trace[0] != '\0' && strlen(trace) <= TRACE_ID_MAX);
    for (const char *c = trace; *c != '\0'; c++)
        MUST(*c >= 0x20 && *c <= 0x7e);

    struct buf html;
    buf_init(&html, 6 * strlen(text));
    page_add_html(&html, text);
    MUST(!buf_failed(&html) && strpbrk(html.data, "<>\"'") == NULL);
    buf_free(&html);
}

static void check_number(const char *text)
{
    uint64_t n = 0;
    int64_t whole = 0;
    if (text_number(text, UINT64_MAX, &n)) {
        MUST(strspn(text, "0123456789") == strlen(text));
        MUST(text_decimal(text, &whole));
        MUST(n > INT64_MAX ? whole == INT64_MAX : (uint64_t)whole == n);
        MUST(text_number(text, n, &n));
        MUST(n == 0 || !text_number(text, n - 1, &n));
    }
    if (text_decimal(text, &whole))
        MUST(strspn(text, "0123456789.eE+-") == strlen(text));
}

static void check_plan(const char *text, size_t len)
{
    struct plan plan = {.quota = 0};
    if (plans_parse_quota(text, &plan))
        MUST(plan.quota >= 1 && plan.quota <= PLANS_QUOTA_MAX);
    if (plans_parse(text, len, &plan))
        MUST(plan.quota <= PLANS_QUOTA_MAX && plan.rate.count <= CONF_RATE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A copy that ends where the input ends, and has a NUL there. */
    char *text = mem_dup_bytes((const char *)data, size);
    check_decoding(text, size);
    check_pairs(text, size);
    check_utf8(text, size);
    check_header(text);
    check_number(text);
    check_plan(text, size);
    if (ids_valid(text, size))
        MUST(size >= 1 && size <= IDS_MAX && strlen(text) == size);
    free(text);
    return 0;
}
