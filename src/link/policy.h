/* What kinds of hosts links may lead to. host: as host_normalise() makes it. */
#ifndef CURT_POLICY_H
#define CURT_POLICY_H

#include <stdbool.h>

/* Whether it is an address that is not globally reachable (RFC 6890, with the
 * IANA registries that it began; multicast as well), an IPv6 address that
 * contains one, or a name that only the local network knows: "localhost",
 * "local", "internal", "home.arpa" (RFCs 6761, 6762 and 8375), the names in
 * appendix G of RFC 6762, and all below them. */
bool policy_is_private(const char *host);

/* Whether it is a name without a dot, which the local network completes. */
bool policy_is_single_label(const char *host);

/* Whether it is, or is below, the host of a well-known URL shortener. */
bool policy_is_shortener(const char *host);

/* Whether a label in it can be mistaken for another name: it mixes scripts in a
 * way that the level "moderately restrictive" does not allow (UTS 39, section
 * 5.2), or all its letters are Cyrillic, Greek or Armenian and look Latin,
 * under a top-level domain in ASCII. */
bool policy_is_lookalike(const char *host);

#endif
