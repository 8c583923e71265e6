#include "commands/help.h"

#include "settings/options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Columns: where options stand, where their help begins beside them (under them where the lines are
 * short), and what lines may be at least and at most. */
enum {
    INDENT = 2,
    HELP_BESIDE = 28,
    HELP_UNDER = 8,
    SHORT_LINES = 60,
    NARROWEST = 30,
    WIDEST = 500
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
    return (int)(width < NARROWEST ? NARROWEST : width > WIDEST ? WIDEST : width);
}

/* The words of `text` in lines of at most `width` columns, from column `indent` on; the first line
 * has `column` columns already. Words are ASCII; one longer than a line stays whole. */
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

/* `column` columns of a name are printed: its help beside or under them. */
static void print_beside(FILE *stream, const char *text, int column, int width)
{
    int indent = width < SHORT_LINES ? HELP_UNDER : HELP_BESIDE;
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
    print_beside(stream, text, column, width);
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
        print_beside(stream, spec->help, column, width);
    }
    fputc('\n', stream);
    print_wrapped(
        stream,
        "Each takes --help: nnmf-train eval --help. Without a command the program trains; "
        "the options of train are:",
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
