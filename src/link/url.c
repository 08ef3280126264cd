#include "link/url.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/percent.h"
#include "base/utf8.h"
#include "link/host.h"

/* Room for a URL before normalising: a caller's body limit may be larger. Only
 * a host may shrink, by a third where it was percent-encoded. */
#define RAW_MAX (3 * URL_MAX)

/* Drops white space and invisible characters around the text, which come along
 * when a URL is copied (DESIGN: "Long URLs"). Refuses what is not UTF-8 or has
 * a control character inside: C0, DEL or C1. */
static const char *trim_blanks(const char **s, size_t *len)
{
    size_t begin = 0, end = 0;
    bool control = false;
    for (size_t pos = 0; pos < *len;) {
        const size_t start = pos;
        const uint32_t c = utf8_next(*s, *len, &pos);
        if (c == UTF8_BAD)
            return "is not valid UTF-8";
        control = control || c < 0x20 || (c >= 0x7f && c <= 0x9f);
        if (c == ' ' || (c >= '\t' && c <= '\r') || c == 0xa0 ||
            (c >= 0x200b && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
            c == 0x2060 || c == 0x3000 || c == 0xfeff) {
            if (end == 0)
                control = false;
            continue;
        }
        if (control)
            return "has a control character in it";
        if (end == 0)
            begin = start;
        end = pos;
    }
    *s += begin;
    *len = end - begin;
    return end == 0 ? "is empty" : NULL;
}

/* Reads what follows the host: nothing, or ':' and digits, perhaps none. port:
 * -1 without any. */
static bool read_port(const char *s, size_t len, long *port)
{
    *port = -1;
    if (len > 0 && s[0] != ':')
        return false;
    for (size_t i = 1; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        *port = (*port < 0 ? 0 : *port) * 10 + (s[i] - '0');
        if (*port > 65535)
            return false;
    }
    return *port != 0;
}

/* Appends path, query and fragment. Path and query become valid (RFC 3986,
 * sections 3.3 and 3.4): what is not allowed there is percent-encoded, also a
 * '%' without two digits; in the path a backslash becomes a slash. The fragment
 * stays in the browser, so it is encoded as browsers do, and no further: they
 * show it to the page undecoded. part: '/', or ':' for what follows the scheme
 * of a URL that need not have a path; brackets stay there, because it may have
 * an IPv6 address. */
static void add_rest(struct buf *out, const char *s, size_t len, char part)
{
    if (part == '/' && (len == 0 || (s[0] != '/' && s[0] != '\\')))
        buf_add_char(out, '/');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '\\' && part == '/')
            c = '/';
        if (part != '#' && (c == '?' || c == '#'))
            part = s[i];
        const char *unsafe = part == '#'   ? "\"<>`"
                             : part == ':' ? "\"<>\\^`{|}"
                                           : "\"<>[\\]^`{|}";
        if (c <= 0x20 || c >= 0x7f || strchr(unsafe, c) != NULL ||
            (c == '%' && part != '#' && !percent_is_encoded(s + i, len - i)))
            percent_encode(out, s + i, 1, "");
        else
            buf_add_char(out, (char)c);
    }
}

/* How many dots a path segment consists of, "%2e" counted as one; 0 if it has
 * anything else. */
static size_t count_dots(const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; n++) {
        if (s[i] == '.')
            i++;
        else if (len - i >= 3 && strncasecmp(s + i, "%2e", 3) == 0)
            i += 3;
        else
            return 0;
    }
    return n;
}

/* Appends the path of a normalised URL as curt gets it from a browser, which
 * removes "." and ".." segments (WHATWG URL standard, "path state"), and
 * decodes it once. path begins with '/'. */
static void add_decoded_path(struct buf *out, const char *path, size_t len)
{
    struct buf resolved;
    buf_init(&resolved, len);
    const char *end = path + len;
    for (const char *s = path; s < end;) {
        const char *next = memchr(s + 1, '/', (size_t)(end - s - 1));
        if (next == NULL)
            next = end;
        const size_t dots = count_dots(s + 1, (size_t)(next - s - 1));
        if (dots == 2) {
            const char *last = memrchr(resolved.data, '/', resolved.len);
            buf_truncate(&resolved,
                         last != NULL ? (size_t)(last - resolved.data) : 0);
        }
        if (dots != 1 && dots != 2)
            buf_add(&resolved, s, (size_t)(next - s));
        else if (next == end)
            buf_add_char(&resolved, '/');
        s = next;
    }
    percent_decode(out, resolved.data, resolved.len);
    buf_free(&resolved);
}

/* Appends the normalised form of an absolute http or https URL to out, and
 * takes it apart into *parts, if not NULL. A browser takes a backslash for a
 * slash, and any number of them after the scheme; here there are two. Returns
 * NULL, or why the URL is refused. */
static const char *read_url(const char *s, size_t len, struct buf *out,
                            struct url_app *parts)
{
    const char *const end = s + len;
    const bool https = len > 4 && (s[4] | 0x20) == 's';
    const size_t scheme_len = https ? 6 : 5;
    if (len < scheme_len + 2 ||
        strncasecmp(s, https ? "https:" : "http:", scheme_len) != 0 ||
        strchr("/\\", s[scheme_len]) == NULL ||
        strchr("/\\", s[scheme_len + 1]) == NULL)
        return "is not an absolute http or https URL";
    const char *const host = s + scheme_len + 2;
    const char *rest = host;
    while (rest < end && strchr("/\\?#", *rest) == NULL)
        rest++;
    const size_t authority_len = (size_t)(rest - host);
    if (memchr(host, '@', authority_len) != NULL)
        return "has user information in it (user@host)";
    if (authority_len == 0 || *host == ':')
        return "has no host";
    const bool bracket = *host == '[';
    const char *port = memchr(host, bracket ? ']' : ':', authority_len);
    port = port != NULL ? port + bracket : rest;

    long number;
    buf_add_str(out, https ? "https://" : "http://");
    const size_t host_at = out->len;
    const char *fault = host_normalise(host, (size_t)(port - host), out);
    if (!read_port(port, (size_t)(rest - port), &number))
        return "has a port that is not a number from 1 to 65535";
    if (fault != NULL)
        return fault;
    const size_t host_len = out->len - host_at;
    if (number >= 0)
        buf_addf(out, ":%ld", number);
    const size_t path_at = out->len;
    add_rest(out, rest, (size_t)(end - rest), '/');
    if (buf_failed(out) || out->len > URL_MAX)
        return "is longer than 8,000 bytes";
    if (parts != NULL) {
        const bool dot = out->data[host_at + host_len - 1] == '.';
        const bool standard = number < 0 || number == (https ? 443 : 80);
        struct buf path;
        buf_init(&path, URL_MAX);
        add_decoded_path(&path, out->data + path_at,
                         strcspn(out->data + path_at, "?#"));
        *parts = (struct url_app){
            .host = mem_dup_bytes(out->data + host_at, host_len - dot),
            .path = mem_dup_bytes(path.data, path.len),
            .path_len = path.len,
            .https = https,
            .port = standard ? 0 : (unsigned)number,
        };
        buf_free(&path);
    }
    return NULL;
}

/* The same for a URL that is not stored. False: it is refused, and *parts is
 * empty. */
static bool take_apart(const char *url, struct url_app *parts)
{
    struct buf text;
    buf_init(&text, URL_MAX);
    *parts = (struct url_app){0};
    const bool ok = read_url(url, strlen(url), &text, parts) == NULL;
    buf_free(&text);
    return ok;
}

static bool is_same_host(const struct url_app *a, const struct url_app *b)
{
    return strcmp(a->host, b->host) == 0 && a->port == b->port;
}

static bool is_below(const struct url_app *url, const struct url_app *app)
{
    return is_same_host(url, app) && url->path_len >= app->path_len &&
           memcmp(url->path, app->path, app->path_len) == 0;
}

bool url_list_has(const char *list, const char *word, size_t len)
{
    const char *s = list != NULL ? list : "";
    while (*(s += strspn(s, " \t,")) != '\0') {
        const size_t n = strcspn(s, " \t,");
        if (n == len && strncasecmp(s, word, len) == 0)
            return true;
        s += n;
    }
    return false;
}

/* Appends a URL whose scheme, of so many bytes, is neither http nor https. */
static const char *read_other_url(const char *s, size_t len, size_t scheme,
                                  struct buf *out)
{
    for (size_t i = 0; i < scheme; i++)
        buf_add_char(out,
                     s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] | 0x20) : s[i]);
    buf_add_char(out, ':');
    add_rest(out, s + scheme + 1, len - scheme - 1, ':');
    if (buf_failed(out) || out->len > URL_MAX)
        return "is longer than 8,000 bytes";
    return len == scheme + 1 ? "has nothing after its scheme" : NULL;
}

enum result url_normalise(const char *schemes, const char *in, size_t len,
                          const struct url_app *app, struct buf *out,
                          const char **reason)
{
    struct url_app parts = {0};
    *reason = trim_blanks(&in, &len);
    const char *colon = memchr(in, ':', len);
    const size_t scheme = colon != NULL ? (size_t)(colon - in) : 0;
    if (*reason == NULL && len > RAW_MAX)
        *reason = "is longer than 8,000 bytes";
    else if (*reason == NULL && url_list_has(schemes, in, scheme) &&
             !url_list_has("http https " URL_NEVER_SCHEMES, in, scheme))
        *reason = read_other_url(in, len, scheme, out);
    else if (*reason == NULL)
        *reason = read_url(in, len, out, app != NULL ? &parts : NULL);
    if (*reason == NULL && parts.host != NULL && is_below(&parts, app))
        *reason = "leads back to this shortener";
    url_app_free(&parts);
    return *reason == NULL ? RESULT_OK : RESULT_INVALID;
}

const char *url_host(const char *url, size_t *len)
{
    const char *host = strchr(url, ':') + 1;
    *len = 0;
    if (strncmp(host, "//", 2) != 0)
        return host;
    host += 2;
    const char *at = memrchr(host, '@', strcspn(host, "/?#"));
    host = at != NULL ? at + 1 : host;
    *len = strcspn(host, *host == '[' ? "]/?#" : ":/?#");
    *len += host[*len] == ']';
    return host;
}

bool url_app_rest(const char *url, const struct url_app *app, struct buf *rest)
{
    struct url_app parts;
    const bool below = take_apart(url, &parts) && is_below(&parts, app);
    if (below && rest != NULL)
        buf_add(rest, parts.path + app->path_len,
                parts.path_len - app->path_len);
    url_app_free(&parts);
    return below;
}

const char *url_path(const char *url)
{
    return strchr(strstr(url, "://") + 3, '/');
}

bool url_is_origin(const char *origin, const struct url_app *app)
{
    struct url_app parts;
    const bool same = take_apart(origin, &parts) && is_same_host(&parts, app) &&
                      parts.https == app->https;
    url_app_free(&parts);
    return same;
}

/* Why a URL that normalises to url cannot be APP_URL, or NULL. */
static const char *find_app_fault(const char *app_url, const struct buf *url)
{
    size_t len = strlen(app_url);
    if (strpbrk(app_url, "?#") != NULL)
        return "must not have a '?' or '#'";
    if (strstr(url_path(url->data), "//") != NULL)
        return "must not have '//' in its path";
    if (app_url[len - 1] != '/')
        return "must end with '/', because ids are put right after it";
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
    enum result r =
        url_normalise(NULL, app_url, strlen(app_url), NULL, &url, reason);
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
