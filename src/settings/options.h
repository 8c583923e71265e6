/*
 * The table of commands and options. The command line's parser (settings.c), config.json
 * (settings_json.c), the help (help.c), the manual page (manual.c) and the shells' completions
 * (completion.c) are all derived from it.
 *
 * A new option is a row in options.c and a member of Settings. A new command is a bit in Command,
 * a row in `command_specs` and a line in main.c.
 */
#ifndef NNMF_OPTIONS_H
#define NNMF_OPTIONS_H

#include "settings/settings.h"

#include <stddef.h>

typedef enum OptionType {
    OPTION_TEXT,    /* char[SETTINGS_PATH]; completed as a path if `argument` is DIR, FILE, PATH */
    OPTION_INTEGER, /* int64_t, minimum..maximum */
    OPTION_SEED,    /* uint64_t */
    OPTION_NUMBER,  /* double, minimum..maximum */
    OPTION_CHOICE,  /* int or enumeration, index into choices */
    OPTION_FLAG,    /* bool, takes no value */
    OPTION_RANGE,   /* Range */
    OPTION_SHOW,    /* sets Settings.show, takes no value: --help, --version */
} OptionType;

/* Which files store an option, and how a stored value and one on the command line combine. Stored
 * options of train are in config.json and, except KEEP_FREE, in last.safetensors; --resume reads
 * them from there. */
typedef enum OptionKeep {
    KEEP_NEVER,   /* belongs to one call: not stored */
    KEEP_FREE,    /* --resume uses config.json's value unless another is given */
    KEEP_RATE,    /* a learning rate: --resume continues the schedule unless another is given or
                     edited in config.json */
    KEEP_RUN,     /* fixed for the run: --resume rejects a given or edited value */
    KEEP_TEST,    /* as KEEP_RUN, and stored in best.safetensors: commands that test the weights use
                     that value unless another is given */
    KEEP_NETWORK, /* as KEEP_TEST, but defines the network: train --init uses the stored value too,
                     and another is an error without --override */
} OptionKeep;

/* The help's headings, in this order; names in options.c. */
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
    size_t offset; /* of its member in Settings */
    int commands;  /* the commands that take it, bits of Command */
    OptionKeep keep;
    bool nnmf_only;      /* whether it is an error with --arch cnn */
    DeviceKind device;   /* the only device that it applies to; DEVICE_AUTO: both */
    const char *initial; /* default, as written on the command line */
    double minimum, maximum;
    const char *const *choices; /* names by value, NULL at the end */
    SettingsShow show;          /* what OPTION_SHOW shows */
    const char *argument;       /* the value's name in the help; NULL if it takes none */
    const char *help;           /* with the unit; the default is appended */
} OptionSpec;

typedef struct CommandSpec {
    Command command;
    const char *name;
    const char *arguments; /* the arguments besides options, for the help; NULL if it takes none */
    const char *help;      /* one sentence */
} CommandSpec;

/* Describes the program in a sentence. */
#define PROGRAM_HELP                                                                               \
    "Trains the deep NNMF network, an image classifier whose layers are non-negative matrix "      \
    "factorisations."

extern const OptionSpec option_specs[];
extern const int option_count;
extern const CommandSpec command_specs[];
extern const int command_count;
extern const char *const section_names[SECTIONS];

/* Return NULL if there is none. */
const OptionSpec *option_find(const char *name, size_t length);
const CommandSpec *command_find(const char *name);
const CommandSpec *command_spec(Command command);

bool option_takes_value(const OptionSpec *spec);

/* The default to show in the help; "" if there is none or `help` states it. */
const char *option_default(const OptionSpec *spec);

/* Sets an option from text in the form of the command line. */
bool option_set(Settings *settings, const OptionSpec *spec, const char *text, Error *error);

/* Returns whether the option applies to the architecture. */
bool option_applies(const Settings *settings, const OptionSpec *spec);

/* Returns whether the option is fixed for a run, so that --resume rejects a change. */
bool option_belongs_to_run(const OptionSpec *spec);

/* Returns whether the option was given on the command line. */
bool option_given(const Settings *settings, const OptionSpec *spec);

/* Writes the value in the form of the command line to `text`, and returns that. */
const char *option_text(const Settings *settings, const OptionSpec *spec, char text[SETTINGS_PATH]);

/* Returns the value as JSON; NULL if out of memory or if it is text other than UTF-8. */
json_t *option_to_json(const Settings *settings, const OptionSpec *spec);

/* Sets an option from a value of the form that option_to_json returns. */
bool option_from_json(Settings *settings, const OptionSpec *spec, const json_t *value,
                      Error *error);

#endif
