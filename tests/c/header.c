/* The header alone, in C99 and in C++11: with -Wpadded a hole in any structure is an error. */
#include <vmdk_backup.h>

int main(void)
{
    vmdk_client_options client = { sizeof client };
    vmdk_service_callbacks callbacks = { sizeof callbacks };
    vmdk_volume volume = { sizeof volume };
    vmdk_backup_options backup = { sizeof backup };
    vmdk_restore_options restore = { sizeof restore };
    vmdk_summary summary = { sizeof summary };

    return client.struct_size + callbacks.struct_size + volume.struct_size + backup.struct_size
                   + restore.struct_size + summary.struct_size
               > 0
        ? VMDK_STATUS_OK
        : VMDK_STATUS_PANIC;
}
