/*
 * What the fuzz targets share. Each is a program of libFuzzer's: it is given
 * bytes, and ends in a crash when an invariant of the code does not hold.
 */
#ifndef CURT_FUZZ_H
#define CURT_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Called by libFuzzer for each input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An invariant; what breaks it is a finding. */
#define MUST(condition)                                                        \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__,         \
                    #condition);                                               \
            abort();                                                           \
        }                                                                      \
    } while (0)

#endif
