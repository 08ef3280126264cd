/*
 * The same as plain.c with all that makes libfcgi quick and nothing more: the
 * ceiling of this architecture. It looks at what any application would (six
 * parameters), reads standard input to its end, and then may close the
 * connection at once instead of waiting for the web server to do so.
 */
#include <fcgiapp.h>
#include <stddef.h>

static const char *const names[] = {"REQUEST_METHOD", "REQUEST_URI",
                                    "REMOTE_ADDR",    "HTTP_USER_AGENT",
                                    "CONTENT_TYPE",   "CONTENT_LENGTH"};

int main(void)
{
    FCGX_Request request;
    volatile size_t present = 0; /* keeps the look-ups from being left out */
    FCGX_Init();
    FCGX_InitRequest(&request, 0, 0);
    while (FCGX_Accept_r(&request) == 0) {
        char piece[4096];
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            present += FCGX_GetParam(names[i], request.envp) != NULL;
        while (FCGX_GetStr(piece, sizeof(piece), request.in) > 0)
            ;
        FCGX_PutS("Status: 301 Moved Permanently\r\n"
                  "Location: https://example.com/\r\n"
                  "Content-Length: 0\r\n\r\n",
                  request.out);
        FCGX_Detach(&request);
        FCGX_Finish_r(&request);
    }
    return 0;
}
