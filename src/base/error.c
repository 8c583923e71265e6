#include "nnmf/error.h"

#include <stdarg.h>
#include <stdio.h>

static void set(Error *error, int status, const char *format, va_list arguments)
{
    error->status = status;
    vsnprintf(error->text, sizeof error->text, format, arguments);
    for (char *c = error->text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
}

bool fail(Error *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set(error, STATUS_FAILED, format, arguments);
    va_end(arguments);
    return false;
}

bool fail_usage(Error *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set(error, STATUS_USAGE, format, arguments);
    va_end(arguments);
    return false;
}

void warn(const char *format, ...)
{
    Error warning;
    va_list arguments;
    va_start(arguments, format);
    set(&warning, STATUS_OK, format, arguments);
    va_end(arguments);
    fprintf(stderr, "nnmf-train: %s\n", warning.text);
}
