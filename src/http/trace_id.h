/*
 * Trace ids, in the form of AWS X-Ray ("Tracing header" in the X-Ray
 * developer guide): Root=1-{8 hex digits of the epoch}-{24 random}.
 */
#ifndef CURT_TRACE_ID_H
#define CURT_TRACE_ID_H

#include <stddef.h>

#define TRACE_ID_MAX    256 /* characters of a trace id that is taken over */
#define TRACE_ID_RANDOM 12  /* random bytes in a new one */

/* Random bytes for the next trace ids. Starts as zeros, after the fork: two
 * processes must not share one. */
struct trace_id_source {
    unsigned char pool[64 * TRACE_ID_RANDOM];
    size_t left;
};

/* The id of a request: header, the value of X-Amzn-Trace-Id (NULL if there
 * was none), if it is 1 to TRACE_ID_MAX printable ASCII characters; else a new
 * one. */
void trace_id_choose(struct trace_id_source *source, const char *header,
                     char trace[TRACE_ID_MAX + 1]);

#endif
