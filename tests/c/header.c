/* The header alone, in C99 and in C++11: with -Wpadded a hole in any structure is an error. */
#include <vmdk_backup.h>

static vmdk_client_options client;
static vmdk_service_callbacks callbacks;
static vmdk_backup_request request;
static vmdk_volume volume;
static vmdk_backup_options backup;
static vmdk_restore_options restore;
static vmdk_verify_options verify;
static vmdk_recover_options recover;
static vmdk_convert_options convert;
static vmdk_inspect_options inspect;
static vmdk_summary summary;

int main(void)
{
    client.struct_size = sizeof client;
    callbacks.struct_size = sizeof callbacks;
    request.struct_size = sizeof request;
    volume.struct_size = sizeof volume;
    backup.struct_size = sizeof backup;
    restore.struct_size = sizeof restore;
    verify.struct_size = sizeof verify;
    recover.struct_size = sizeof recover;
    convert.struct_size = sizeof convert;
    inspect.struct_size = sizeof inspect;
    summary.struct_size = sizeof summary;
    return vmdk_error_status(NULL);
}
