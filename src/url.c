#include "url.h"

#include <curl/curl.h>
#include <locale.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mem.h"
#include "query.h"
#include "utf8.h"

/* Room for a URL before normalising: a caller's body limit may be larger, but
 * nothing shrinks by more than the white space around it. */
#define RAW_MAX (3 * URL_MAX)

/* Where the parts of a URL are: scheme "://" authority rest. */
struct parts {
    size_t authority;
    size_t rest;
    size_t end;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void trim(const char **s, size_t *len)
{
    while (*len > 0 && is_space(**s)) {
        (*s)++;
        (*len)--;
    }
    while (*len > 0 && is_space((*s)[*len - 1]))
        (*len)--;
}

/* Refuses what is no UTF-8 or has a control character: C0, DEL or C1. */
static const char *find_bad_text(const char *s, size_t len)
{
    for (size_t pos = 0; pos < len;) {
        uint32_t c = utf8_next(s, len, &pos);
        if (c == UTF8_BAD)
            return "is not valid UTF-8";
        if (c < 0x20 || (c >= 0x7f && c <= 0x9f))
            return "has a control character in it";
    }
    return NULL;
}

/* Finds the parts of an absolute http or https URL. libcurl is lenient where
 * this is not: it takes http:/x and http:///x for http://x/. */
static const char *find_parts(const char *s, size_t len, struct parts *p)
{
    static const char *const schemes[] = {"http://", "https://"};
    p->authority = 0;
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(schemes[i]);
        if (len >= n && strncasecmp(s, schemes[i], n) == 0)
            p->authority = n;
    }
    if (p->authority == 0)
        return "is not an absolute http or https URL";
    p->end = len;
    p->rest = p->authority;
    while (p->rest < len && strchr("/?#", s[p->rest]) == NULL)
        p->rest++;
    if (p->rest == p->authority || s[p->authority] == ':')
        return "has no host";
    if (memchr(s + p->authority, '@', p->rest - p->authority) != NULL)
        return "has user information in it (user@host)";
    return NULL;
}

/* The characters of a host name, after punycode: what IDNA maps can become
 * '/', '@' or ':' on the way, so libcurl's own check comes too early. */
static bool is_host(const char *host)
{
    if (host[0] == '[')
        return host[1 + strspn(host + 1, "0123456789abcdef:.")] == ']';
    return host[0] != '\0' && host[0] != '.' &&
           host[strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-._")] ==
               '\0';
}

/* curl_url_get with punycode. libidn2 takes the encoding of its input from
 * the locale, and ours is UTF-8 whatever LANG says. */
static CURLUcode get_host(CURLU *parsed, char **host)
{
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (utf8 == (locale_t)0)
        return curl_url_get(parsed, CURLUPART_HOST, host, CURLU_PUNYCODE);
    locale_t before = uselocale(utf8);
    CURLUcode rc = curl_url_get(parsed, CURLUPART_HOST, host, CURLU_PUNYCODE);
    uselocale(before);
    freelocale(utf8);
    return rc;
}

/* Whether an origin says what it means: ASCII, and nothing encoded. */
static bool is_plain(const char *origin)
{
    while (*origin > 0x20 && *origin < 0x7f && *origin != '%')
        origin++;
    return *origin == '\0';
}

/* Does one turn of what read_authority() says. */
static const char *parse_authority(const char *origin, char **host, char **port)
{
    *host = NULL;
    *port = NULL;
    char *zone = NULL;
    const char *reason = "has no usable host or port";
    CURLU *parsed = curl_url();
    if (parsed == NULL ||
        curl_url_set(parsed, CURLUPART_URL, origin, CURLU_DISALLOW_USER) != 0)
        goto done;
    if (curl_url_get(parsed, CURLUPART_ZONEID, &zone, 0) == CURLUE_OK) {
        reason = "has an IPv6 zone in its host";
        goto done;
    }
    char *found = NULL;
    if (get_host(parsed, &found) != CURLUE_OK) {
        /* libcurl leaves the name there when IDNA refuses it. */
        curl_free(found);
        reason = "has a host that is no valid domain name";
        goto done;
    }
    for (char *c = found; *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    if (is_host(found)) {
        reason = NULL;
        *host = mem_dup(found);
        char *text = NULL;
        if (curl_url_get(parsed, CURLUPART_PORT, &text, 0) == CURLUE_OK)
            *port = mem_dup(text);
        curl_free(text);
    }
    curl_free(found);
done:
    curl_free(zone);
    curl_url_cleanup(parsed);
    return reason;
}

/* Reads host (lower case; the caller frees it) and port, as text or NULL, of
 * scheme://authority. Returns why it cannot, or NULL. What a host decodes or
 * maps to can be an address, which libcurl sees only when it is asked again. */
static const char *read_authority(const char *origin, char **host, char **port)
{
    const char *reason = parse_authority(origin, host, port);
    if (reason != NULL || is_plain(origin))
        return reason;
    char *mapped = mem_printf("http://%s%s%s", *host, *port != NULL ? ":" : "",
                              *port != NULL ? *port : "");
    free(*host);
    free(*port);
    reason = parse_authority(mapped, host, port);
    free(mapped);
    return reason;
}

/* Appends path, query and fragment: spaces and non-ASCII percent-encoded,
 * everything else as it came. */
static void add_rest(struct buf *out, const char *s, size_t len)
{
    if (len == 0 || s[0] != '/')
        buf_add_char(out, '/');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == ' ' || c >= 0x80)
            query_percent_encode(out, c);
        else
            buf_add_char(out, s[i]);
    }
}

enum result url_normalise(const char *in, size_t len, struct buf *out,
                          const char **reason)
{
    trim(&in, &len);
    struct parts parts;
    *reason = len == 0        ? "is empty"
              : len > RAW_MAX ? "is longer than 8,000 bytes"
                              : find_bad_text(in, len);
    if (*reason == NULL)
        *reason = find_parts(in, len, &parts);
    if (*reason != NULL)
        return RESULT_INVALID;

    char *origin = mem_dup_bytes(in, parts.rest);
    char *host, *port;
    *reason = read_authority(origin, &host, &port);
    if (*reason == NULL) {
        bool https = (in[4] | 0x20) == 's';
        buf_addf(out, "%s://%s", https ? "https" : "http", host);
        if (port != NULL)
            buf_addf(out, ":%s", port);
        add_rest(out, in + parts.rest, parts.end - parts.rest);
        if (buf_failed(out) || out->len > URL_MAX)
            *reason = "is longer than 8,000 bytes";
    }
    free(origin);
    free(host);
    free(port);
    return *reason == NULL ? RESULT_OK : RESULT_INVALID;
}

/* Removes "." and ".." segments (RFC 3986, section 5.2.4), in place; path
 * begins with '/'. */
static void remove_dot_segments(struct buf *path)
{
    struct buf out;
    buf_init(&out, path->len);
    const char *end = path->data + path->len;
    for (const char *s = path->data; s < end;) {
        const char *next = memchr(s + 1, '/', (size_t)(end - s - 1));
        if (next == NULL)
            next = end;
        size_t len = (size_t)(next - s);
        bool dot = len == 2 && s[1] == '.';
        bool dots = len == 3 && s[1] == '.' && s[2] == '.';
        if (dots) {
            const char *last = memrchr(out.data, '/', out.len);
            buf_truncate(&out, last != NULL ? (size_t)(last - out.data) : 0);
        }
        if (!dot && !dots)
            buf_add(&out, s, len);
        else if (next == end)
            buf_add_char(&out, '/');
        s = next;
    }
    buf_free(path);
    *path = out;
}

/* The path of a normalised URL as a browser asks for it and curt routes it:
 * browsers take '\\' for '/' (WHATWG URL standard, "path state"). */
static void decode_path(const char *rest, struct buf *path)
{
    query_percent_decode(path, rest, strcspn(rest, "?#"));
    for (size_t i = 0; i < path->len; i++)
        if (path->data[i] == '\\')
            path->data[i] = '/';
    remove_dot_segments(path);
}

static void drop_trailing_dot(char *host)
{
    size_t len = strlen(host);
    if (len > 1 && host[len - 1] == '.')
        host[len - 1] = '\0';
}

static unsigned read_port(const char *text, bool https)
{
    unsigned long port = text != NULL ? strtoul(text, NULL, 10) : 0;
    return port == (https ? 443 : 80) ? 0 : (unsigned)port;
}

/* Takes a normalised URL apart as url_app has it. False if it is none. */
static bool take_apart(const char *url, struct url_app *out)
{
    struct parts parts;
    if (find_parts(url, strlen(url), &parts) != NULL)
        return false;
    char *origin = mem_dup_bytes(url, parts.rest);
    char *port;
    bool ok = read_authority(origin, &out->host, &port) == NULL;
    free(origin);
    if (ok) {
        drop_trailing_dot(out->host);
        out->port = read_port(port, url[4] == 's');
        struct buf path;
        buf_init(&path, URL_MAX);
        decode_path(url + parts.rest, &path);
        out->path = mem_dup_bytes(path.data, path.len);
        out->path_len = path.len;
        buf_free(&path);
    }
    free(port);
    return ok;
}

bool url_is_loop(const char *url, const struct url_app *app)
{
    struct url_app target = {0};
    bool loop = take_apart(url, &target) &&
                strcmp(target.host, app->host) == 0 &&
                target.port == app->port && target.path_len >= app->path_len &&
                memcmp(target.path, app->path, app->path_len) == 0;
    url_app_free(&target);
    return loop;
}

/* Why a URL that normalises to url cannot be APP_URL, or NULL. */
static const char *find_app_fault(const char *app_url, const struct buf *url)
{
    size_t len = strlen(app_url);
    if (strpbrk(app_url, "?#") != NULL)
        return "must not have a '?' or '#'";
    if (app_url[len - 1] != '/')
        return "must end with '/', because ids are put right behind it";
    if (strcasecmp(url->data, app_url) != 0)
        return "must be plain ASCII, without spaces and default parts: the "
               "host in punycode, the path percent-encoded";
    if (url->len > URL_MAX / 8)
        return "is longer than 1,000 bytes";
    return NULL;
}

enum result url_app_parse(const char *app_url, struct url_app *out,
                          const char **reason)
{
    *out = (struct url_app){0};
    struct buf url;
    buf_init(&url, URL_MAX);
    enum result r = url_normalise(app_url, strlen(app_url), &url, reason);
    if (r == RESULT_OK) {
        *reason = find_app_fault(app_url, &url);
        if (*reason == NULL && !take_apart(url.data, out))
            *reason = "is not an absolute http or https URL";
        if (*reason != NULL)
            r = RESULT_INVALID;
    }
    buf_free(&url);
    return r;
}

void url_app_free(struct url_app *app)
{
    free(app->host);
    free(app->path);
    *app = (struct url_app){0};
}

bool url_is_servable(const char *url)
{
    struct parts parts;
    size_t len = strlen(url);
    if (len > URL_MAX || find_parts(url, len, &parts) != NULL)
        return false;
    for (size_t i = 0; i < len; i++)
        if (url[i] <= 0x20 || url[i] > 0x7e)
            return false;
    return true;
}
