/* Restores the disk of a volume from a backup in a directory. */
#include "arguments.h"
#include "terminal.h"
#include <stddef.h>

int main(int argc, char **argv)
{
    struct arguments given;
    vmdk_service *service = NULL;
    vmdk_cancel *cancel = NULL;
    vmdk_client *client = NULL;
    vmdk_error *error = NULL;
    vmdk_summary summary = { .struct_size = sizeof summary };

    read_arguments(&given, argc, argv,
                   "Restores the disk of a volume from a backup in a directory.");

    vmdk_status status = vmdk_service_directory(given.directory, &service, &error);
    if (status == VMDK_STATUS_OK)
        status = vmdk_cancel_new(&cancel, &error);
    if (status == VMDK_STATUS_OK)
        status = vmdk_client_connect(&given.client, &client, &error);
    forget_password(&given);
    throw_on_signal(cancel);

    if (status == VMDK_STATUS_OK && given.client.state_dir != NULL) {
        vmdk_recover_options options = {
            .struct_size = sizeof options,
            .recovered = tell_recovered,
            .cancel = cancel,
        };
        status = vmdk_recover(client, &options, &error);
    }
    if (status == VMDK_STATUS_OK) {
        vmdk_restore_options options = {
            .struct_size = sizeof options,
            .backup_id = given.backup_id,
            .temp_dir = given.temp_dir,
            .staging = given.staging,
            .progress = progress_bar(given.quiet),
            .cancel = cancel,
        };
        status = vmdk_restore_backup(client, service, &given.volume, &options, &summary, &error);
    }
    throw_on_signal(NULL);
    vmdk_client_free(client);
    vmdk_cancel_free(cancel);
    vmdk_service_free(service);

    int code = report(argv[0], status, &summary, error);
    vmdk_error_free(error);
    return code;
}
