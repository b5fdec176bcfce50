/* Every function of the library on a thread with a small stack, of which is told how much was used.
 * usage: stack SERVER USER PASSWORD CA DIRECTORY STACK-SIZE
 * Prints a line "name bytes" for each call: the deepest that the thread's stack was written to,
 * with what the C library itself keeps at its top. */
#define _DEFAULT_SOURCE
#include "check.h"
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#define UNTOUCHED 0xa5

static char **arguments;
static const char *directory;
static char raw_path[4096], stream_path[4096], back_path[4096];
static vmdk_client *client;
static vmdk_service *service;
static vmdk_cancel *thrown;

static vmdk_volume named(const char *name)
{
    vmdk_volume volume = { .struct_size = sizeof volume };
    volume.name = name;
    return volume;
}

static void ignore_log(void *user_data, vmdk_log_level level, const char *text)
{
    (void)user_data, (void)level, (void)text;
}

static vmdk_client_options client_options(void)
{
    vmdk_client_options options = { .struct_size = sizeof options };
    options.server = arguments[1];
    options.username = arguments[2];
    options.password = arguments[3];
    options.ca_file = arguments[4];
    options.log = ignore_log;
    options.log_level = VMDK_LOG_DEBUG;
    options.state_dir = directory;
    return options;
}

static int32_t go_on(void *user_data, vmdk_phase phase, uint64_t done, uint64_t total)
{
    (void)user_data, (void)phase, (void)done, (void)total;
    return 0;
}

static void connect_client(void)
{
    vmdk_client_options options = client_options();
    WORKS(vmdk_client_connect(&options, &client, &error));
}

static void connect_in_vain(void)
{
    vmdk_client_options options = client_options();
    vmdk_client *none = NULL;

    options.password = "wrong";
    FAILS(vmdk_client_connect(&options, &none, &error), VMDK_STATUS_AUTH, "");
    options = client_options();
    options.server = "127.0.0.1:1";
    FAILS(vmdk_client_connect(&options, &none, &error), VMDK_STATUS_CONNECTION, "");
    options.server = "http://";
    FAILS(vmdk_client_connect(&options, &none, &error), VMDK_STATUS_INVALID_ARGUMENT, "");
}

static void make_service(void)
{
    WORKS(vmdk_service_directory(directory, &service, &error));
}

static void back_up(const char *name, const char *id, vmdk_staging staging, vmdk_format format)
{
    vmdk_volume volume = named(name);
    vmdk_backup_options options = { .struct_size = sizeof options };

    volume.size_bytes = 1 << 20;
    options.backup_id = id;
    options.temp_dir = directory;
    options.staging = staging;
    options.format = format;
    options.progress = go_on;
    WORKS(vmdk_backup_volume(client, service, &volume, &options, NULL, &error));
}

static void back_up_streamed(void)
{
    back_up("volume-1", "stream", VMDK_STAGING_STREAM, VMDK_FORMAT_STREAM);
}

static void back_up_by_file(void)
{
    back_up("volume-1", "file", VMDK_STAGING_FILE, VMDK_FORMAT_STREAM);
}

static void back_up_raw(void)
{
    back_up("volume-1", "raw", VMDK_STAGING_DEFAULT, VMDK_FORMAT_RAW);
}

static void back_up_new_volume(void)
{
    back_up("volume-new", "new", VMDK_STAGING_DEFAULT, VMDK_FORMAT_STREAM);
}

static void back_up_in_vain(void)
{
    vmdk_volume volume = named("volume-1");
    vmdk_backup_options options = { .struct_size = sizeof options };

    options.backup_id = "stream";
    FAILS(vmdk_backup_volume(client, service, &volume, &options, NULL, &error), VMDK_STATUS_EXISTS,
          "");
    options.backup_id = "cancelled";
    options.cancel = thrown;
    FAILS(vmdk_backup_volume(client, service, &volume, &options, NULL, &error),
          VMDK_STATUS_CANCELLED, "");
    options.cancel = NULL;
    volume.name = "no-such-volume";
    FAILS(vmdk_backup_volume(client, service, &volume, &options, NULL, &error),
          VMDK_STATUS_NOT_FOUND, "");
}

static void restore(const char *name, const char *id, vmdk_staging staging, vmdk_format format)
{
    vmdk_volume volume = named(name);
    vmdk_restore_options options = { .struct_size = sizeof options };

    options.backup_id = id;
    options.temp_dir = directory;
    options.staging = staging;
    options.format = format;
    options.progress = go_on;
    WORKS(vmdk_restore_backup(client, service, &volume, &options, NULL, &error));
}

static void restore_onto(void)
{
    restore("volume-1", "stream", VMDK_STAGING_STREAM, VMDK_FORMAT_STREAM);
}

static void restore_by_file(void)
{
    restore("volume-1", "file", VMDK_STAGING_FILE, VMDK_FORMAT_STREAM);
}

static void restore_raw(void)
{
    restore("volume-1", "raw", VMDK_STAGING_DEFAULT, VMDK_FORMAT_RAW);
}

static void restore_as_new(void)
{
    restore("volume-2", "stream", VMDK_STAGING_DEFAULT, VMDK_FORMAT_STREAM);
}

static void restore_as_another_type(void)
{
    vmdk_volume volume = named("volume-3");
    vmdk_restore_options options = { .struct_size = sizeof options };

    volume.disk_type = VMDK_DISK_TYPE_EAGER_ZEROED_THICK;
    volume.size_bytes = UINT64_C(64) << 20;
    options.backup_id = "stream";
    WORKS(vmdk_restore_backup(client, service, &volume, &options, NULL, &error));
}

static void restore_in_vain(void)
{
    vmdk_volume volume = named("volume-1");
    vmdk_restore_options options = { .struct_size = sizeof options };

    options.backup_id = "missing";
    FAILS(vmdk_restore_backup(client, service, &volume, &options, NULL, &error),
          VMDK_STATUS_NOT_FOUND, "");
    options.backup_id = "stream";
    options.deadline_ms = 1;
    FAILS(vmdk_restore_backup(client, service, &volume, &options, NULL, &error),
          VMDK_STATUS_CANCELLED, "");
}

static void verify(const char *id)
{
    vmdk_verify_options options = { .struct_size = sizeof options };
    options.backup_id = id;
    options.progress = go_on;
    WORKS(vmdk_verify_backup(service, &options, NULL, &error));
}

static void verify_stream(void)
{
    verify("stream");
}

static void verify_raw(void)
{
    verify("raw");
}

static void recovered(void *user_data, vmdk_outcome outcome, const char *operation,
                      const char *what)
{
    (void)user_data, (void)outcome, (void)operation, (void)what;
}

static void recover(void)
{
    vmdk_recover_options options = { .struct_size = sizeof options };
    options.recovered = recovered;
    WORKS(vmdk_recover(client, &options, &error));
}

static void convert(const char *from, const char *to, vmdk_format format)
{
    vmdk_convert_options options = { .struct_size = sizeof options };
    options.source = from;
    options.target = to;
    options.format = format;
    options.progress = go_on;
    WORKS(vmdk_convert(&options, NULL, &error));
}

static void convert_to_raw(void)
{
    convert(stream_path, raw_path, VMDK_FORMAT_RAW);
}

static void convert_to_stream(void)
{
    convert(raw_path, back_path, VMDK_FORMAT_STREAM);
}

static void convert_in_vain(void)
{
    vmdk_convert_options options = { .struct_size = sizeof options };
    options.source = raw_path;
    options.target = back_path;
    FAILS(vmdk_convert(&options, NULL, &error), VMDK_STATUS_EXISTS, back_path);
}

static void inspected(void *user_data, const char *json, size_t length)
{
    (void)user_data;
    CHECK(strlen(json) == length);
}

static void inspect(const char *path)
{
    vmdk_inspect_options options = { .struct_size = sizeof options };
    options.path = path;
    options.inspected = inspected;
    WORKS(vmdk_inspect(&options, &error));
}

static void inspect_both(void)
{
    inspect(stream_path);
    inspect(raw_path);
}

static void free_handles(void)
{
    vmdk_service_free(service);
    vmdk_client_free(client);
}

#define STEP(name) \
    { \
#name, name \
    }

static const struct step {
    const char *name;
    void (*run)(void);
} steps[] = {
    STEP(connect_in_vain),    STEP(connect_client),  STEP(make_service),
    STEP(back_up_streamed),   STEP(back_up_by_file), STEP(back_up_raw),
    STEP(back_up_new_volume), STEP(back_up_in_vain), STEP(verify_stream),
    STEP(verify_raw),         STEP(restore_onto),    STEP(restore_by_file),
    STEP(restore_raw),        STEP(restore_as_new),  STEP(restore_as_another_type),
    STEP(restore_in_vain),    STEP(recover),         STEP(convert_to_raw),
    STEP(convert_to_stream),  STEP(convert_in_vain), STEP(inspect_both),
    STEP(free_handles),
};

static void *run_step(void *step)
{
    ((const struct step *)step)->run();
    return NULL;
}

/* Runs a step on a stack of its own, with a guard below it, and returns how much of it was used. */
static size_t used_by(const struct step *step, size_t size)
{
    const size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *stack = mmap(NULL, guard + size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_t attributes;
    pthread_t thread;
    size_t untouched = 0;

    CHECK(stack != MAP_FAILED);
    CHECK(mprotect(stack + guard, size, PROT_READ | PROT_WRITE) == 0);
    memset(stack + guard, UNTOUCHED, size);
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, stack + guard, size) == 0);
    CHECK(pthread_create(&thread, &attributes, run_step, (void *)step) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    while (untouched < size && stack[guard + untouched] == UNTOUCHED)
        ++untouched;
    CHECK(munmap(stack, guard + size) == 0);
    return size - untouched;
}

int main(int argc, char **argv)
{
    size_t i, size;

    CHECK(argc == 7);
    arguments = argv;
    directory = argv[5];
    size = strtoul(argv[6], NULL, 10);
    snprintf(stream_path, sizeof stream_path, "%s/stream/disk.vmdk", directory);
    snprintf(raw_path, sizeof raw_path, "%s/disk.raw", directory);
    snprintf(back_path, sizeof back_path, "%s/disk.vmdk", directory);
    WORKS(vmdk_cancel_new(&thrown, &error));
    vmdk_cancel_throw(thrown);
    for (i = 0; i < sizeof steps / sizeof *steps; ++i) {
        const size_t used = used_by(&steps[i], size);
        printf("%s %lu\n", steps[i].name, (unsigned long)used);
        fflush(stdout);
    }
    vmdk_cancel_free(thrown);
    return 0;
}
