#include "commands/help.h"

#include "settings/options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* In columns. In lines narrower than NARROW an option's help is below it, otherwise beside it. */
enum {
    INDENT = 2,
    HELP_BESIDE = 28,
    HELP_BELOW = 8,
    NARROW = 60,
    MIN_WIDTH = 30,
    MAX_WIDTH = 500,
};

static int line_width(FILE *stream)
{
    const char *columns = getenv("COLUMNS");
    struct winsize size;
    long width = columns ? strtol(columns, NULL, 10) : 0;
    if (width <= 0 && ioctl(fileno(stream), TIOCGWINSZ, &size) == 0)
        width = size.ws_col;
    if (width <= 0)
        width = 80;
    return (int)(width < MIN_WIDTH ? MIN_WIDTH : width > MAX_WIDTH ? MAX_WIDTH : width);
}

/* Prints the words of `text` in lines of at most `width` columns, indented by `indent`. `column`
 * columns of the first line are already used. Words must be ASCII; long words are not broken. */
static void print_wrapped(FILE *stream, const char *text, int column, int indent, int width)
{
    bool first = true;
    while (*text) {
        int length = (int)strcspn(text, " ");
        if (column < indent) {
            fprintf(stream, "%*s", indent - column, "");
            column = indent;
        } else if (!first && column + 1 + length > width) {
            fprintf(stream, "\n%*s", indent, "");
            column = indent;
        } else if (!first) {
            fputc(' ', stream);
            column++;
        }
        fprintf(stream, "%.*s", length, text);
        column += length;
        text += length;
        text += strspn(text, " ");
        first = false;
    }
    fputc('\n', stream);
}

/* Prints the help of a name that has taken `column` columns, beside or below it. */
static void print_help(FILE *stream, const char *text, int column, int width)
{
    int indent = width < NARROW ? HELP_BELOW : HELP_BESIDE;
    if (column + 2 > indent) {
        fputc('\n', stream);
        column = 0;
    }
    print_wrapped(stream, text, column, indent, width);
}

static void print_option(FILE *stream, const OptionSpec *spec, int width)
{
    char text[512];
    const char *initial = option_default(spec);
    snprintf(text, sizeof text, initial[0] ? "%s [default=%s]" : "%s", spec->help, initial);
    int column = fprintf(stream, "%*s--%s%s%s", INDENT, "", spec->name, spec->argument ? " " : "",
                         spec->argument ? spec->argument : "");
    print_help(stream, text, column, width);
}

static void print_options(FILE *stream, Command command, int width)
{
    for (int section = 0; section < SECTIONS; section++) {
        bool headed = false;
        for (int i = 0; i < option_count; i++) {
            const OptionSpec *spec = &option_specs[i];
            if ((int)spec->section != section || !(spec->commands & (int)command))
                continue;
            if (!headed)
                fprintf(stream, "\n%s:\n", section_names[section]);
            headed = true;
            print_option(stream, spec, width);
        }
    }
}

static void print_overview(FILE *stream, int width)
{
    print_wrapped(stream, "Usage: nnmf-train [COMMAND] [OPTION...]", 0, 0, width);
    fputc('\n', stream);
    print_wrapped(stream, PROGRAM_HELP, 0, 0, width);
    fputs("\nCommands:\n", stream);
    for (int i = 0; i < command_count; i++) {
        const CommandSpec *spec = &command_specs[i];
        int column = fprintf(stream, "%*s%s%s%s", INDENT, "", spec->name,
                             spec->arguments ? " " : "", spec->arguments ? spec->arguments : "");
        print_help(stream, spec->help, column, width);
    }
    fputc('\n', stream);
    print_wrapped(
        stream,
        "Each command takes --help: nnmf-train eval --help. Without a command the program trains. "
        "Options of train:",
        0, 0, width);
}

void help_print(const CommandSpec *command, FILE *stream)
{
    int width = line_width(stream);
    if (command) {
        char usage[256];
        snprintf(usage, sizeof usage, "Usage: nnmf-train %s [OPTION...]%s%s", command->name,
                 command->arguments ? " " : "", command->arguments ? command->arguments : "");
        print_wrapped(stream, usage, 0, 0, width);
        fputc('\n', stream);
        print_wrapped(stream, command->help, 0, 0, width);
    } else {
        print_overview(stream, width);
    }
    print_options(stream, command ? command->command : COMMAND_TRAIN, width);
}
