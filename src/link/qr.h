/*
 * QR codes (ISO/IEC 18004) of short URLs, by libqrencode: images of them, and
 * drawings for a terminal.
 */
#ifndef CURT_QR_H
#define CURT_QR_H

#include <stdbool.h>

#include "base/buf.h"

#define QR_MAX (1u << 20) /* bytes of a code; an image has at most 128 KiB */

enum qr_format { QR_SVG, QR_PNG, QR_ASCII, QR_BLOCKS /* text in UTF-8 */ };

/* Begins as {QR_DEFAULTS}; `given` has bits for the first four members. */
struct qr_options {
    unsigned format; /* enum qr_format */
    unsigned level;  /* of error correction: 0 to 3, L, M, Q, H */
    unsigned margin; /* light modules on each side; the standard wants 4 */
    unsigned size;   /* width and height of an image, in pixels */
    unsigned given;  /* which of them qr_set() has set */
    bool colour;     /* of text: black on white by SGR (ECMA-48, 8.3.117) */
    char fault[64];  /* "size must be ...": why a function returned false */
};

#define QR_FORMAT_GIVEN 1u
#define QR_DEFAULTS     .level = 1, .margin = 4, .size = 300

/* Sets an option from text: "format" (svg, png), "level" (L, M, Q, H), "margin"
 * (0 to 16 modules) or "size" (64 to 2000 pixels), each once. Other names are
 * ignored. False: the value is not valid; o->fault has the reason. */
bool qr_set(struct qr_options *o, const char *name, const char *value);

/* Appends the code of a URL of at most 1,273 bytes: base (APP_URL) and id. The
 * modules of a PNG are whole pixels; the margin takes the rest. False: the size
 * is too small; o->fault has the least one. Out of memory is fatal (mem.h). */
bool qr_add(struct buf *out, const char *base, const char *id,
            struct qr_options *o);

#endif
