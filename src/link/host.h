/*
 * The host of a URL, as browsers read it (WHATWG URL standard, section 3.5).
 */
#ifndef CURT_HOST_H
#define CURT_HOST_H

#include <stddef.h>

#include "base/buf.h"

/* Appends to out what a browser makes of the host (len bytes at s, at least
 * one, brackets included): an IPv4 address in any of its spellings as four
 * decimal numbers, an IPv6 address compressed, a name percent-decoded and in
 * lower-case ASCII (UTS 46, non-transitional, then punycode). The result never
 * names another host than the browser's. Returns NULL, or why the host is
 * refused: static text that completes "long_url ...".
 *
 * What browsers allow is refused where DNS or RFC 3986 does not: names over
 * 253 bytes, labels that are empty or over 63 bytes, characters other than
 * letters, digits, '-' and '_'. So are names in Unicode that IDNA 2008 does not
 * allow, such as emoji; they are accepted in punycode. */
const char *host_normalise(const char *s, size_t len, struct buf *out);

/* Appends host, as host_normalise() makes it, with its punycode labels in
 * Unicode: to be shown beside host, never in its place (names in two alphabets
 * can look the same). What cannot be decoded is appended as it is. */
void host_add_unicode(struct buf *out, const char *host);

#endif
