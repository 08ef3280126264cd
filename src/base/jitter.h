/* Random bits that only spread load over time: nothing secret depends on them.
 */
#ifndef CURT_JITTER_H
#define CURT_JITTER_H

#include <stdint.h>

/* 32 random bits; where the kernel has none yet, those of the clock. */
uint32_t jitter_bits(void);

#endif
