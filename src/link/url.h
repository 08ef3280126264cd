/*
 * URLs: APP_URL, and the policy for long URLs. They are read as browsers read
 * them (WHATWG URL standard, https://url.spec.whatwg.org/).
 */
#ifndef CURT_URL_H
#define CURT_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/result.h"

/* Longest long_url after normalising, in bytes. Apache httpd passes 8,179 in a
 * response header line. */
#define URL_MAX 8000

/* APP_URL taken apart. Strings are owned by it; url_app_free() releases. */
struct url_app {
    char *host; /* lower case, punycode, without a trailing dot */
    char *path; /* begins and ends with '/', percent-decoded once */
    size_t path_len;
    bool https;
    unsigned port; /* 0: the default of its scheme */
};

/* Takes APP_URL apart. RESULT_INVALID: it is not an http(s) URL that ids can
 * follow; *reason, static text, is why. */
enum result url_app_parse(const char *app_url, struct url_app *out,
                          const char **reason) MUST_CHECK;

void url_app_free(struct url_app *app);

/* The long_url as it is stored and sent, appended to out (which must allow
 * URL_MAX bytes): a browser that opens it gets where it would have got with the
 * original, and path and query are valid (RFC 3986). So blanks around it are
 * dropped, the host is normalised by host.h, and the rest keeps every byte that
 * may be there; what is percent-encoded already stays as it is. Applied to its
 * own result it changes nothing. in: len bytes, any. app: NULL, or a URL that
 * leads back to it is refused, as url_app_rest() has it. RESULT_INVALID:
 * refused, and *reason, static text that completes "long_url ...", is why.
 *
 * schemes: a list of words between blanks or commas, or NULL: schemes that are
 * accepted as well as http and https. What follows such a scheme is for the
 * program that opens it: its bytes stay, except that those that no URL has are
 * percent-encoded (WHATWG URL standard, "opaque path"). */
enum result url_normalise(const char *schemes, const char *in, size_t len,
                          const struct url_app *app, struct buf *out,
                          const char **reason) MUST_CHECK;

/* Schemes that are never accepted: they run a script, read a file, or have a
 * host that is not checked here (WHATWG URL standard, "special scheme"). */
#define URL_NEVER_SCHEMES "javascript data file vbscript blob about ftp ws wss"

/* Whether a list, words between blanks or commas, or NULL, has the word of len
 * bytes, in any case of letters. */
bool url_list_has(const char *list, const char *word, size_t len);

/* Where the host of a normalised URL begins, brackets included, and its length;
 * 0: the URL has no host. */
const char *url_host(const char *url, size_t *len);

/* Whether a URL leads back to curt: the host and port of APP_URL (either
 * scheme, default ports alike, trailing dot or not) and a path that begins with
 * that of APP_URL. What follows APP_URL in it is appended to rest (or NULL):
 * decoded once, without query and fragment. */
bool url_app_rest(const char *url, const struct url_app *app, struct buf *rest);

/* The path of a normalised URL and what follows it, as they are. */
const char *url_path(const char *url);

/* Whether origin, the value of a request's Origin field (RFC 6454), is that of
 * APP_URL: the same scheme, host and port. */
bool url_is_origin(const char *origin, const struct url_app *app);

#endif
