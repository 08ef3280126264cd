#include "aws_sign.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"

#define HASH_SIZE 32 /* SHA-256 */
#define HEX_SIZE  (2 * HASH_SIZE + 1)

/* The largest canonical request: a session token has some kilobytes. */
#define CANONICAL_MAX (256u << 10)

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

static bool hash_hex(const char *text, size_t len, char hex[HEX_SIZE])
{
    unsigned char hash[HASH_SIZE];
    unsigned int size = 0;
    if (EVP_Digest(text, len, hash, &size, EVP_sha256(), NULL) != 1 ||
        size != HASH_SIZE)
        return false;
    for (size_t i = 0; i < HASH_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    return true;
}

static bool sign_mac(const unsigned char *key, size_t key_len, const char *text,
                     unsigned char out[HASH_SIZE])
{
    unsigned int size = 0;
    return HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text,
                strlen(text), out, &size) != NULL &&
           size == HASH_SIZE;
}

/* ---- The canonical request ------------------------------------------- */

/* One header line, taken apart. */
struct header {
    const char *name;
    size_t name_len;
    const char *value; /* without white space around it */
    size_t value_len;
};

static int sign_compare(const void *a, const void *b)
{
    const struct header *x = a, *y = b;
    const size_t shorter =
        x->name_len < y->name_len ? x->name_len : y->name_len;
    for (size_t i = 0; i < shorter; i++) {
        int difference = tolower((unsigned char)x->name[i]) -
                         tolower((unsigned char)y->name[i]);
        if (difference != 0)
            return difference;
    }
    return x->name_len < y->name_len ? -1 : x->name_len > y->name_len;
}

static struct header sign_split(const char *line)
{
    struct header h = {.name = line, .name_len = strcspn(line, ":")};
    h.value = line + h.name_len;
    h.value += strspn(h.value, ": \t");
    h.value_len = strlen(h.value);
    while (h.value_len > 0 && strchr(" \t", h.value[h.value_len - 1]) != NULL)
        h.value_len--;
    return h;
}

static void add_name(struct buf *out, const struct header *h)
{
    for (size_t i = 0; i < h->name_len; i++)
        buf_add_char(out, (char)tolower((unsigned char)h->name[i]));
}

/* Runs of white space within a value count as one space. */
static void add_value(struct buf *out, const struct header *h)
{
    bool blank = false;
    for (size_t i = 0; i < h->value_len; i++) {
        const char c = h->value[i];
        const bool is_blank = c == ' ' || c == '\t';
        if (is_blank && !blank)
            buf_add_char(out, ' ');
        else if (!is_blank)
            buf_add_char(out, c);
        blank = is_blank;
    }
}

static void add_signed_names(struct buf *out, const struct header *headers,
                             size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_add_char(out, ';');
        add_name(out, &headers[i]);
    }
}

/* The path, which is encoded already, encoded once more, as all services but
 * S3 want it. */
static void add_path(struct buf *out, const char *path)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz0123456789-._~/";
    if (path[0] != '/')
        buf_add_char(out, '/');
    for (const char *p = path; *p != '\0'; p++) {
        if (strchr(plain, *p) != NULL)
            buf_add_char(out, *p);
        else
            buf_addf(out, "%%%02X", (unsigned char)*p);
    }
}

static bool add_request(struct buf *out, const struct aws_sign_request *request,
                        const struct header *headers, size_t count)
{
    char body_hash[HEX_SIZE];
    if (!hash_hex(request->body, strlen(request->body), body_hash))
        return false;
    buf_addf(out, "%s\n", request->method);
    add_path(out, request->path);
    buf_add_str(out, "\n\n"); /* no query */
    for (size_t i = 0; i < count; i++) {
        add_name(out, &headers[i]);
        buf_add_char(out, ':');
        add_value(out, &headers[i]);
        buf_add_char(out, '\n');
    }
    buf_add_char(out, '\n');
    add_signed_names(out, headers, count);
    buf_addf(out, "\n%s", body_hash);
    return !buf_failed(out);
}

/* ---- The signature --------------------------------------------------- */

/* The day's key for one region and service, from the secret. */
static bool derive_key(const struct aws_signing *signing, const char *day,
                       unsigned char key[HASH_SIZE])
{
    char *secret = mem_printf(SECRET_PREFIX "%s", signing->keys.secret);
    bool ok =
        sign_mac((const unsigned char *)secret, strlen(secret), day, key) &&
        sign_mac(key, HASH_SIZE, signing->region, key) &&
        sign_mac(key, HASH_SIZE, signing->service, key) &&
        sign_mac(key, HASH_SIZE, "aws4_request", key);
    mem_free_secret(secret);
    return ok;
}

static bool sign_text(const struct aws_signing *signing, const char *day,
                      const char *text, char hex[HEX_SIZE])
{
    unsigned char key[HASH_SIZE], signature[HASH_SIZE];
    bool ok = derive_key(signing, day, key) &&
              sign_mac(key, HASH_SIZE, text, signature);
    mem_wipe(key, sizeof(key));
    for (size_t i = 0; ok && i < HASH_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", signature[i]);
    return ok;
}

enum result aws_sign(const struct aws_signing *signing,
                     const struct aws_sign_request *request, const char *date,
                     struct buf *out)
{
    struct header headers[AWS_SIGN_LINES_MAX];
    size_t count = 0;
    for (; request->lines[count] != NULL; count++) {
        if (count == AWS_SIGN_LINES_MAX)
            return RESULT_INTERNAL;
        headers[count] = sign_split(request->lines[count]);
    }
    qsort(headers, count, sizeof(headers[0]), sign_compare);

    char hash[HEX_SIZE], signature[HEX_SIZE];
    struct buf canonical; /* has the session token in it */
    buf_init(&canonical, CANONICAL_MAX);
    bool ok = add_request(&canonical, request, headers, count) &&
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
                 "SignedHeaders=",
                 signing->keys.id, scope);
        add_signed_names(out, headers, count);
        buf_addf(out, ", Signature=%s", signature);
        ok = !buf_failed(out);
    }
    free(text);
    free(scope);
    free(day);
    return ok ? RESULT_OK : RESULT_INTERNAL;
}
