/* convert stream|raw SOURCE TARGET: converts a disk in a file through the C interface. */
#include <stdio.h>
#include <string.h>
#include <vmdk_backup.h>

int main(int argc, char **argv)
{
    vmdk_error *error = NULL;

    if (argc != 4 || (strcmp(argv[1], "stream") != 0 && strcmp(argv[1], "raw") != 0)) {
        fprintf(stderr, "usage: convert stream|raw SOURCE TARGET\n");
        return 2;
    }
    vmdk_convert_options options = {
        .struct_size = sizeof options,
        .source = argv[2],
        .target = argv[3],
        .format = strcmp(argv[1], "raw") == 0 ? VMDK_FORMAT_RAW : VMDK_FORMAT_STREAM,
    };
    vmdk_status status = vmdk_convert(&options, NULL, &error);
    if (status != VMDK_STATUS_OK)
        fprintf(stderr, "convert: %s\n", vmdk_error_message(error));
    vmdk_error_free(error);
    return status == VMDK_STATUS_OK ? 0 : 1;
}
