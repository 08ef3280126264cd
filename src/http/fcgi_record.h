/*
 * FastCGI records (specification 1.0,
 * https://fastcgi-archives.github.io/FastCGI_Specification.html), without a
 * socket: the bytes that a web server sends become a request, an answer becomes
 * bytes. One request at a time on a connection; the role is Responder.
 */
#ifndef CURT_FCGI_RECORD_H
#define CURT_FCGI_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Record types (section 8). */
enum {
    FCGI_BEGIN_REQUEST = 1,
    FCGI_ABORT_REQUEST,
    FCGI_END_REQUEST,
    FCGI_PARAMS,
    FCGI_STDIN,
    FCGI_STDOUT,
    FCGI_STDERR,
    FCGI_GET_VALUES = 9,
    FCGI_GET_VALUES_RESULT,
    FCGI_UNKNOWN_TYPE
};

#define FCGI_VERSION   1
#define FCGI_RESPONDER 1
#define FCGI_HEADER    8 /* bytes */

/* The longest that the parameters of a request, and what is to be sent on one
 * connection, may be together, in bytes. */
#define FCGI_PARAMS_MAX (1u << 21)
#define FCGI_OUT_MAX    (1u << 18)

/* How far the request of a connection has arrived. */
enum fcgi_state { FCGI_NONE, FCGI_IN_PARAMS, FCGI_IN_BODY, FCGI_WHOLE };

struct fcgi_reader {
    enum fcgi_state state;
    uint16_t id;
    bool keep;          /* FCGI_KEEP_CONN */
    bool discard;       /* set by the caller: the request can be answered,
                         * and what still comes of its body is dropped */
    struct buf params;  /* name-value pairs: fcgi_next_pair() */
    struct buf body;    /* its max is the caller's; longer: buf_failed() */
    struct buf out;     /* records for the web server; the caller sends them */
    struct buf control; /* content of a record outside of the streams */
    struct buf *sink;   /* where the record under way goes; NULL: nowhere */
    unsigned char header[FCGI_HEADER];
    size_t header_len; /* what is there of the header; 0: between two records */
    size_t content;    /* bytes that are still to come */
    size_t padding;
};

enum fcgi_event {
    FCGI_MORE,    /* all was read, and nothing is complete yet */
    FCGI_HEAD,    /* the parameters are complete */
    FCGI_END,     /* the request is whole; what follows belongs to another */
    FCGI_ABORTED, /* the request is over, and `out` has its end */
    FCGI_BROKEN   /* no FastCGI, or too long: the connection is useless */
};

void fcgi_reader_init(struct fcgi_reader *r);
void fcgi_reader_free(struct fcgi_reader *r);

/* Forgets the request, and all memory but a few KiB. What was read of the
 * next record and what is to be sent stay. */
void fcgi_reader_next(struct fcgi_reader *r);

/* Bytes of memory that the buffers have. */
size_t fcgi_reader_memory(const struct fcgi_reader *r);

/* Reads up to *len bytes from *data on, up to the first event, and moves both
 * on. Not to be called in the state FCGI_WHOLE. */
enum fcgi_event fcgi_read(struct fcgi_reader *r, const char **data,
                          size_t *len);

/* A name and its value; neither ends with a NUL. */
struct fcgi_pair {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

/* Takes the first pair off *data (section 3.4). False: no more pairs; *len is
 * not 0 then where the lengths are wrong. */
bool fcgi_next_pair(const char **data, size_t *len, struct fcgi_pair *pair);

/* Appends a record with up to 65,535 bytes of content. */
void fcgi_add_record(struct buf *out, int type, unsigned id,
                     const void *content, size_t len);

/* Appends the whole answer to a request: standard output and the end. */
void fcgi_add_answer(struct buf *out, unsigned id, const char *content,
                     size_t len);

#endif
