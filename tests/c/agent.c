/* A storage agent in one shot: one operation against a server, and how it ended.
 * usage: agent SERVER USER PASSWORD CA ROOT OPERATION STAGING NAME ID BACKUP [wait]
 * OPERATION: backup, restore, recover, recover-aged (of what is a second old) or dry-run. STAGING:
 * stream, file, or files for a service that works on regular files. ROOT has the directories state,
 * service and temp. With wait it says that it is ready, and begins when it is given a line.
 * Prints OK, or the status and the message; ends with 0, or 2 for an error of the library's. */
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

static char state_dir[4096], service_dir[4096], temp_dir[4096];

static void place(char *path, const char *root, const char *name)
{
    CHECK((size_t)snprintf(path, 4096, "%s/%s", root, name) < 4096);
}

/* Whatever fails here is the service's failure: the library is told its errno. */
static int32_t copy(const char *from, const char *to)
{
    static char bytes[1 << 16];
    ssize_t got = -1;
    int32_t result = 0;
    const int in = open(from, O_RDONLY | O_CLOEXEC);
    const int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (in < 0 || out < 0)
        result = errno;
    while (result == 0 && (got = read(in, bytes, sizeof bytes)) != 0) {
        ssize_t done = 0;
        if (got < 0)
            result = errno;
        while (result == 0 && done < got) {
            const ssize_t put = write(out, bytes + done, (size_t)(got - done));
            if (put < 0)
                result = errno;
            else
                done += put;
        }
    }
    if (result == 0 && fsync(out) != 0)
        result = errno;
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return result;
}

static int32_t backup_file(void *user_data, void *writer, const char *backup_id, const char *path)
{
    char half[4400], whole[4400];
    int32_t result;

    (void)user_data, (void)writer;
    snprintf(half, sizeof half, "%s/%s.half", service_dir, backup_id);
    snprintf(whole, sizeof whole, "%s/%s.vmdk", service_dir, backup_id);
    result = copy(path, half);
    if (result == 0 && rename(half, whole) != 0)
        result = errno;
    if (result != 0)
        unlink(half);
    return result;
}

static int32_t restore_file(void *user_data, void *reader, const char *backup_id, const char *path)
{
    char whole[4400];

    (void)user_data, (void)reader;
    snprintf(whole, sizeof whole, "%s/%s.vmdk", service_dir, backup_id);
    return copy(whole, path);
}

static vmdk_status make_service(const char *staging, vmdk_service **service, vmdk_error **error)
{
    vmdk_service_callbacks callbacks = { .struct_size = sizeof callbacks };

    if (strcmp(staging, "files") != 0)
        return vmdk_service_directory(service_dir, service, error);
    callbacks.backup_file = backup_file;
    callbacks.restore_file = restore_file;
    return vmdk_service_new(&callbacks, service, error);
}

static void tell(void *user_data, vmdk_outcome outcome, const char *operation_id, const char *what)
{
    static const char *const words[] = { "done", "skipped", "failed" };

    (void)user_data;
    printf("%s %s %s\n", words[outcome], operation_id, what);
}

static vmdk_status recover(const vmdk_client *client, const char *operation, vmdk_error **error)
{
    vmdk_recover_options options = { .struct_size = sizeof options };

    options.dry_run = strcmp(operation, "dry-run") == 0;
    options.min_age_s = strcmp(operation, "recover-aged") == 0;
    options.recovered = tell;
    return vmdk_recover(client, &options, error);
}

static vmdk_status run(char **argv, const vmdk_client *client, vmdk_error **error)
{
    const char *operation = argv[6], *staging = argv[7];
    vmdk_volume volume = { .struct_size = sizeof volume, .name = argv[8] };
    vmdk_backup_options backup = { .struct_size = sizeof backup, .backup_id = argv[10] };
    vmdk_restore_options restore = { .struct_size = sizeof restore, .backup_id = argv[10] };
    vmdk_service *service = NULL;
    vmdk_status status;

    if (strncmp(operation, "recover", 7) == 0 || strcmp(operation, "dry-run") == 0)
        return recover(client, operation, error);
    if (argv[9][0])
        volume.id = argv[9];
    status = make_service(staging, &service, error);
    if (status != VMDK_STATUS_OK)
        return status;
    backup.staging = strcmp(staging, "stream") == 0 ? VMDK_STAGING_STREAM : VMDK_STAGING_FILE;
    backup.temp_dir = temp_dir;
    backup.stall_timeout_ms = 10000;
    restore.staging = backup.staging;
    restore.temp_dir = temp_dir;
    restore.stall_timeout_ms = backup.stall_timeout_ms;
    if (strcmp(operation, "backup") == 0)
        status = vmdk_backup_volume(client, service, &volume, &backup, NULL, error);
    else
        status = vmdk_restore_backup(client, service, &volume, &restore, NULL, error);
    vmdk_service_free(service);
    return status;
}

int main(int argc, char **argv)
{
    vmdk_client_options options = { .struct_size = sizeof options };
    vmdk_client *client = NULL;
    vmdk_error *error = NULL;
    vmdk_status status;

    CHECK(argc >= 11);
    place(state_dir, argv[5], "state");
    place(service_dir, argv[5], "service");
    place(temp_dir, argv[5], "temp");
    if (argc > 11) {
        char line[2];
#ifdef PR_SET_PTRACER
        /* The tracer is a sister process. */
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
#endif
        CHECK(write(1, "ready\n", 6) == 6);
        /* Even this may have been made to fail. */
        if (read(0, line, sizeof line) < 0)
            perror("read");
    }
    options.server = argv[1];
    options.username = argv[2];
    options.password = argv[3];
    options.ca_file = argv[4];
    options.state_dir = state_dir;
    options.connect_timeout_ms = 10000;
    options.request_timeout_ms = 10000;
    status = vmdk_client_connect(&options, &client, &error);
    if (status == VMDK_STATUS_OK)
        status = run(argv, client, &error);
    CHECK(vmdk_error_status(error) == status);
    if (status == VMDK_STATUS_OK)
        puts("OK");
    else
        printf("%s: %s\n", vmdk_status_name(status), vmdk_error_message(error));
    vmdk_error_free(error);
    vmdk_client_free(client);
    return status == VMDK_STATUS_OK ? 0 : 2;
}
