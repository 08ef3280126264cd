/*
 * The host of a URL, as browsers read it (WHATWG URL standard, section 3.5).
 */
#ifndef CURT_HOST_H
#define CURT_HOST_H

#include <stdbool.h>
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

/* ---- What kinds of hosts links may lead to ------------------------------ *
 * host: as host_normalise() makes it. */

/* Whether it is an address that is not globally reachable (RFC 6890, with the
 * IANA registries that it began; multicast as well), an IPv6 address that
 * contains one, or a name that only the local network knows: "localhost",
 * "local", "internal", "home.arpa" (RFCs 6761, 6762 and 8375), the names in
 * appendix G of RFC 6762, and all below them. */
bool host_is_private(const char *host);

/* Whether it is a name without a dot, which the local network completes. */
bool host_is_single_label(const char *host);

/* Whether it is, or is below, the host of a well-known URL shortener. */
bool host_is_shortener(const char *host);

/* Whether a label in it can be mistaken for another name: it mixes scripts in a
 * way that the level "moderately restrictive" does not allow (UTS 39, section
 * 5.2), or all its letters are Cyrillic, Greek or Armenian and look Latin,
 * under a top-level domain in ASCII. */
bool host_is_lookalike(const char *host);

#endif
