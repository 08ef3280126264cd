#include "aws_client.h"

#include <curl/curl.h>
#include <json.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "aws_config.h"
#include "clock.h"
#include "mem.h"

/* The largest item is 400 KiB; a string of it can grow sixfold in JSON. */
#define ANSWER_MAX (4u << 20)

/* Values nest 32 levels deep at most, each two JSON objects on the wire. */
#define NESTING_MAX 80

#define ERROR_MAX   1024
#define MESSAGE_MAX 300

struct aws_client {
    const struct conf *conf;
    CURL *curl; /* NULL until the first call */
    struct buf received;
    struct buf error;
    char curl_error[CURL_ERROR_SIZE];
    /* Of the request under way. */
    const char *action;
    bool may_repeat;
    unsigned sends;
};

struct aws_client *aws_client_new(const struct conf *conf)
{
    struct aws_client *c = mem_zalloc(sizeof(*c));
    c->conf = conf;
    buf_init(&c->received, ANSWER_MAX);
    buf_init(&c->error, ERROR_MAX);
    return c;
}

void aws_client_free(struct aws_client *c)
{
    if (c == NULL)
        return;
    curl_easy_cleanup(c->curl);
    buf_free(&c->received);
    buf_free(&c->error);
    free(c);
}

void aws_answer_free(struct aws_answer *answer)
{
    json_object_put(answer->body);
    answer->body = NULL;
}

const char *aws_client_error(const struct aws_client *c)
{
    return c->error.data;
}

/* ---- Errors ---------------------------------------------------------- */

/* Begins the error text: what was tried, and on what. */
static void begin_error(struct aws_client *c)
{
    const char *region = aws_config_region(c->conf);
    buf_reset(&c->error);
    buf_addf(&c->error, "dynamodb:%s on table %s in %s: ", c->action,
             c->conf->table, region != NULL ? region : "no region");
}

static enum result fail(struct aws_client *c, enum result r, const char *format,
                        ...) __attribute__((format(printf, 3, 4)));

static enum result fail(struct aws_client *c, enum result r, const char *format,
                        ...)
{
    va_list ap;
    va_start(ap, format);
    begin_error(c);
    buf_vaddf(&c->error, format, ap);
    va_end(ap);
    return r;
}

/* Appends the server's message, printable and not too long. */
static void add_message(struct buf *out, const char *message)
{
    buf_add_str(out, ": ");
    for (size_t i = 0; message[i] != '\0' && i < MESSAGE_MAX; i++) {
        unsigned char byte = (unsigned char)message[i];
        buf_add_char(out, byte < 0x20 || byte == 0x7f ? ' ' : message[i]);
    }
}

static const char *string_member(json_object *object, const char *name)
{
    json_object *value = NULL;
    if (!json_object_object_get_ex(object, name, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    return json_object_get_string(value);
}

/* Whether a message shows one of the secrets after all. */
static bool repeats_secret(const struct conf *conf, const char *message)
{
    const char *const secrets[] = {conf->aws_secret_access_key,
                                   conf->aws_session_token};
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        if (secrets[i] != NULL && secrets[i][0] != '\0' &&
            strstr(message, secrets[i]) != NULL)
            return true;
    }
    return false;
}

/* An answer other than 200. json is its body, or NULL if that is no object. */
static enum result refused(struct aws_client *c, long status, json_object *json,
                           struct aws_answer *answer)
{
    const char *raw = string_member(json, "__type");
    const char *message = string_member(json, "message");
    if (message == NULL)
        message = string_member(json, "Message");
    aws_error_type(raw != NULL ? raw : "", answer->type);
    struct aws_error error = aws_error_find(answer->type, status);
    answer->maybe_done = error.maybe_done;

    begin_error(c);
    if (answer->type[0] != '\0')
        buf_add_str(&c->error, answer->type);
    else
        buf_addf(&c->error, "HTTP status %ld without a DynamoDB error", status);
    if (message != NULL && !repeats_secret(c->conf, message) &&
        aws_error_message_is_safe(error.result, answer->type))
        add_message(&c->error, message);
    if (error.advice != NULL)
        buf_addf(&c->error, "; %s", error.advice);
    return error.result;
}

static const char *curl_text(const struct aws_client *c, CURLcode code)
{
    return c->curl_error[0] != '\0' ? c->curl_error : curl_easy_strerror(code);
}

/* A transfer that brought no whole answer. */
static enum result broken(struct aws_client *c, CURLcode code,
                          struct aws_answer *answer)
{
    answer->maybe_done = c->sends > 0;
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        return fail(c, RESULT_DENIED,
                    "the endpoint's certificate was not accepted (%s); "
                    "AWS_CA_BUNDLE names the file of authorities to trust",
                    curl_text(c, code));
    case CURLE_WRITE_ERROR:
        return fail(c, RESULT_UNAVAILABLE, "an answer of more than %u bytes",
                    ANSWER_MAX);
    case CURLE_ABORTED_BY_CALLBACK:
        return fail(c, RESULT_UNAVAILABLE,
                    "the connection was lost before the answer");
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_NOT_BUILT_IN:
        return fail(c, RESULT_INTERNAL, "libcurl: %s", curl_text(c, code));
    default:
        return fail(c, RESULT_UNAVAILABLE, "%s", curl_text(c, code));
    }
}

/* ---- Endpoint -------------------------------------------------------- */

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

/* Whether url can be an endpoint: http or https, a host, and no user, whose
 * password every error text would show. *loopback: it is on this host, where
 * no proxy can be in between. */
static bool check_endpoint(const char *url, bool *loopback)
{
    CURLU *parts = curl_url();
    if (parts == NULL || curl_url_set(parts, CURLUPART_URL, url, 0) != 0) {
        curl_url_cleanup(parts);
        return false;
    }
    char *scheme = url_part(parts, CURLUPART_SCHEME);
    char *host = url_part(parts, CURLUPART_HOST);
    char *user = url_part(parts, CURLUPART_USER);
    char *query = url_part(parts, CURLUPART_QUERY);
    bool usable = scheme != NULL && host != NULL && user == NULL &&
                  query == NULL &&
                  (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    *loopback = usable && is_loopback(host);
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(query);
    curl_url_cleanup(parts);
    return usable;
}

/* ---- libcurl --------------------------------------------------------- */

static size_t on_body(char *bytes, size_t size, size_t count, void *client)
{
    struct aws_client *c = client;
    buf_add(&c->received, bytes, size * count);
    return buf_failed(&c->received) ? 0 : size * count;
}

/* libcurl sends a request again by itself when a kept connection dies under
 * it. Each sending passes here, before its first byte. */
static int on_send(void *client, char *to, char *from, int to_port,
                   int from_port)
{
    (void)to, (void)from, (void)to_port, (void)from_port;
    struct aws_client *c = client;
    if (c->sends > 0 && !c->may_repeat)
        return CURL_PREREQFUNC_ABORT;
    c->sends++;
    return CURL_PREREQFUNC_OK;
}

static CURLcode global_code;

static void init_global(void)
{
    global_code = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* Once per process, for all its threads, and not before it is known that AWS
 * is needed at all. */
static CURLcode init_libcurl(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_global);
    return global_code;
}

/* Sets an option of h unless an earlier one failed, which e remembers. */
#define SET(option, value)                                                     \
    do {                                                                       \
        if (e == CURLE_OK)                                                     \
            e = curl_easy_setopt(h, option, value);                            \
    } while (0)

/* Sets what all requests have in common. The first failure is returned. */
static CURLcode set_up(struct aws_client *c, const char *url, bool loopback)
{
    CURL *h = c->curl;
    char *sigv4 = mem_printf("aws:amz:%s:dynamodb", aws_config_region(c->conf));
    CURLcode e = curl_easy_setopt(h, CURLOPT_URL, url);
    SET(CURLOPT_AWS_SIGV4, sigv4);
    SET(CURLOPT_ERRORBUFFER, c->curl_error);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, c);
    SET(CURLOPT_PREREQFUNCTION, on_send);
    SET(CURLOPT_PREREQDATA, c);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_MAXCONNECTS, 1L);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_USERAGENT, "curt");
    if (loopback)
        SET(CURLOPT_PROXY, "");
    if (c->conf->aws_ca_bundle != NULL) {
        SET(CURLOPT_CAINFO, c->conf->aws_ca_bundle);
        /* In place of the system's authorities, not besides them. */
        SET(CURLOPT_CAPATH, NULL);
    }
    free(sigv4);
    return e;
}

/* Makes the handle when it is first needed. */
static enum result open_handle(struct aws_client *c)
{
    if (c->curl != NULL)
        return RESULT_OK;
    const char *reason;
    if (aws_config_check_region(c->conf, &reason) != RESULT_OK)
        return fail(c, RESULT_DENIED, "%s", reason);
    char *url = aws_config_url(c->conf);
    bool loopback;
    if (!check_endpoint(url, &loopback)) {
        free(url);
        return fail(c, RESULT_DENIED,
                    "AWS_ENDPOINT_URL_DYNAMODB (or AWS_ENDPOINT_URL) is no "
                    "http or https URL of a host alone");
    }
    CURLcode code = init_libcurl();
    if (code == CURLE_OK)
        c->curl = curl_easy_init();
    if (c->curl != NULL)
        code = set_up(c, url, loopback);
    free(url);
    if (c->curl != NULL && code == CURLE_OK)
        return RESULT_OK;
    curl_easy_cleanup(c->curl);
    c->curl = NULL;
    return fail(c, RESULT_INTERNAL, "libcurl does not start: %s",
                curl_easy_strerror(code));
}

/* Appends "name: value"; false and no list when there is no memory. */
static bool add_header(struct curl_slist **list, const char *name,
                       const char *value)
{
    char *line = mem_printf("%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(*list, line);
    mem_free_secret(line);
    if (longer == NULL)
        return false;
    *list = longer;
    return true;
}

/* The headers of one request; NULL when there is no memory. */
static struct curl_slist *make_headers(const char *action, const char *token)
{
    struct curl_slist *list = NULL;
    char *target = mem_printf("DynamoDB_20120810.%s", action);
    bool ok =
        add_header(&list, "Content-Type", "application/x-amz-json-1.0") &&
        add_header(&list, "X-Amz-Target", target) &&
        (token == NULL || add_header(&list, "X-Amz-Security-Token", token));
    free(target);
    if (ok)
        return list;
    curl_slist_free_all(list);
    return NULL;
}

/* ---- A call ---------------------------------------------------------- */

/* Reads the whole body as one JSON object; NULL if it is none. */
static json_object *parse(const struct buf *body, enum json_tokener_error *why)
{
    json_tokener *tokener = json_tokener_new_ex(NESTING_MAX);
    if (tokener == NULL) {
        *why = json_tokener_error_size;
        return NULL;
    }
    json_tokener_set_flags(tokener,
                           JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    json_object *json =
        json_tokener_parse_ex(tokener, body->data, (int)body->len);
    *why = json_tokener_get_error(tokener);
    json_tokener_free(tokener);
    if (json_object_is_type(json, json_type_object))
        return json;
    json_object_put(json);
    return NULL;
}

static enum result read_answer(struct aws_client *c, struct aws_answer *answer)
{
    long status = 0;
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    enum json_tokener_error why;
    json_object *json = parse(&c->received, &why);
    if (status != 200) {
        enum result r = refused(c, status, json, answer);
        json_object_put(json);
        return r;
    }
    if (json != NULL) {
        answer->body = json;
        return RESULT_OK;
    }
    answer->maybe_done = true;
    if (why == json_tokener_error_depth)
        return fail(c, RESULT_CORRUPT, "the item nests too deeply");
    return fail(c, RESULT_UNAVAILABLE, "an answer that is no JSON object");
}

/* Sets what differs from one request to the next. */
static CURLcode set_request(CURL *h, const char *text,
                            const struct aws_credentials *credentials,
                            const struct curl_slist *headers, int64_t left)
{
    CURLcode e = curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_USERNAME, credentials->access_key_id);
    SET(CURLOPT_PASSWORD, credentials->secret_access_key);
    SET(CURLOPT_POSTFIELDSIZE, (long)strlen(text));
    SET(CURLOPT_POSTFIELDS, text);
    SET(CURLOPT_TIMEOUT_MS, (long)left);
    return e;
}

/* Sends text once (but see may_repeat) and waits for the answer. */
static enum result attempt(struct aws_client *c,
                           const struct aws_request *request, const char *text,
                           const struct aws_credentials *credentials,
                           struct aws_answer *answer)
{
    int64_t left = request->deadline - clock_monotonic_ms();
    if (left <= 0)
        return fail(c, RESULT_UNAVAILABLE, "no time left within STORE_TIMEOUT");
    struct curl_slist *headers =
        make_headers(request->action, credentials->session_token);
    if (headers == NULL)
        return fail(c, RESULT_INTERNAL, "out of memory");

    buf_reset(&c->received);
    c->curl_error[0] = '\0';
    c->sends = 0;
    c->may_repeat = request->may_repeat;
    CURLcode code = set_request(c->curl, text, credentials, headers, left);
    if (code == CURLE_OK)
        code = curl_easy_perform(c->curl);
    answer->repeated = c->sends > 1;
    enum result r =
        code == CURLE_OK ? read_answer(c, answer) : broken(c, code, answer);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, NULL);
    curl_slist_free_all(headers);
    return r;
}

enum result aws_client_call(struct aws_client *c,
                            const struct aws_request *request,
                            struct aws_answer *answer)
{
    *answer = (struct aws_answer){.body = NULL};
    buf_reset(&c->error);
    c->action = request->action;
    enum result r = open_handle(c);
    if (r != RESULT_OK)
        return r;
    struct aws_credentials credentials;
    const char *reason;
    r = aws_config_credentials(c->conf, &credentials, &reason);
    if (r != RESULT_OK)
        return fail(c, r, "%s", reason);
    const char *text = json_object_to_json_string_ext(
        request->body, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    return attempt(c, request, text, &credentials, answer);
}
