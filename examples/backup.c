/* Backs up a volume into a directory. `backup --help` explains the options. */
#include "tool.h"

int main(int argc, char **argv)
{
    struct tool tool;
    vmdk_client *client;
    vmdk_service *service = NULL;
    vmdk_backup_options options = { .struct_size = sizeof options };
    vmdk_summary summary = { .struct_size = sizeof summary };
    vmdk_error *error = NULL;
    vmdk_status status;

    tool_begin(&tool, argc, argv, NULL);
    client = tool_connect(&tool);

    options.backup_id = tool.backup_id;
    options.temp_dir = tool.temp_dir;
    options.staging = tool.staging;
    options.progress = tool_progress;
    options.progress_user_data = &tool;
    options.cancel = tool.cancel;

    status = vmdk_service_directory(tool.store, &service, &error);
    if (status == VMDK_STATUS_OK)
        status = vmdk_backup_volume(client, service, &tool.volume, &options, &summary, &error);

    vmdk_service_free(service);
    vmdk_client_free(client);
    return tool_end(&tool, status, &summary, error);
}
