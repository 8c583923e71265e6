#include "commands/manual.h"

#include "base/version.h"
#include "settings/options.h"

/* Escapes text for roff, so that no line begins with a request and ASCII characters are kept. */
static void print_text(FILE *stream, const char *text)
{
    for (const char *c = text; *c; c++) {
        switch (*c) {
        case '\\': fputs("\\e", stream); break;
        case '-': fputs("\\-", stream); break;
        case '\'': fputs("\\(aq", stream); break;
        case '^': fputs("\\(ha", stream); break;
        case '~': fputs("\\(ti", stream); break;
        case '`': fputs("\\(ga", stream); break;
        case '.':
            if (c == text)
                fputs("\\&", stream);
            fputc('.', stream);
            break;
        default: fputc(*c, stream);
        }
    }
}

static void print_line(FILE *stream, const char *text)
{
    print_text(stream, text);
    fputc('\n', stream);
}

static void print_commands(FILE *stream)
{
    fputs(".SH COMMANDS\n", stream);
    for (int i = 0; i < command_count; i++) {
        const CommandSpec *spec = &command_specs[i];
        fputs(".TP\n\\fB", stream);
        print_text(stream, spec->name);
        fputs("\\fR", stream);
        if (spec->arguments) {
            fputs(" \\fI", stream);
            print_text(stream, spec->arguments);
            fputs("\\fR", stream);
        }
        fputc('\n', stream);
        print_line(stream, spec->help);
    }
}

static void print_option(FILE *stream, const OptionSpec *spec)
{
    fputs(".TP\n\\fB\\-\\-", stream);
    print_text(stream, spec->name);
    fputs("\\fR", stream);
    if (spec->argument) {
        fputs(" \\fI", stream);
        print_text(stream, spec->argument);
        fputs("\\fR", stream);
    }
    fputc('\n', stream);
    print_text(stream, spec->help);
    fputs(".\n", stream);
    const char *initial = option_default(spec);
    if (initial[0]) {
        fputs("Default: ", stream);
        print_text(stream, initial);
        fputs(".\n", stream);
    }
    const char *separator = "Commands: ";
    for (int i = 0; spec->commands != -1 && i < command_count; i++) {
        if (!(spec->commands & (int)command_specs[i].command))
            continue;
        fprintf(stream, "%s\\fB", separator);
        print_text(stream, command_specs[i].name);
        fputs("\\fR", stream);
        separator = ", ";
    }
    if (spec->commands != -1)
        fputs(".\n", stream);
}

static void print_options(FILE *stream)
{
    fputs(
        ".SH OPTIONS\nAn option that not every command takes ends with the list of those that "
        "do.\n",
        stream);
    for (int section = 0; section < SECTIONS; section++) {
        fprintf(stream, ".SS %s\n", section_names[section]);
        for (int i = 0; i < option_count; i++)
            if ((int)option_specs[i].section == section)
                print_option(stream, &option_specs[i]);
    }
}

/* Prints pairs of a term and its meaning. */
static void print_terms(FILE *stream, const char *heading, const char *const terms[][2])
{
    fprintf(stream, ".SH %s\n", heading);
    for (; (*terms)[0]; terms++) {
        fputs(".TP\n\\fB", stream);
        print_text(stream, (*terms)[0]);
        fputs("\\fR\n", stream);
        print_line(stream, (*terms)[1]);
    }
}

void manual_print(const char *date, FILE *stream)
{
    static const char *const statuses[][2] = {
        {"0", "Success."},
        {"1",
         "Failure; one line on standard error states what failed, where, and what was expected."},
        {"2", "Wrong usage, reported in the same way."},
        {"128 + signal",
         "Interrupted by a signal, after writing a checkpoint; a second signal ends training at "
         "once, without one."},
        {NULL, NULL}};
    static const char *const environment[][2] = {
        {"NNMF_DATA", "Data folder if --data is not given."},
        {"COLUMNS", "Width of the help; by default that of the terminal, else 80."},
        {"OMP_WAIT_POLICY",
         "With passive, waiting threads leave the processors to other programs."},
        {NULL, NULL}};
    static const char *const files[][2] = {
        {"config.json", "In the run's folder: options, version, device and data."},
        {"metrics.csv", "One row per epoch."},
        {"best.safetensors", "Weights after the epoch with the most correct test images."},
        {"last.safetensors", "Last state: weights, Adam moments, schedules and counters."},
        {NULL, NULL}};

    fprintf(stream, ".TH NNMF\\-TRAIN 1 %s \"nnmf\\-train %s\" \"User Commands\"\n", date,
            NNMF_VERSION);
    fputs(
        ".SH NAME\nnnmf\\-train \\- train the deep NNMF network\n"
        ".SH SYNOPSIS\n\\fBnnmf\\-train\\fR [\\fICOMMAND\\fR] [\\fIOPTION\\fR...]\n"
        ".SH DESCRIPTION\n",
        stream);
    print_line(stream, PROGRAM_HELP);
    print_line(stream, "Without a command the program trains. Each command takes --help.");
    print_commands(stream);
    print_options(stream);
    print_terms(stream, "EXIT STATUS", statuses);
    print_terms(stream, "ENVIRONMENT", environment);
    print_terms(stream, "FILES", files);
}
