#include "commands/commands.h"

#include "base/streams.h"
#include "commands/help.h"
#include "run/interrupt.h"
#include "run/progress.h"
#include "settings/settings_weights.h"

#include <signal.h>
#include <stdio.h>

typedef struct CommandEntry {
    Command command;
    bool (*run)(const Settings *settings, int *status, Error *error);
} CommandEntry;

/* Names and help texts are in options.c. */
static const CommandEntry commands[] = {
    {COMMAND_TRAIN, command_train},           {COMMAND_EVAL, command_eval},
    {COMMAND_TRACE, command_trace},           {COMMAND_INFO, command_info},
    {COMMAND_BENCH, command_bench},           {COMMAND_SHOW, command_show},
    {COMMAND_PREDICT, command_predict},       {COMMAND_STATISTICS, command_statistics},
    {COMMAND_ROBUSTNESS, command_robustness},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static int report(const Error *error)
{
    fflush(stdout);
    fprintf(stderr, "nnmf-train: %s\n", error->text);
    return error->status;
}

static bool run_command(Settings *settings, int *status, Error *error)
{
    if (settings->show == SHOW_HELP)
        help_print(settings->named ? command_spec(settings->command) : NULL, stdout);
    if (settings->show == SHOW_VERSION)
        version_print(stdout);
    if (settings->show != SHOW_NOTHING)
        return true;
    if (!settings_use_weights(settings, error))
        return false;
    if (settings->quiet || settings->log_format == LOG_JSON)
        progress_forbid();
    for (int i = 0; i < COMMANDS; i++)
        if (commands[i].command == settings->command)
            return commands[i].run(settings, status, error);
    return fail(error, "command not implemented: %d: one of main.c was expected",
                (int)settings->command);
}

int main(int argc, char **argv)
{
    Error error = {0};
    Settings settings;
    int status = STATUS_OK;
    signal(SIGXFSZ,
           SIG_IGN); /* a write beyond the limit then fails with EFBIG, which is reported */
    if (!streams_open_closed(&error) || !interrupt_end_at_once(&error) ||
        !settings_parse(argc > 0 ? argc - 1 : 0, argv + 1, &settings, &error) ||
        !run_command(&settings, &status, &error))
        return report(&error);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fail(&error, "cannot write: standard output: the last lines are missing");
        return report(&error);
    }
    return status;
}
