#include "aws/sign.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/percent.h"

#define HASH_SIZE 32 /* SHA-256 */
#define HEX_SIZE  (2 * HASH_SIZE + 1)

/* The largest canonical request: a session token has some kilobytes. */
#define CANONICAL_MAX (256u << 10)

/* The longest Authorization line: ids and names are short. */
#define AUTHORIZATION_MAX 4096

#define SECRET_PREFIX "AWS4"
#define ALGORITHM     "AWS4-HMAC-SHA256"

void aws_sign_date(int64_t t, char date[AWS_SIGN_DATE_SIZE])
{
    char text[CLOCK_TEXT_SIZE]; /* 2026-11-23T07:00:00 */
    clock_text(t, text);
    snprintf(date, AWS_SIGN_DATE_SIZE, "%.4s%.2s%.2sT%.2s%.2s%.2sZ", text,
             text + 5, text + 8, text + 11, text + 14, text + 17);
}

/* ---- Hashes ---------------------------------------------------------- */

static void write_hex(const unsigned char hash[HASH_SIZE], char hex[HEX_SIZE])
{
    for (size_t i = 0; i < HASH_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
}

static bool hash_hex(const char *text, size_t len, char hex[HEX_SIZE])
{
    unsigned char hash[HASH_SIZE];
    unsigned int size = 0;
    if (EVP_Digest(text, len, hash, &size, EVP_sha256(), NULL) != 1 ||
        size != HASH_SIZE)
        return false;
    write_hex(hash, hex);
    return true;
}

static bool sign_mac(const void *key, size_t key_len, const char *text,
                     unsigned char out[HASH_SIZE])
{
    unsigned int size = 0;
    return HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text,
                strlen(text), out, &size) != NULL &&
           size == HASH_SIZE;
}

/* ---- The canonical request ------------------------------------------- */

static int compare_lines(const void *a, const void *b)
{
    return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

/* lines are sorted; their names are appended to names, with ; between. */
static bool add_request(struct buf *out, const struct aws_sign_request *request,
                        const char *const *lines, struct buf *names)
{
    char body_hash[HEX_SIZE];
    if (!hash_hex(request->body, strlen(request->body), body_hash))
        return false;
    buf_addf(out, "%s\n", request->method);
    /* It is encoded already; all services but S3 want it encoded once more. */
    if (request->path[0] != '/')
        buf_add_char(out, '/');
    percent_encode(out, request->path, strlen(request->path), "/");
    buf_add_str(out, "\n\n"); /* no query */
    for (size_t i = 0; lines[i] != NULL; i++) {
        const char *c = lines[i];
        buf_add_str(names, i > 0 ? ";" : "");
        const size_t begin = names->len;
        for (; *c != ':' && *c != '\0'; c++)
            buf_add_char(names, (char)tolower((unsigned char)*c));
        buf_addf(out, "%s:%s\n", names->data + begin, c + strspn(c, ": "));
    }
    buf_addf(out, "\n%s\n%s", names->data, body_hash);
    return !buf_failed(out) && !buf_failed(names);
}

/* ---- The signature --------------------------------------------------- */

/* The signature of text, by a key for this day, region and service that is
 * derived from the secret. */
static bool sign_text(const struct aws_signing *signing, const char *day,
                      const char *text, char hex[HEX_SIZE])
{
    unsigned char key[HASH_SIZE], signature[HASH_SIZE];
    char *secret = mem_printf(SECRET_PREFIX "%s", signing->keys.secret);
    const bool ok = sign_mac(secret, strlen(secret), day, key) &&
                    sign_mac(key, HASH_SIZE, signing->region, key) &&
                    sign_mac(key, HASH_SIZE, signing->service, key) &&
                    sign_mac(key, HASH_SIZE, "aws4_request", key) &&
                    sign_mac(key, HASH_SIZE, text, signature);
    mem_free_secret(secret);
    explicit_bzero(key, sizeof(key));
    if (ok)
        write_hex(signature, hex);
    return ok;
}

enum result aws_sign(const struct aws_signing *signing,
                     const struct aws_sign_request *request, const char *date,
                     struct buf *out)
{
    const char *lines[HTTP_CLIENT_LINES_MAX + 1];
    size_t count = 0;
    do {
        if (count > HTTP_CLIENT_LINES_MAX)
            return RESULT_INTERNAL;
        lines[count] = request->lines[count];
    } while (lines[count++] != NULL);
    qsort(lines, count - 1, sizeof(lines[0]), compare_lines);

    char hash[HEX_SIZE], signature[HEX_SIZE];
    struct buf names;
    struct buf canonical; /* has the session token in it */
    buf_init(&names, AUTHORIZATION_MAX);
    buf_init(&canonical, CANONICAL_MAX);
    bool ok = add_request(&canonical, request, lines, &names) &&
              hash_hex(canonical.data, canonical.len, hash);
    buf_wipe(&canonical);

    char *day = mem_printf("%.8s", date);
    char *scope = mem_printf("%s/%s/%s/aws4_request", day, signing->region,
                             signing->service);
    char *text =
        mem_printf(ALGORITHM "\n%s\n%s\n%s", date, scope, ok ? hash : "");
    ok = ok && sign_text(signing, day, text, signature);
    if (ok) {
        buf_addf(out,
                 "Authorization: " ALGORITHM " Credential=%s/%s, "
                 "SignedHeaders=%s, Signature=%s",
                 signing->keys.id, scope, names.data, signature);
        ok = !buf_failed(out);
    }
    buf_free(&names);
    free(text);
    free(scope);
    free(day);
    return ok ? RESULT_OK : RESULT_INTERNAL;
}

enum result aws_sign_lines(const struct http_client_request *request,
                           struct http_client_lines *lines)
{
    const struct aws_signing *signing = request->signing;
    char date[AWS_SIGN_DATE_SIZE], *host, *path;
    if (signing == NULL)
        return RESULT_OK;
    if (!http_client_split(request->url, &host, &path))
        return RESULT_INVALID;
    aws_sign_date(clock_now() + signing->clock_offset, date);
    http_client_add_line(lines, mem_printf("Host: %s", host));
    http_client_add_line(lines, mem_printf("X-Amz-Date: %s", date));
    if (signing->keys.token != NULL)
        http_client_add_line(
            lines, mem_printf("X-Amz-Security-Token: %s", signing->keys.token));
    struct buf authorization;
    buf_init(&authorization, AUTHORIZATION_MAX);
    const struct aws_sign_request what = {
        .method = request->method,
        .path = path,
        .lines = (const char *const *)lines->all,
        .body = request->body != NULL ? request->body : ""};
    enum result r = aws_sign(signing, &what, date, &authorization);
    if (r == RESULT_OK)
        http_client_add_line(lines, mem_dup(authorization.data));
    buf_free(&authorization);
    free(host);
    free(path);
    return r;
}
