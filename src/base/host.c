#include "base/host.h"

#include <string.h>
#include <unistd.h>

void host_name(char name[HOST_NAME])
{
    if (gethostname(name, HOST_NAME) != 0)
        strcpy(name, "localhost");
    name[HOST_NAME - 1] = '\0';
    for (char *c = name; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *c))
            *c = '_';
}
