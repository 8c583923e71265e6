#include "commands/completion.h"

#include <string.h>

typedef enum ValueKind { VALUE_NONE, VALUE_FREE, VALUE_CHOICE, VALUE_FILE, VALUE_FOLDER } ValueKind;

static ValueKind value_kind(const OptionSpec *spec)
{
    if (!option_takes_value(spec))
        return VALUE_NONE;
    if (spec->type == OPTION_CHOICE)
        return VALUE_CHOICE;
    if (spec->type != OPTION_TEXT)
        return VALUE_FREE;
    if (strcmp(spec->argument, "DIR") == 0)
        return VALUE_FOLDER;
    bool file = strcmp(spec->argument, "FILE") == 0 || strcmp(spec->argument, "PATH") == 0;
    return file ? VALUE_FILE : VALUE_FREE;
}

static void print_choices(FILE *stream, const OptionSpec *spec)
{
    for (int i = 0; spec->choices[i]; i++)
        fprintf(stream, "%s%s", i ? " " : "", spec->choices[i]);
}

/* ---- bash ---- */

/* Prints the branch of the case over the previous word that completes this option's value. */
static void print_bash_value(FILE *stream, const OptionSpec *spec)
{
    ValueKind kind = value_kind(spec);
    if (kind == VALUE_NONE)
        return;
    fprintf(stream, "    --%s) ", spec->name);
    if (kind == VALUE_CHOICE) {
        fputs("words='", stream);
        print_choices(stream, spec);
        fputs("' ;;\n", stream);
    } else {
        fprintf(stream, "kind='%s' ;;\n",
                kind == VALUE_FILE     ? "file"
                : kind == VALUE_FOLDER ? "directory"
                                       : "free");
    }
}

static void print_bash_command(FILE *stream, const CommandSpec *command)
{
    fprintf(stream, "    %s) options='", command->name);
    for (int i = 0; i < option_count; i++)
        if (option_specs[i].commands & (int)command->command)
            fprintf(stream, "--%s ", option_specs[i].name);
    fprintf(stream, "'%s ;;\n", command->arguments ? " arguments=file" : "");
}

void completion_print_bash(FILE *stream)
{
    fputs(
        "# bash completion for nnmf-train, generated from its table of options\n"
        "_nnmf_train() {\n"
        "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
        "    local command=train options='' arguments=none words='' kind=words\n"
        "    # The shell splits at '=': --option=value are three words.\n"
        "    if [[ $current == = ]]; then\n"
        "        current=''\n"
        "    elif [[ $previous == = ]]; then\n"
        "        previous=${COMP_WORDS[COMP_CWORD-2]}\n"
        "    fi\n"
        "    COMPREPLY=()\n"
        "    if ((COMP_CWORD == 1)) && [[ $current != -* ]]; then\n"
        "        mapfile -t COMPREPLY < <(compgen -W '",
        stream);
    for (int i = 0; i < command_count; i++)
        fprintf(stream, "%s%s", i ? " " : "", command_specs[i].name);
    fputs(
        "' -- \"$current\")\n"
        "        return\n"
        "    fi\n"
        "    [[ ${COMP_WORDS[1]} == -* ]] || command=${COMP_WORDS[1]}\n"
        "    case $command in\n",
        stream);
    for (int i = 0; i < command_count; i++)
        print_bash_command(stream, &command_specs[i]);
    fputs(
        "    esac\n"
        "    case $previous in\n",
        stream);
    for (int i = 0; i < option_count; i++)
        print_bash_value(stream, &option_specs[i]);
    fputs(
        "    *)\n"
        "        words=$options\n"
        "        [[ $current == -* ]] || kind=$arguments\n"
        "        ;;\n"
        "    esac\n"
        "    case $kind in\n"
        "    words) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\") ;;\n"
        "    file | directory)\n"
        "        compopt -o filenames 2>/dev/null\n"
        "        mapfile -t COMPREPLY < <(compgen -A \"$kind\" -- \"$current\")\n"
        "        ;;\n"
        "    none) mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$current\") ;;\n"
        "    esac\n"
        "}\n"
        "complete -F _nnmf_train nnmf-train\n",
        stream);
}

/* ---- zsh ---- */

/* For a text in single quotes. Also escapes what _arguments and _describe interpret. */
static void print_zsh_text(FILE *stream, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\'", stream);
        else if (strchr("[]:\\", *text))
            fputc('\\', stream);
        fputc(*text, stream);
    }
}

static void print_zsh_option(FILE *stream, const OptionSpec *spec)
{
    ValueKind kind = value_kind(spec);
    fprintf(stream, "            '--%s%s[", spec->name, kind == VALUE_NONE ? "" : "=");
    print_zsh_text(stream, spec->help);
    fputc(']', stream);
    if (kind != VALUE_NONE) {
        fputc(':', stream);
        print_zsh_text(stream, spec->argument);
        fputc(':', stream);
    }
    if (kind == VALUE_CHOICE) {
        fputc('(', stream);
        print_choices(stream, spec);
        fputc(')', stream);
    } else if (kind == VALUE_FILE) {
        fputs("_files", stream);
    } else if (kind == VALUE_FOLDER) {
        fputs("_files -/", stream);
    }
    fputs("' \\\n", stream);
}

void completion_print_zsh(FILE *stream)
{
    fputs(
        "#compdef nnmf-train\n"
        "# zsh completion for nnmf-train, generated from its table of options\n"
        "_nnmf_train() {\n"
        "    local command=train\n"
        "    local -a commands=(\n",
        stream);
    for (int i = 0; i < command_count; i++) {
        fprintf(stream, "        '%s:", command_specs[i].name);
        print_zsh_text(stream, command_specs[i].help);
        fputs("'\n", stream);
    }
    fputs(
        "    )\n"
        "    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n"
        "        _describe -t commands command commands\n"
        "        return\n"
        "    fi\n"
        "    if [[ $words[2] != -* ]]; then\n"
        "        command=$words[2]\n"
        "        shift words\n"
        "        (( CURRENT-- ))\n"
        "    fi\n"
        "    case $command in\n",
        stream);
    for (int i = 0; i < command_count; i++) {
        const CommandSpec *command = &command_specs[i];
        fprintf(stream, "    %s)\n        _arguments \\\n", command->name);
        for (int option = 0; option < option_count; option++)
            if (option_specs[option].commands & (int)command->command)
                print_zsh_option(stream, &option_specs[option]);
        if (command->arguments)
            fputs("            '*:file:_files' \\\n", stream);
        fputs("            && return\n        ;;\n", stream);
    }
    fputs(
        "    esac\n"
        "    return 1\n"
        "}\n"
        "_nnmf_train \"$@\"\n",
        stream);
}
