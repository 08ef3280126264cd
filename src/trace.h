/*
 * Trace ids, in the form of AWS X-Ray ("Tracing header" in the X-Ray
 * developer guide): Root=1-{8 hex digits of the epoch}-{24 random}.
 */
#ifndef CURT_TRACE_H
#define CURT_TRACE_H

#include <stddef.h>

#define TRACE_MAX    256 /* characters of a trace id that is taken over */
#define TRACE_RANDOM 12  /* random bytes in a new one */

/* Random bytes for the next trace ids. Starts as zeros, after the fork: two
 * processes must not share one. */
struct trace_source {
    unsigned char pool[64 * TRACE_RANDOM];
    size_t left;
};

/* The id of a request: header, the value of X-Amzn-Trace-Id (NULL if there
 * was none), if it is 1 to TRACE_MAX printable ASCII characters; else a new
 * one. */
void trace_choose(struct trace_source *source, const char *header,
                  char trace[TRACE_MAX + 1]);

#endif
