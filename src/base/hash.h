/* A hash for tables in memory and in mapped files: the same in all processes.
 */
#ifndef CURT_HASH_H
#define CURT_HASH_H

#include <stdint.h>

/* Of the bytes of text: FNV-1a, with its high bits mixed into the low ones. */
uint64_t hash_text(const char *text);

#endif
