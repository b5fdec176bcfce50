/* The command line of backup.c and restore.c, and exit codes. */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

#include <stdbool.h>
#include <vmdk_backup.h>

/* A call of the library that fails gives EXIT_STATUS + its vmdk_status. */
enum { EXIT_OTHER = 1, EXIT_USAGE = 2, EXIT_STATUS = 10 };

enum { PASSWORD_SIZE = 512 };

/* Never copied: client.password may point to password. */
struct arguments {
    vmdk_client_options client;
    vmdk_volume volume;
    const char *directory;
    const char *backup_id;
    const char *temp_dir;
    vmdk_staging staging;
    bool quiet;
    char password[PASSWORD_SIZE];
};

/* Reads the command line and the environment, and asks for the password where it was not given.
 * What cannot be meant ends the program, and so does --help, which begins with purpose. */
void read_arguments(struct arguments *given, int argc, char **argv, const char *purpose);

/* Wipes the password: for when the client is connected. */
void forget_password(struct arguments *given);

#endif
