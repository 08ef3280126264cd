/* Sets of characters, for strspn() and tables. */
#ifndef CURT_TEXT_H
#define CURT_TEXT_H

#define TEXT_DIGITS "0123456789"
#define TEXT_LOWER  "abcdefghijklmnopqrstuvwxyz"
#define TEXT_UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define TEXT_ALNUM  TEXT_UPPER TEXT_LOWER TEXT_DIGITS
#define TEXT_HEX    "0123456789abcdef"

/* U+FEFF, which editors put before the first byte of a file. */
#define TEXT_BYTE_ORDER_MARK "\xef\xbb\xbf"

#endif
