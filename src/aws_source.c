/*
 * What the sources of credentials have in common: taking keys over, and
 * reading the documents, moments and files that they are written in.
 */
#include "aws_source.h"

#include <errno.h>
#include <fcntl.h>
#include <json.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "mem.h"

/* The largest document of credentials, in bytes. A session token has about a
 * thousand. */
#define DOCUMENT_MAX (1u << 20)

/* The longest code of a failure that is shown, in bytes. */
#define NAME_MAX_SHOWN 64

void aws_found_free(struct aws_found *found)
{
    mem_free_secret(found->id);
    mem_free_secret(found->secret);
    mem_free_secret(found->token);
    free(found->where);
    *found = (struct aws_found){0};
}

static bool is_empty(const char *s)
{
    return s == NULL || s[0] == '\0';
}

/* Whether s can stand in a header and in a signature. */
static bool is_plain(const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s <= ' ' || *s >= 0x7f)
            return false;
    }
    return true;
}

enum result aws_found_take(struct aws_found *out, const struct aws_keys *keys,
                           int64_t expires, const char *what,
                           struct buf *reason)
{
    const char *token = is_empty(keys->token) ? NULL : keys->token;
    const char *fault = NULL;
    *out = (struct aws_found){0};
    if (is_empty(keys->id))
        fault = "has no access key id";
    else if (is_empty(keys->secret))
        fault = "has no secret access key";
    else if (!is_plain(keys->id))
        fault = "has a character in its access key id that no key id has";
    else if (!is_plain(keys->secret))
        fault = "has a character in its secret access key that no key has";
    else if (token != NULL && !is_plain(token))
        fault = "has a character in its session token that no token has";
    if (fault != NULL) {
        buf_addf(reason, "%s %s", what, fault);
        return RESULT_DENIED;
    }
    *out = (struct aws_found){
        .id = mem_dup(keys->id),
        .secret = mem_dup(keys->secret),
        .token = mem_dup(token),
        .expires = expires,
        .where = mem_dup(what),
    };
    return RESULT_OK;
}

/* ---- JSON -------------------------------------------------------------- */

/* Fills the tokener's buffer with len bytes that are no secret. It grows to
 * its largest size before the secrets come, so that no copy of them is left
 * behind in memory that it grew out of, and is overwritten after them. */
static void blank_tokener(json_tokener *tokener, size_t len)
{
    char *blank = mem_alloc(len + 2);
    memset(blank, 'x', len + 2);
    blank[0] = '"';
    blank[len + 1] = '"';
    json_tokener_reset(tokener);
    json_object_put(json_tokener_parse_ex(tokener, blank, (int)len + 2));
    json_tokener_reset(tokener);
    free(blank);
}

/* The one JSON value that text is; NULL if it is none, or null. */
static json_object *parse(const char *text, size_t len)
{
    if (len > DOCUMENT_MAX)
        return NULL;
    json_tokener *tokener = json_tokener_new();
    if (tokener == NULL)
        return NULL;
    blank_tokener(tokener, len);
    json_tokener_set_flags(tokener,
                           JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    json_object *value = json_tokener_parse_ex(tokener, text, (int)len);
    if (json_tokener_get_error(tokener) != json_tokener_success ||
        json_tokener_get_parse_end(tokener) != len) {
        json_object_put(value);
        value = NULL;
    }
    json_tokener_set_flags(tokener, 0);
    blank_tokener(tokener, len);
    json_tokener_free(tokener);
    return value;
}

/* Overwrites the strings in value, which json-c frees as they are. */
static void wipe_strings(json_object *value)
{
    if (json_object_is_type(value, json_type_string)) {
        const char *text = json_object_get_string(value);
        mem_wipe((char *)(uintptr_t)text,
                 (size_t)json_object_get_string_len(value));
    } else if (json_object_is_type(value, json_type_object)) {
        json_object_object_foreach(value, name, member)
        {
            (void)name;
            wipe_strings(member);
        }
    } else if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++)
            wipe_strings(json_object_array_get_idx(value, i));
    }
}

/* The string member of that name, in any case: not all services write it as
 * AWS does. NULL: there is none, or it is no string, or has a NUL in it. */
static const char *member(json_object *document, const char *wanted)
{
    json_object_object_foreach(document, name, value)
    {
        if (strcasecmp(name, wanted) != 0 ||
            !json_object_is_type(value, json_type_string))
            continue;
        const char *text = json_object_get_string(value);
        if (strlen(text) == (size_t)json_object_get_string_len(value))
            return text;
    }
    return NULL;
}

/* Whether there is a member of that name with a value that is not null. */
static bool has_member(json_object *document, const char *wanted)
{
    json_object_object_foreach(document, name, value)
    {
        if (strcasecmp(name, wanted) == 0 && value != NULL)
            return true;
    }
    return false;
}

/* Whether a service's own word can be shown: letters and nothing else. What it
 * says besides may repeat what it was asked with, tokens included. */
static bool is_name(const char *s)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz";
    size_t len = strspn(s, allowed);
    return len > 0 && len <= NAME_MAX_SHOWN && s[len] == '\0';
}

/* A service that has no keys may say so in a document: Code, Message. */
static bool is_refusal(json_object *document, const char *what,
                       struct buf *reason)
{
    const char *code = member(document, "Code");
    if (code == NULL || strcasecmp(code, "Success") == 0)
        return false;
    if (is_name(code))
        buf_addf(reason, "%s answers with the code %s", what, code);
    else
        buf_addf(reason, "%s answers with a failure", what);
    return true;
}

static enum result take_document(struct aws_found *out, json_object *document,
                                 const char *what, struct buf *reason)
{
    if (is_refusal(document, what, reason))
        return RESULT_DENIED;
    int64_t expires = 0;
    if (has_member(document, "Expiration")) {
        const char *text = member(document, "Expiration");
        if (text == NULL || !aws_found_read_time(text, &expires)) {
            buf_addf(reason, "%s has an Expiration that is no RFC 3339 time",
                     what);
            return RESULT_DENIED;
        }
        if (expires <= 0)
            expires = 1; /* long ago; 0 would mean never */
    }
    const char *token = member(document, "SessionToken");
    struct aws_keys keys = {
        .id = member(document, "AccessKeyId"),
        .secret = member(document, "SecretAccessKey"),
        .token = token != NULL ? token : member(document, "Token"),
    };
    return aws_found_take(out, &keys, expires, what, reason);
}

/* version: what the document's Version has to be; 0: it needs none. */
static bool has_version(json_object *document, int version)
{
    bool same = version == 0;
    json_object_object_foreach(document, name, value)
    {
        if (version != 0 && strcasecmp(name, "Version") == 0)
            same = json_object_is_type(value, json_type_int) &&
                   json_object_get_int64(value) == version;
    }
    return same;
}

static enum result read_document(struct aws_found *out, const char *text,
                                 size_t len, int version, const char *what,
                                 struct buf *reason)
{
    enum result r = RESULT_DENIED;
    *out = (struct aws_found){0};
    json_object *document = parse(text, len);
    if (!json_object_is_type(document, json_type_object))
        buf_addf(reason, "%s is no JSON object", what);
    else if (!has_version(document, version))
        buf_addf(reason, "%s has no \"Version\": %d", what, version);
    else
        r = take_document(out, document, what, reason);
    wipe_strings(document);
    json_object_put(document);
    return r;
}

enum result aws_found_read_json(struct aws_found *out, const char *text,
                                size_t len, const char *what,
                                struct buf *reason)
{
    return read_document(out, text, len, 0, what, reason);
}

enum result aws_found_read_process(struct aws_found *out, const char *text,
                                   size_t len, const char *what,
                                   struct buf *reason)
{
    return read_document(out, text, len, 1, what, reason);
}

/* ---- Times ------------------------------------------------------------- */

/* Reads exactly count digits at *s as a number from min to max, and goes
 * behind them. */
static bool read_digits(const char **s, int count, int min, int max, int *out)
{
    int n = 0;
    for (int i = 0; i < count; i++, (*s)++) {
        if (**s < '0' || **s > '9')
            return false;
        n = n * 10 + (**s - '0');
    }
    *out = n;
    return n >= min && n <= max;
}

static bool read_char(const char **s, const char *any_of)
{
    if (**s == '\0' || strchr(any_of, **s) == NULL)
        return false;
    (*s)++;
    return true;
}

static bool skip_fraction(const char **s)
{
    if (**s != '.')
        return true;
    size_t digits = strspn(*s + 1, "0123456789");
    *s += digits + 1;
    return digits > 0;
}

/* Reads Z or +hh:mm as seconds. */
static bool read_offset(const char **s, int *seconds)
{
    int hours, minutes;
    *seconds = 0;
    if (read_char(s, "Zz"))
        return true;
    bool minus = **s == '-';
    if (!read_char(s, "+-") || !read_digits(s, 2, 0, 23, &hours) ||
        !read_char(s, ":") || !read_digits(s, 2, 0, 59, &minutes))
        return false;
    *seconds = (hours * 60 + minutes) * 60;
    if (minus)
        *seconds = -*seconds;
    return true;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
}

/* Days from 1970-01-01 to a day of the proleptic Gregorian calendar. */
static int64_t days_since_epoch(int year, int month, int day)
{
    int64_t before = year - 1;
    int64_t days = before * 365 + before / 4 - before / 100 + before / 400;
    for (int m = 1; m < month; m++)
        days += days_of_month(year, m);
    return days + day - 1 - 719162; /* 0001-01-01 to 1970-01-01 */
}

bool aws_found_read_time(const char *text, int64_t *out)
{
    int year, month, day, hour, minute, second, offset;
    const char *s = text;
    if (!read_digits(&s, 4, 1, 9999, &year) || !read_char(&s, "-") ||
        !read_digits(&s, 2, 1, 12, &month) || !read_char(&s, "-") ||
        !read_digits(&s, 2, 1, days_of_month(year, month), &day) ||
        !read_char(&s, "Tt ") || !read_digits(&s, 2, 0, 23, &hour) ||
        !read_char(&s, ":") || !read_digits(&s, 2, 0, 59, &minute) ||
        !read_char(&s, ":") || !read_digits(&s, 2, 0, 60, &second) ||
        !skip_fraction(&s) || !read_offset(&s, &offset) || *s != '\0')
        return false;
    *out = days_since_epoch(year, month, day) * 86400 + hour * 3600 +
           minute * 60 + second - offset;
    return true;
}

/* ---- Files ------------------------------------------------------------- */

/* Reads until the end or until size bytes are there; -1 and errno if that
 * fails. */
static ssize_t read_all(int fd, char *bytes, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, bytes + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

/* Makes a string of len bytes without the white space at their end; NULL and
 * errno if they are none. */
static char *trimmed_copy(const char *bytes, size_t len, size_t max)
{
    if (len > max) {
        errno = E2BIG;
        return NULL;
    }
    if (memchr(bytes, '\0', len) != NULL) {
        errno = EILSEQ;
        return NULL;
    }
    while (len > 0 && strchr(" \t\r\n", bytes[len - 1]) != NULL)
        len--;
    return mem_dup_bytes(bytes, len);
}

char *aws_found_read_file(const char *path, size_t max)
{
    /* Without waiting for who may write into a FIFO. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return NULL;
    char *bytes = mem_alloc(max + 1);
    ssize_t len = read_all(fd, bytes, max + 1);
    char *copy = len >= 0 ? trimmed_copy(bytes, (size_t)len, max) : NULL;
    int reason = errno;
    mem_wipe(bytes, len > 0 ? (size_t)len : 0);
    free(bytes);
    close(fd);
    errno = reason;
    return copy;
}
