#include "http/fcgi_record.h"

#include <string.h>

/* Longest content of a record outside of the streams, in bytes. */
#define CONTROL_MAX 1024

/* Largest record of standard output: content of a multiple of 8 bytes. */
#define STDOUT_MAX 65528

/* What a buffer keeps between two requests, in bytes. */
#define SPARE_MAX 8192

/* FCGI_BEGIN_REQUEST: size of its content, and the only flag (section 5.1). */
#define BEGIN_SIZE 8
#define KEEP_CONN  1

/* protocolStatus of FCGI_END_REQUEST (section 5.5). */
enum { REQUEST_COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE };

void fcgi_reader_init(struct fcgi_reader *r)
{
    memset(r, 0, sizeof(*r));
    buf_init(&r->params, FCGI_PARAMS_MAX);
    buf_init(&r->body, 0);
    buf_init(&r->out, FCGI_OUT_MAX);
    buf_init(&r->control, CONTROL_MAX);
}

void fcgi_reader_free(struct fcgi_reader *r)
{
    buf_free(&r->params);
    buf_free(&r->body);
    buf_free(&r->out);
    buf_free(&r->control);
}

static void reader_trim(struct buf *b)
{
    if (b->cap > SPARE_MAX)
        buf_free(b);
    buf_reset(b);
}

void fcgi_reader_next(struct fcgi_reader *r)
{
    r->state = FCGI_NONE;
    r->discard = false;
    reader_trim(&r->params);
    reader_trim(&r->body);
    if (r->out.len == 0)
        reader_trim(&r->out);
}

size_t fcgi_reader_memory(const struct fcgi_reader *r)
{
    return r->params.cap + r->body.cap + r->out.cap + r->control.cap;
}

/* ---- Reading ---------------------------------------------------------- */

static unsigned reader_id(const struct fcgi_reader *r)
{
    return (unsigned)(r->header[2] << 8 | r->header[3]);
}

static void reader_add_end(struct fcgi_reader *r, unsigned id, int status)
{
    const char content[8] = {0, 0, 0, 0, (char)status};
    fcgi_add_record(&r->out, FCGI_END_REQUEST, id, content, sizeof(content));
}

/* The header is there: decides where the content goes. */
static bool begin_record(struct fcgi_reader *r)
{
    const int type = r->header[1];
    const unsigned id = reader_id(r);
    r->content = (size_t)(r->header[4] << 8 | r->header[5]);
    r->padding = r->header[6];
    r->sink = NULL;
    if (r->header[0] != FCGI_VERSION)
        return false;
    if (id == 0 || type == FCGI_BEGIN_REQUEST) {
        buf_reset(&r->control);
        r->sink = &r->control;
    } else if (id == r->id && r->state != FCGI_NONE) {
        if (type == FCGI_PARAMS)
            r->sink = &r->params;
        else if (type == FCGI_STDIN && !r->discard)
            r->sink = &r->body;
        /* The streams come one after the other (section 6.1). */
        return (type != FCGI_PARAMS || r->state == FCGI_IN_PARAMS) &&
               (type != FCGI_STDIN || r->state == FCGI_IN_BODY);
    }
    return true;
}

/* A management record (section 4). */
static enum fcgi_event end_management(struct fcgi_reader *r)
{
    static const char name[] = "FCGI_MPXS_CONNS";
    static const char no_mpxs[] = "\x0f\x01"
                                  "FCGI_MPXS_CONNS0";
    const char unknown[8] = {(char)r->header[1]};
    const char *data = r->control.data;
    size_t len = r->control.len, result = 0;
    struct fcgi_pair pair;
    if (r->header[1] != FCGI_GET_VALUES) {
        fcgi_add_record(&r->out, FCGI_UNKNOWN_TYPE, 0, unknown,
                        sizeof(unknown));
        return FCGI_MORE;
    }
    while (fcgi_next_pair(&data, &len, &pair))
        if (pair.name_len == strlen(name) &&
            memcmp(pair.name, name, strlen(name)) == 0)
            result = strlen(no_mpxs);
    fcgi_add_record(&r->out, FCGI_GET_VALUES_RESULT, 0, no_mpxs, result);
    return len == 0 ? FCGI_MORE : FCGI_BROKEN;
}

static enum fcgi_event end_begin(struct fcgi_reader *r)
{
    const unsigned char *content = (const unsigned char *)r->control.data;
    const unsigned id = reader_id(r);
    if (r->control.len != BEGIN_SIZE)
        return FCGI_BROKEN;
    if (r->state != FCGI_NONE) {
        reader_add_end(r, id, CANT_MPX_CONN);
        return id == r->id ? FCGI_BROKEN : FCGI_MORE;
    }
    r->id = (uint16_t)id;
    r->keep = (content[2] & KEEP_CONN) != 0;
    if ((content[0] << 8 | content[1]) != FCGI_RESPONDER) {
        reader_add_end(r, id, UNKNOWN_ROLE);
        r->state = FCGI_WHOLE;
        return FCGI_ABORTED;
    }
    r->state = FCGI_IN_PARAMS;
    return FCGI_MORE;
}

/* A record is complete, its padding too. */
static enum fcgi_event end_record(struct fcgi_reader *r)
{
    const int type = r->header[1];
    const bool empty = r->header[4] == 0 && r->header[5] == 0;
    if (reader_id(r) == 0)
        return end_management(r);
    if (type == FCGI_BEGIN_REQUEST)
        return end_begin(r);
    if (reader_id(r) != r->id || r->state == FCGI_NONE)
        return FCGI_MORE; /* of a request that is over (section 3.3) */
    if (type == FCGI_ABORT_REQUEST) {
        r->state = FCGI_WHOLE;
        if (r->discard)
            return FCGI_END; /* it is answered whatever its body is */
        reader_add_end(r, r->id, REQUEST_COMPLETE);
        return FCGI_ABORTED;
    }
    if (type == FCGI_PARAMS && empty) {
        r->state = FCGI_IN_BODY;
        return FCGI_HEAD;
    }
    if (type == FCGI_STDIN && empty) {
        r->state = FCGI_WHOLE;
        return FCGI_END;
    }
    return FCGI_MORE;
}

/* Takes what there is of the part that is next: header, content, padding.
 * False: the record is refused. */
static bool read_part(struct fcgi_reader *r, const char *data, size_t *n)
{
    size_t *missing = r->content > 0 ? &r->content : &r->padding;
    if (r->header_len < FCGI_HEADER) {
        if (*n > FCGI_HEADER - r->header_len)
            *n = FCGI_HEADER - r->header_len;
        memcpy(r->header + r->header_len, data, *n);
        r->header_len += *n;
        return r->header_len < FCGI_HEADER || begin_record(r);
    }
    if (*n > *missing)
        *n = *missing;
    if (missing == &r->content && r->sink != NULL)
        buf_add(r->sink, data, *n);
    *missing -= *n;
    return r->sink == NULL || r->sink == &r->body || !buf_failed(r->sink);
}

enum fcgi_event fcgi_read(struct fcgi_reader *r, const char **data, size_t *len)
{
    while (*len > 0) {
        size_t n = *len;
        if (!read_part(r, *data, &n))
            return FCGI_BROKEN;
        *data += n;
        *len -= n;
        if (r->header_len < FCGI_HEADER || r->content + r->padding > 0)
            continue;
        r->header_len = 0;
        enum fcgi_event event = end_record(r);
        if (event != FCGI_MORE)
            return event;
    }
    return FCGI_MORE;
}

/* One byte, or four with the highest bit set. */
static bool take_length(const char **data, size_t *len, size_t *value)
{
    const unsigned char *p = (const unsigned char *)*data;
    const size_t size = *len > 0 && p[0] > 127 ? 4 : 1;
    if (*len < size)
        return false;
    *value = size == 1 ? p[0]
                       : (size_t)(p[0] & 0x7f) << 24 | (size_t)p[1] << 16 |
                             (size_t)p[2] << 8 | p[3];
    *data += size;
    *len -= size;
    return true;
}

bool fcgi_next_pair(const char **data, size_t *len, struct fcgi_pair *pair)
{
    const char *at = *data;
    size_t left = *len;
    if (!take_length(&at, &left, &pair->name_len) ||
        !take_length(&at, &left, &pair->value_len) || pair->name_len > left ||
        pair->value_len > left - pair->name_len)
        return false;
    pair->name = at;
    pair->value = at + pair->name_len;
    *data = pair->value + pair->value_len;
    *len = left - pair->name_len - pair->value_len;
    return true;
}

/* ---- Writing ---------------------------------------------------------- */

void fcgi_add_record(struct buf *out, int type, unsigned id,
                     const void *content, size_t len)
{
    const char header[FCGI_HEADER] = {
        FCGI_VERSION,      (char)type,       (char)(id >> 8 & 0xff),
        (char)(id & 0xff), (char)(len >> 8), (char)(len & 0xff),
    };
    buf_add(out, header, sizeof(header));
    buf_add(out, content, len);
}

void fcgi_add_answer(struct buf *out, unsigned id, const char *content,
                     size_t len)
{
    static const char end[8] = {0};
    while (len > 0) {
        const size_t n = len < STDOUT_MAX ? len : STDOUT_MAX;
        fcgi_add_record(out, FCGI_STDOUT, id, content, n);
        content += n;
        len -= n;
    }
    fcgi_add_record(out, FCGI_STDOUT, id, NULL, 0);
    fcgi_add_record(out, FCGI_END_REQUEST, id, end, sizeof(end));
}
