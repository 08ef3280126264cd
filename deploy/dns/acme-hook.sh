#!/bin/sh
# dns-01 by dynamic update (RFC 2136) of the zone acme.example.net: a hook for
# `curt setup`, dehydrated and certbot. Needs knot-dnsutils, and CNAME records:
#
#     _acme-challenge.sho.rt.  CNAME  sho.rt.acme.example.net.
#
# curt setup, with the variables below set in this file:
#
#     curt setup --domain sho.rt --alias '*.sho.rt' \
#         --dns-hook /usr/local/sbin/acme-hook.sh
#
# dehydrated, in /etc/dehydrated/config (other calls of the hook are ignored):
#
#     CHALLENGETYPE=dns-01
#     HOOK=/etc/dehydrated/acme-hook.sh
#
# certbot:
#
#     certbot certonly --manual --preferred-challenges dns \
#         --manual-auth-hook "/etc/letsencrypt/acme-hook.sh deploy_challenge" \
#         --manual-cleanup-hook "/etc/letsencrypt/acme-hook.sh clean_challenge" \
#         -d sho.rt -d '*.sho.rt'

set -eu

ACME_ZONE=${ACME_ZONE:-acme.example.net}
ACME_SERVER=${ACME_SERVER:-127.0.0.1 53}
ACME_KEY=${ACME_KEY:-/etc/knot/acme.key}

# update add|delete DOMAIN VALUE. A certificate for a name and its wildcard has
# two challenges at one name, so only the given value is removed; all of them
# without a value, as Apache httpd calls it.
update() {
    value=${3:+\"$3\"}
    knsupdate -v -k "$ACME_KEY" <<END
server $ACME_SERVER
zone $ACME_ZONE.
update $1 $2.$ACME_ZONE. 60 TXT $value
send
END
}

case ${1:-} in
deploy_challenge | setup) action=add ;;
clean_challenge | teardown) action=delete ;;
*) exit 0 ;;
esac
shift

case $# in
0) update $action "$CERTBOT_DOMAIN" "$CERTBOT_VALIDATION" ;;
1 | 2) update $action "$1" "${2:-}" ;; # curt setup
esac
# dehydrated: DOMAIN TOKEN VALUE, several times with HOOK_CHAIN=yes.
while [ $# -ge 3 ]; do
    update $action "$1" "$3"
    shift 3
done
