/*
 * The table of commands and options, for those who make something of it: the parser
 * (settings.c), config.json (settings_json.c), the help (help.c), the manual page and the shells'
 * completions (documents.c).
 *
 * A new option is a row in options.c and a member of Settings. A new command is a bit in Command,
 * a row in `command_specs` and a line in main.c.
 */
#ifndef NNMF_OPTIONS_H
#define NNMF_OPTIONS_H

#include "settings/settings.h"

#include <stddef.h>

typedef enum OptionType {
    OPTION_TEXT,    /* char[SETTINGS_PATH]; `argument` DIR, FILE or PATH: completed as such */
    OPTION_INTEGER, /* int64_t, least..most */
    OPTION_SEED,    /* uint64_t */
    OPTION_NUMBER,  /* double, least..most */
    OPTION_CHOICE,  /* int, index into choices */
    OPTION_FLAG,    /* bool */
    OPTION_RANGE,   /* Range */
    OPTION_SHOW,    /* no value; `offset` is a SettingsShow: --help, --version */
} OptionType;

/* What --resume does with an option. */
typedef enum OptionKeep {
    KEEP_RUN,   /* belongs to the run: comes from config.json, may not be given */
    KEEP_FREE,  /* comes from config.json, if it is there, unless it is given */
    KEEP_NEVER, /* belongs to one call, is not stored */
} OptionKeep;

/* Under which heading the help shows an option, in this order; names in options.c. */
typedef enum OptionSection {
    SECTION_DATA,
    SECTION_NETWORK,
    SECTION_TRAINING,
    SECTION_FILES,
    SECTION_DEVICE,
    SECTION_OUTPUT,
    SECTIONS,
} OptionSection;

typedef struct OptionSpec {
    const char *name;
    OptionSection section;
    OptionType type;
    size_t offset;
    int commands; /* the commands that take it, bits of Command */
    OptionKeep keep;
    const char *initial; /* default, as one would write it */
    double least, most;
    const char *const *choices; /* up to NULL */
    const char *argument;       /* what the value is called, NULL: takes none */
    const char *help;           /* without the default, which is added; with the unit */
} OptionSpec;

typedef struct CommandSpec {
    Command command;
    const char *name;
    const char *arguments; /* what stands beside the options, as in the help; NULL: nothing */
    const char *help;      /* one sentence */
} CommandSpec;

/* What the program is, in a sentence or two. */
#define PROGRAM_HELP                                                                               \
    "Trains the deep NNMF network: a network for images whose layers are non-negative matrix "     \
    "factorisations."

extern const OptionSpec option_specs[];
extern const int option_count;
extern const CommandSpec command_specs[];
extern const int command_count;
extern const char *const section_names[SECTIONS];

/* NULL when there is none. */
const OptionSpec *option_find(const char *name, size_t length);
const CommandSpec *command_find(const char *name);
const CommandSpec *command_spec(Command command);

/* Does an option take a value? */
bool option_takes_value(const OptionSpec *spec);

/* "default: 50" for the help, "" where the option has none or its help tells it. */
const char *option_default(const OptionSpec *spec);

/* Sets an option from text as one would write it on the command line. */
bool option_set(Settings *settings, const OptionSpec *spec, const char *text, Error *error);

/* Was it given on the command line? */
bool option_given(const Settings *settings, const OptionSpec *spec);

#endif
