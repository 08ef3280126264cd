/*
 * Runs the command of a profile's credential_process
 * (AWS SDKs and Tools Reference Guide, "Process credential provider").
 */
#ifndef CURT_AWS_PROCESS_H
#define CURT_AWS_PROCESS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/result.h"

/* Runs command with /bin/sh and appends its standard output to out (which
 * holds secrets: the caller wipes it). Its standard input is empty, its
 * standard error is discarded because it may contain secrets, and it inherits
 * no descriptor of this process. It has the environment of this process,
 * without AWS_ variables that are empty: to curt they are absent. At deadline
 * (clock_monotonic_ms()) it is killed with all processes of its group.
 * RESULT_OK: it ended with status 0. RESULT_UNAVAILABLE: it did not end in
 * time. RESULT_DENIED: it ended otherwise, or printed more than fits into out,
 * and is then killed in the same way. Unless RESULT_OK, nothing is appended and
 * reason has the cause, without the command or its output. */
enum result aws_process_run(const char *command, int64_t deadline,
                            struct buf *out, struct buf *reason) MUST_CHECK;

#endif
