#include "aws/http_client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#define ERROR_MAX 1024

/* Connections that are kept alive: one for each of several endpoints, which
 * are used in turn. libcurl keeps 5, and with 6 endpoints would make a new one
 * for each request. */
#define CONNECTIONS_MAX 32

struct http_client {
    const char *ca_bundle;
    CURL *curl; /* NULL until the first request */
    struct buf received;
    struct buf error;
    char curl_error[CURL_ERROR_SIZE];
    bool timed_out;
    /* Of the request under way. */
    bool may_repeat;
    unsigned sends;
};

struct http_client *http_client_new(const char *ca_bundle, size_t max_answer)
{
    struct http_client *h = mem_zalloc(sizeof(*h));
    h->ca_bundle = ca_bundle;
    buf_init(&h->received, max_answer);
    buf_init(&h->error, ERROR_MAX);
    return h;
}

void http_client_free(struct http_client *h)
{
    if (h == NULL)
        return;
    curl_easy_cleanup(h->curl);
    buf_wipe(&h->received);
    buf_free(&h->error);
    free(h);
}

const char *http_client_error(const struct http_client *h)
{
    return h->error.data;
}

bool http_client_timed_out(const struct http_client *h)
{
    return h->timed_out;
}

static enum result transfer_fail(struct http_client *h, enum result r,
                                 const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum result transfer_fail(struct http_client *h, enum result r,
                                 const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    buf_reset(&h->error);
    buf_vaddf(&h->error, format, ap);
    va_end(ap);
    return r;
}

/* ---- URLs ------------------------------------------------------------ */

static char *url_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    return curl_url_get(url, part, &text, 0) == CURLUE_OK ? text : NULL;
}

bool http_client_check_url(const char *url, bool *loopback)
{
    CURLU *parts = curl_url();
    bool usable = parts != NULL &&
                  curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK;
    char *scheme = usable ? url_part(parts, CURLUPART_SCHEME) : NULL;
    char *host = usable ? url_part(parts, CURLUPART_HOST) : NULL;
    char *user = usable ? url_part(parts, CURLUPART_USER) : NULL;
    char *query = usable ? url_part(parts, CURLUPART_QUERY) : NULL;
    usable = scheme != NULL && host != NULL && user == NULL && query == NULL &&
             (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    if (loopback != NULL)
        *loopback = usable && (strcasecmp(host, "localhost") == 0 ||
                               strcmp(host, "[::1]") == 0 ||
                               (strncmp(host, "127.", 4) == 0 &&
                                host[strspn(host, TEXT_DIGITS ".")] == '\0'));
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(query);
    curl_url_cleanup(parts);
    return usable;
}

bool http_client_split(const char *url, char **host, char **path)
{
    CURLU *parts = curl_url();
    char *name = NULL, *port = NULL, *found = NULL;
    if (parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == 0) {
        name = url_part(parts, CURLUPART_HOST);
        found = url_part(parts, CURLUPART_PATH);
        curl_url_get(parts, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT);
    }
    const bool split = name != NULL;
    *host = split ? mem_printf("%s%s%s", name, port != NULL ? ":" : "",
                               port != NULL ? port : "")
                  : NULL;
    *path = split ? mem_dup(found != NULL ? found : "/") : NULL;
    curl_free(name);
    curl_free(port);
    curl_free(found);
    curl_url_cleanup(parts);
    return split;
}

/* ---- libcurl --------------------------------------------------------- */

static size_t on_body(char *bytes, size_t size, size_t count, void *handle)
{
    struct http_client *h = handle;
    buf_add(&h->received, bytes, size * count);
    return buf_failed(&h->received) ? 0 : size * count;
}

/* libcurl sends a request again when a kept connection turns out to be dead.
 * Each sending passes here, before its first byte. */
static int on_send(void *handle, char *to, char *from, int to_port,
                   int from_port)
{
    (void)to, (void)from, (void)to_port, (void)from_port;
    struct http_client *h = handle;
    if (h->sends > 0 && !h->may_repeat)
        return CURL_PREREQFUNC_ABORT;
    h->sends++;
    return CURL_PREREQFUNC_OK;
}

/* Sets an option of the handle unless an earlier one failed, which e
 * remembers. */
#define SET(option, value)                                                     \
    do {                                                                       \
        if (e == CURLE_OK)                                                     \
            e = curl_easy_setopt(h->curl, option, value);                      \
    } while (0)

static CURLcode global_code;

static void init_global(void)
{
    global_code = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* Makes the handle when it is first needed, with what all requests have in
 * common. libcurl is initialised once per process, for all its threads. */
static enum result open_handle(struct http_client *h)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (h->curl != NULL)
        return RESULT_OK;
    pthread_once(&once, init_global);
    CURLcode e = global_code;
    if (e == CURLE_OK && (h->curl = curl_easy_init()) == NULL)
        e = CURLE_FAILED_INIT;
    SET(CURLOPT_ERRORBUFFER, h->curl_error);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, h);
    SET(CURLOPT_PREREQFUNCTION, on_send);
    SET(CURLOPT_PREREQDATA, h);
    SET(CURLOPT_NOSIGNAL, 1L);
    /* A name server that does not answer must not hold a request beyond its
     * deadline: the thread that waits for it ends later. */
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_USERAGENT, "curt");
    if (h->ca_bundle != NULL) {
        SET(CURLOPT_CAINFO, h->ca_bundle);
        /* In place of the system's authorities. */
        SET(CURLOPT_CAPATH, NULL);
    }
    if (e == CURLE_OK)
        return RESULT_OK;
    curl_easy_cleanup(h->curl);
    h->curl = NULL;
    return transfer_fail(h, RESULT_INTERNAL, "libcurl does not start: %s",
                         curl_easy_strerror(e));
}

/* ---- A request ------------------------------------------------------- */

void http_client_add_line(struct http_client_lines *lines, char *line)
{
    if (lines->count < HTTP_CLIENT_LINES_MAX)
        lines->all[lines->count++] = line;
    else
        mem_free_secret(line);
}

/* The header lines of a request as libcurl takes them; NULL: *r has the reason.
 */
static struct curl_slist *
make_headers(const struct http_client_request *request, enum result *r)
{
    const char *const *given = request->headers;
    struct http_client_lines lines = {.count = 0};
    struct curl_slist *list = NULL;
    bool typed = false;
    for (; given != NULL && *given != NULL; given++) {
        typed = typed || strncasecmp(*given, "Content-Type:", 13) == 0;
        http_client_add_line(&lines, mem_dup(*given));
    }
    *r = request->sign != NULL ? request->sign(request, &lines) : RESULT_OK;
    /* Not the type that libcurl would make up. */
    if (!typed)
        http_client_add_line(&lines, mem_dup("Content-Type:"));
    for (size_t i = 0; i < lines.count; i++) {
        struct curl_slist *longer =
            *r == RESULT_OK ? curl_slist_append(list, lines.all[i]) : NULL;
        if (longer != NULL)
            list = longer;
        else if (*r == RESULT_OK)
            *r = RESULT_INTERNAL;
        mem_free_secret(lines.all[i]);
    }
    if (*r == RESULT_OK)
        return list;
    curl_slist_free_all(list);
    return NULL;
}

/* Sets what differs from one request to the next. */
static CURLcode set_request(struct http_client *h,
                            const struct http_client_request *request,
                            const struct curl_slist *headers, int64_t left)
{
    CURLcode e = CURLE_OK;
    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_HTTPHEADER, headers);
    if (strcmp(request->method, "GET") == 0) {
        SET(CURLOPT_HTTPGET, 1L);
        SET(CURLOPT_CUSTOMREQUEST, NULL);
    } else {
        const char *body = request->body != NULL ? request->body : "";
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_CUSTOMREQUEST,
            strcmp(request->method, "POST") == 0 ? NULL : request->method);
        SET(CURLOPT_POSTFIELDSIZE, (long)strlen(body));
        SET(CURLOPT_POSTFIELDS, body);
    }
    SET(CURLOPT_PROXY, request->direct ? "" : NULL);
    SET(CURLOPT_TIMEOUT_MS, (long)left);
    return e;
}

/* ---- An answer ------------------------------------------------------- */

/* A header of the answer, or NULL. */
static const char *answer_header(struct http_client *h, const char *name)
{
    struct curl_header *found;
    if (curl_easy_header(h->curl, name, 0, CURLH_HEADER, -1, &found) !=
        CURLHE_OK)
        return NULL;
    return found->value;
}

static void read_answer(struct http_client *h,
                        struct http_client_answer *answer)
{
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &answer->status);
    answer->body = h->received.data;
    answer->len = h->received.len;
    answer->location = answer_header(h, "Location");
    const char *date = answer_header(h, "Date");
    if (date != NULL) {
        time_t t = curl_getdate(date, NULL);
        answer->date = t > 0 ? t : 0;
    }
    uint64_t sum;
    const char *crc32 = answer_header(h, "x-amz-crc32");
    if (crc32 != NULL && text_number(crc32, UINT32_MAX, &sum)) {
        answer->has_crc32 = true;
        answer->crc32 = (uint32_t)sum;
    }
}

/* A transfer without a whole answer. */
static enum result transfer_failed(struct http_client *h, CURLcode code)
{
    const char *text =
        h->curl_error[0] != '\0' ? h->curl_error : curl_easy_strerror(code);
    h->timed_out = code == CURLE_OPERATION_TIMEDOUT;
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        return transfer_fail(
            h, RESULT_DENIED,
            "the endpoint's certificate was not accepted (%s); "
            "AWS_CA_BUNDLE names the file of authorities to trust",
            text);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return transfer_fail(h, RESULT_INVALID, "%s", text);
    case CURLE_WRITE_ERROR:
        return transfer_fail(h, RESULT_CORRUPT,
                             "an answer of more than %zu bytes",
                             h->received.max);
    case CURLE_ABORTED_BY_CALLBACK:
        return transfer_fail(h, RESULT_UNAVAILABLE,
                             "the connection was lost before the answer");
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_NOT_BUILT_IN:
        return transfer_fail(h, RESULT_INTERNAL, "libcurl: %s", text);
    default:
        return transfer_fail(h, RESULT_UNAVAILABLE, "%s", text);
    }
}

enum result http_client_send(struct http_client *h,
                             const struct http_client_request *request,
                             struct http_client_answer *answer)
{
    *answer = (struct http_client_answer){.body = ""};
    buf_reset(&h->error);
    buf_reset(&h->received);
    h->timed_out = false;
    enum result r = open_handle(h);
    if (r != RESULT_OK)
        return r;
    const int64_t left = request->deadline - clock_monotonic_ms();
    if (left <= 0) {
        h->timed_out = true;
        return transfer_fail(h, RESULT_UNAVAILABLE, "no time is left");
    }
    struct curl_slist *headers = make_headers(request, &r);
    if (headers == NULL)
        return transfer_fail(h, r,
                             r == RESULT_INVALID ? "not a URL"
                                                 : "the request is not signed");
    h->curl_error[0] = '\0';
    h->sends = 0;
    h->may_repeat = request->may_repeat;
    CURLcode code = set_request(h, request, headers, left);
    if (code == CURLE_OK)
        code = curl_easy_perform(h->curl);
    answer->sends = h->sends;
    if (code == CURLE_OK)
        read_answer(h, answer);
    else
        r = transfer_failed(h, code);
    curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, NULL);
    curl_slist_free_all(headers);
    return r;
}
