/*
 * The smallest FastCGI program that answers a redirect, written as libfcgi's
 * manual shows it: what the architecture costs when nothing is tuned.
 */
#include <fcgiapp.h>

int main(void)
{
    FCGX_Request request;
    FCGX_Init();
    FCGX_InitRequest(&request, 0, 0);
    while (FCGX_Accept_r(&request) == 0) {
        FCGX_PutS("Status: 301 Moved Permanently\r\n"
                  "Location: https://example.com/\r\n"
                  "Content-Length: 0\r\n\r\n",
                  request.out);
        FCGX_Finish_r(&request);
    }
    return 0;
}
