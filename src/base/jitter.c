#include "base/jitter.h"

#include <sys/random.h>

#include "base/clock.h"

uint32_t jitter_bits(void)
{
    uint32_t bits;
    if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != (ssize_t)sizeof(bits))
        bits = (uint32_t)clock_monotonic_ms() * 2654435761u;
    return bits;
}
