/*
 * Writes a document that the build generates from the table of options and installs:
 *
 *     nnmf-documents man DATE | bash | zsh
 *
 * the manual page or a shell's completions.
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
