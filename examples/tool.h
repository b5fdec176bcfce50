/* What the example tools have in common: arguments, password, progress, and how they end. */
#ifndef TOOL_H
#define TOOL_H

#include <vmdk_backup.h>

/* Everything the command line, the environment and the terminal say. */
struct tool {
    const char *program;
    int has_actions;
    vmdk_client_options client;
    vmdk_volume volume;
    const char *backup_id;
    const char *store; /* --service: where backups are kept */
    const char *temp_dir;
    vmdk_staging staging;
    vmdk_cancel *cancel; /* thrown by Ctrl-C */
    int show_progress;
    int progress_shown;
    char password[1024];
};

/* Reads the arguments, or explains them and ends the program. Where the tool has actions, the first
 * argument is one of them, and its index is returned; NULL where it has none. */
int tool_begin(struct tool *tool, int argc, char **argv, const char *const *actions);

/* Connects, or tells why not and ends the program; the password is wiped. */
vmdk_client *tool_connect(struct tool *tool);

/* A vmdk_progress_callback that draws a bar where stderr is a terminal; user_data is the tool. */
int32_t tool_progress(void *user_data, vmdk_phase phase, uint64_t done, uint64_t total);

/* Tells what was done, or what went wrong; frees the error; the exit code is the status. */
int tool_end(struct tool *tool, vmdk_status status, const vmdk_summary *summary, vmdk_error *error);

#endif
