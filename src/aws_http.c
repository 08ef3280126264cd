#include "aws_http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "buf.h"
#include "clock.h"
#include "mem.h"
#include "num.h"

#define ERROR_MAX 1024

/* The longest Authorization line: ids and names are short. */
#define AUTHORIZATION_MAX 4096

/* Connections that are kept alive: one for each of several endpoints, which
 * are used in turn. libcurl keeps 5, and with 6 endpoints would make a new one
 * for each request. */
#define CONNECTIONS_MAX 32

struct aws_http {
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

struct aws_http *aws_http_new(const char *ca_bundle, size_t max_answer)
{
    struct aws_http *h = mem_zalloc(sizeof(*h));
    h->ca_bundle = ca_bundle;
    buf_init(&h->received, max_answer);
    buf_init(&h->error, ERROR_MAX);
    return h;
}

void aws_http_free(struct aws_http *h)
{
    if (h == NULL)
        return;
    curl_easy_cleanup(h->curl);
    buf_wipe(&h->received);
    buf_free(&h->error);
    free(h);
}

const char *aws_http_error(const struct aws_http *h)
{
    return h->error.data;
}

bool aws_http_timed_out(const struct aws_http *h)
{
    return h->timed_out;
}

static enum result transfer_fail(struct aws_http *h, enum result r,
                                 const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum result transfer_fail(struct aws_http *h, enum result r,
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

static bool is_loopback(const char *host)
{
    static const char dotted[] = "0123456789.";
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (strncmp(host, "127.", 4) == 0 &&
            strspn(host, dotted) == strlen(host));
}

bool aws_http_check_url(const char *url, bool *loopback)
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
        *loopback = usable && is_loopback(host);
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(query);
    curl_url_cleanup(parts);
    return usable;
}

/* ---- libcurl --------------------------------------------------------- */

static CURLcode global_code;

static void init_global(void)
{
    global_code = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* Once per process, for all its threads, and not before it is known that the
 * network is needed at all. */
static CURLcode init_libcurl(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_global);
    return global_code;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *handle)
{
    struct aws_http *h = handle;
    buf_add(&h->received, bytes, size * count);
    return buf_failed(&h->received) ? 0 : size * count;
}

/* libcurl sends a request again by itself when a kept connection dies under
 * it. Each sending passes here, before its first byte. */
static int on_send(void *handle, char *to, char *from, int to_port,
                   int from_port)
{
    (void)to, (void)from, (void)to_port, (void)from_port;
    struct aws_http *h = handle;
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

/* Sets what all requests have in common. The first failure is returned. */
static CURLcode set_up(struct aws_http *h)
{
    CURLcode e = CURLE_OK;
    SET(CURLOPT_ERRORBUFFER, h->curl_error);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, h);
    SET(CURLOPT_PREREQFUNCTION, on_send);
    SET(CURLOPT_PREREQDATA, h);
    SET(CURLOPT_NOSIGNAL, 1L);
    /* A name server that does not answer must not hold a request beyond its
     * deadline: the thread that waits for it is left to end by itself. */
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
        /* In place of the system's authorities, not besides them. */
        SET(CURLOPT_CAPATH, NULL);
    }
    return e;
}

/* Makes the handle when it is first needed. */
static enum result open_handle(struct aws_http *h)
{
    if (h->curl != NULL)
        return RESULT_OK;
    CURLcode code = init_libcurl();
    if (code == CURLE_OK)
        h->curl = curl_easy_init();
    if (h->curl != NULL)
        code = set_up(h);
    if (h->curl != NULL && code == CURLE_OK)
        return RESULT_OK;
    curl_easy_cleanup(h->curl);
    h->curl = NULL;
    return transfer_fail(h, RESULT_INTERNAL, "libcurl does not start: %s",
                         curl_easy_strerror(code));
}

/* ---- A request ------------------------------------------------------- */

/* Appends a line; false, and the list as it was, when there is no memory. */
static bool add_line(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer == NULL)
        return false;
    *list = longer;
    return true;
}

/* The header lines of a request, each a string of its own. */
struct lines {
    char *all[AWS_SIGN_LINES_MAX + 1]; /* and a NULL */
    size_t count;
};

/* Takes line over. What a request of curt's has is far below the limit. */
static void take_line(struct lines *lines, char *line)
{
    if (lines->count < AWS_SIGN_LINES_MAX)
        lines->all[lines->count++] = line;
    else
        mem_free_secret(line);
}

static void free_lines(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        mem_free_secret(lines->all[i]);
}

/* "Host: name:port", the port where it is not the scheme's own. */
static char *host_line(const char *url, char **path)
{
    CURLU *parts = curl_url();
    char *line = NULL;
    *path = NULL;
    if (parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == 0) {
        char *host = url_part(parts, CURLUPART_HOST);
        char *port = NULL;
        curl_url_get(parts, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT);
        char *found = url_part(parts, CURLUPART_PATH);
        if (host != NULL)
            line = mem_printf("Host: %s%s%s", host, port != NULL ? ":" : "",
                              port != NULL ? port : "");
        *path = mem_dup(found != NULL ? found : "/");
        curl_free(host);
        curl_free(port);
        curl_free(found);
    }
    curl_url_cleanup(parts);
    return line;
}

/* Appends what a signature adds to the lines, and the signature itself. */
static enum result sign_request(const struct aws_http_request *request,
                                struct lines *lines)
{
    const struct aws_signing *signing = request->signing;
    char date[AWS_SIGN_DATE_SIZE];
    aws_sign_date(clock_now() + signing->clock_offset, date);
    char *path;
    char *host = host_line(request->url, &path);
    if (host == NULL) {
        free(path);
        return RESULT_INVALID;
    }
    take_line(lines, host);
    take_line(lines, mem_printf("X-Amz-Date: %s", date));
    if (signing->keys.token != NULL)
        take_line(lines,
                  mem_printf("X-Amz-Security-Token: %s", signing->keys.token));
    struct buf authorization;
    buf_init(&authorization, AUTHORIZATION_MAX);
    const struct aws_sign_request what = {
        .method = request->method,
        .path = path,
        .lines = (const char *const *)lines->all,
        .body = request->body != NULL ? request->body : ""};
    enum result r = aws_sign(signing, &what, date, &authorization);
    if (r == RESULT_OK)
        take_line(lines, mem_dup(authorization.data));
    buf_free(&authorization);
    free(path);
    return r;
}

/* The header lines of a request as libcurl takes them; *r says why not. */
static struct curl_slist *make_headers(const struct aws_http_request *request,
                                       enum result *r)
{
    struct lines lines = {.count = 0};
    struct curl_slist *list = NULL;
    bool typed = false;
    for (size_t i = 0; request->headers != NULL && request->headers[i] != NULL;
         i++) {
        typed =
            typed || strncasecmp(request->headers[i], "Content-Type:", 13) == 0;
        take_line(&lines, mem_dup(request->headers[i]));
    }
    *r = request->signing != NULL ? sign_request(request, &lines) : RESULT_OK;
    bool ok = *r == RESULT_OK;
    for (size_t i = 0; ok && i < lines.count; i++)
        ok = add_line(&list, lines.all[i]);
    /* Not the one that libcurl would make up. */
    if (ok && !typed)
        ok = add_line(&list, "Content-Type:");
    free_lines(&lines);
    if (ok)
        return list;
    if (*r == RESULT_OK)
        *r = RESULT_INTERNAL;
    curl_slist_free_all(list);
    return NULL;
}

/* Sets what differs from one request to the next. */
static CURLcode set_request(struct aws_http *h,
                            const struct aws_http_request *request,
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

/* Nothing of a request stays in the handle. */
static void clear_request(struct aws_http *h)
{
    CURLcode e = CURLE_OK;
    SET(CURLOPT_HTTPHEADER, NULL);
    SET(CURLOPT_POSTFIELDS, NULL);
    (void)e;
}

/* ---- An answer ------------------------------------------------------- */

/* A header of the answer, or NULL. */
static const char *answer_header(struct aws_http *h, const char *name)
{
    struct curl_header *found;
    if (curl_easy_header(h->curl, name, 0, CURLH_HEADER, -1, &found) !=
        CURLHE_OK)
        return NULL;
    return found->value;
}

static enum result read_answer(struct aws_http *h,
                               struct aws_http_answer *answer)
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
    if (crc32 != NULL && num_parse(crc32, UINT32_MAX, &sum)) {
        answer->has_crc32 = true;
        answer->crc32 = (uint32_t)sum;
    }
    return RESULT_OK;
}

static const char *curl_text(const struct aws_http *h, CURLcode code)
{
    return h->curl_error[0] != '\0' ? h->curl_error : curl_easy_strerror(code);
}

/* A transfer that brought no whole answer. */
static enum result transfer_failed(struct aws_http *h, CURLcode code)
{
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
            curl_text(h, code));
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return transfer_fail(h, RESULT_INVALID, "%s", curl_text(h, code));
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
        return transfer_fail(h, RESULT_INTERNAL, "libcurl: %s",
                             curl_text(h, code));
    default:
        return transfer_fail(h, RESULT_UNAVAILABLE, "%s", curl_text(h, code));
    }
}

enum result aws_http_send(struct aws_http *h,
                          const struct aws_http_request *request,
                          struct aws_http_answer *answer)
{
    *answer = (struct aws_http_answer){.body = ""};
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
                             r == RESULT_INVALID ? "the URL is none"
                                                 : "the request is not signed");
    h->curl_error[0] = '\0';
    h->sends = 0;
    h->may_repeat = request->may_repeat;
    CURLcode code = set_request(h, request, headers, left);
    if (code == CURLE_OK)
        code = curl_easy_perform(h->curl);
    answer->sends = h->sends;
    r = code == CURLE_OK ? read_answer(h, answer) : transfer_failed(h, code);
    clear_request(h);
    curl_slist_free_all(headers);
    return r;
}
