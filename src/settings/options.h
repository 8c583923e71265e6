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

/* Which files keep an option, and what is done with what they keep. Those of a run are in its
 * config.json and, but for KEEP_FREE, in last.safetensors; --resume takes them from there. */
typedef enum OptionKeep {
    KEEP_NETWORK, /* defines the network: best.safetensors has it too, and every command takes it
                     from a weights file. Another one that is given is an error; with --override it
                     is taken */
    KEEP_TEST,    /* likewise, but it may differ: a test takes it unless it is given */
    KEEP_RUN,  /* belongs to the run: may not be given or edited, as may neither of the two above */
    KEEP_RATE, /* a learning rate: the schedule's own goes on, unless it is given or edited */
    KEEP_FREE, /* comes from config.json unless it is given */
    KEEP_NEVER, /* belongs to one call: no file has it */
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

/* Does it mean something to the architecture? */
bool option_applies(const Settings *settings, const OptionSpec *spec);

/* Does it belong to a run, so that --resume may not change it? */
bool option_belongs_to_run(const OptionSpec *spec);

/* Was it given on the command line? */
bool option_given(const Settings *settings, const OptionSpec *spec);

/* Its value as one would write it on the command line; returns `text`. */
const char *option_text(const Settings *settings, const OptionSpec *spec, char text[SETTINGS_PATH]);

/* Its value as JSON; NULL when out of memory, or for text that is not UTF-8. */
json_t *option_to_json(const Settings *settings, const OptionSpec *spec);

/* Sets an option from what option_to_json made of it. */
bool option_from_json(Settings *settings, const OptionSpec *spec, const json_t *value,
                      Error *error);

#endif
