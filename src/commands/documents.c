/*
 * Writes, when the program is built, what is installed with it and made from the table of options:
 *
 *     nnmf-documents man DATE | bash | zsh
 *
 * the manual page, and the completions for the shells.
 */
#include "commands/completion.h"
#include "commands/manual.h"

#include <string.h>

int main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "";
    if (strcmp(kind, "man") == 0 && argc == 3)
        manual_print(argv[2], stdout);
    else if (strcmp(kind, "bash") == 0 && argc == 2)
        completion_print_bash(stdout);
    else if (strcmp(kind, "zsh") == 0 && argc == 2)
        completion_print_zsh(stdout);
    else
        return fputs("usage: nnmf-documents man DATE | bash | zsh\n", stderr), STATUS_USAGE;
    return fflush(stdout) == 0 && !ferror(stdout) ? STATUS_OK : STATUS_FAILED;
}
