#include "commands/commands.h"

#include "run/loop.h"
#include "run/output.h"

bool command_train(const Settings *settings, int *status, Error *error)
{
    if (settings->resume[0] && settings->out[0])
        return fail_usage(
            error, "conflicting options: --resume and --out: a resumed run keeps its folder");
    output_outlive_reader();
    int signal;
    if (!loop_train(settings, &signal, error))
        return false;
    if (signal)
        *status = 128 + signal; /* as a shell reports a program ended by a signal */
    return true;
}
