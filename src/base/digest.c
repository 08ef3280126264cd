#include "base/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

void digest_text(const void *bytes, size_t len, char text[DIGEST_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE], base64[DIGEST_SIZE + 1];
    if (EVP_Digest(bytes, len, digest, NULL, EVP_sha256(), NULL) != 1)
        abort(); /* no memory, as in mem.h */
    EVP_EncodeBlock(base64, digest, 32);
    base64[DIGEST_SIZE - 1] = '\0'; /* the padding */
    for (unsigned char *c = base64; *c != '\0'; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    memcpy(text, base64, DIGEST_SIZE);
}
