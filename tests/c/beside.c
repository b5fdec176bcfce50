/* A program with two libraries that are written in Rust, both in archives. */
#include "check.h"

#ifdef __cplusplus
extern "C"
#endif
    int
    another_sum(int left, int right);

int main(void)
{
    vmdk_cancel *cancel = NULL;
    vmdk_service *service = NULL;
    vmdk_client *client = NULL;
    vmdk_client_options options;

    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.server = "127.0.0.1:1";
    options.username = options.password = "somebody";
    options.insecure = 1;
    CHECK(another_sum(1, 2) == 3);
    WORKS(vmdk_cancel_new(&cancel, &error));
    vmdk_cancel_free(cancel);
    FAILS(vmdk_service_directory("/nonexistent", &service, &error), VMDK_STATUS_NOT_FOUND, "");
    FAILS(vmdk_client_connect(&options, &client, &error), VMDK_STATUS_CONNECTION, "127.0.0.1");
    CHECK(another_sum(2147483647, 1) == -1);
    puts("good");
    return 0;
}
