#include "commands.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct CommandEntry {
    const char *name;
    Command command;
    bool (*run)(const Settings *settings, int *status, Error *error);
} CommandEntry;

static const CommandEntry commands[] = {
    {"train", COMMAND_TRAIN, command_train}, {"eval", COMMAND_EVAL, command_eval},
    {"trace", COMMAND_TRACE, command_trace}, {"info", COMMAND_INFO, command_info},
    {"bench", COMMAND_BENCH, command_bench},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

static int report(const Error *error)
{
    fflush(stdout);
    fprintf(stderr, "nnmf-train: %s\n", error->text);
    return error->status;
}

static const CommandEntry *find_command(const char *name)
{
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

int main(int argc, char **argv)
{
    Error error = {0};
    Settings settings;
    signal(SIGXFSZ, SIG_IGN); /* a write beyond the limit fails with EFBIG, which is told */
    /* Without a command's name the program trains. */
    bool named = argc > 1 && argv[1][0] != '-';
    const CommandEntry *entry = find_command(named ? argv[1] : "train");
    if (!entry) {
        fail_usage(&error, "unknown command: '%s': train, eval, trace, info or bench was expected",
                   argv[1]);
        return report(&error);
    }
    int skip = named ? 2 : 1, status = STATUS_OK;
    int count = argc > skip ? argc - skip : 0;
    if (!settings_parse(entry->command, count, argv + skip, &settings, &error) ||
        !entry->run(&settings, &status, &error))
        return report(&error);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fail(&error, "cannot write: standard output: the last lines are missing");
        return report(&error);
    }
    return status;
}
