#include "commands/commands.h"

#include "run/loop.h"
#include "run/output.h"

bool command_train(const Settings *settings, int *status, Error *error)
{
    if (settings->resume[0] && settings->out[0])
        return fail_usage(error, "two folders: --resume and --out: a resumed run stays in its own");
    output_outlive_reader();
    int signal;
    if (!loop_train(settings, &signal, error))
        return false;
    if (signal)
        *status = 128 + signal; /* as a shell reports a program that a signal ended */
    return true;
}
