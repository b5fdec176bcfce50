/* What the header promises of operations, against a server with a volume called volume-1.
 * usage: operations SERVER USER PASSWORD CA|- DIRECTORY TEST...
 * With - for the authority the server speaks plain HTTP. */
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *directory;
static vmdk_client *client;
static vmdk_volume volume = { .struct_size = sizeof volume, .name = "volume-1" };

static int records;
static int log_freed;

static void count_record(void *user_data, vmdk_log_level level, const char *text)
{
    (void)level;
    CHECK(strchr(text, '\n') == NULL);
    __atomic_add_fetch((int *)user_data, 1, __ATOMIC_SEQ_CST);
}

static void free_log(void *user_data)
{
    CHECK(user_data == &records);
    ++log_freed;
}

static void connect_client(char **argv)
{
    vmdk_client_options options = { .struct_size = sizeof options };

    options.server = argv[1];
    options.username = argv[2];
    options.password = argv[3];
    if (strcmp(argv[4], "-") == 0)
        options.allow_plain_http = 1;
    else
        options.ca_file = argv[4];
    options.log = count_record;
    options.log_level = VMDK_LOG_DEBUG;
    options.log_user_data = &records;
    options.log_free = free_log;
    WORKS(vmdk_client_connect(&options, &client, &error));
}

/* --- a service in memory, that fails where it is told to and counts what it is asked --- */

enum call { NONE, CREATE, WRITE, SET_METADATA, COMMIT, OPEN, READ, GET_METADATA, CALLS };

struct memory {
    char *bytes;
    size_t length, at;
    char metadata[65536];
    size_t metadata_length;
    int committed;
    enum call failing;
    int calls[CALLS];
    int aborts, closes;
    pthread_t caller;
    void (*on_write)(struct memory *);
};

static int32_t called(struct memory *memory, enum call call)
{
    CHECK(pthread_equal(memory->caller, pthread_self()));
    ++memory->calls[call];
    return memory->failing == call ? 1000 + (int32_t)call : 0;
}

static int32_t create(void *user_data, const vmdk_backup_request *request, void **writer_out)
{
    CHECK(*writer_out == NULL && request->struct_size >= sizeof *request);
    CHECK(strcmp(request->backup_id, "b1") == 0 && request->capacity > 0);
    *writer_out = user_data;
    return called(user_data, CREATE);
}

static int32_t write_bytes(void *user_data, void *writer, const void *bytes, size_t length)
{
    struct memory *memory = writer;
    CHECK(user_data == writer && length > 0);
    memory->bytes = realloc(memory->bytes, memory->length + length);
    CHECK(memory->bytes != NULL);
    memcpy(memory->bytes + memory->length, bytes, length);
    memory->length += length;
    if (memory->on_write)
        memory->on_write(memory);
    return called(memory, WRITE);
}

static int32_t set_metadata(void *user_data, void *writer, const char *metadata, size_t length)
{
    struct memory *memory = writer;
    CHECK(user_data == writer && strlen(metadata) == length);
    CHECK(length < sizeof memory->metadata);
    memcpy(memory->metadata, metadata, length);
    memory->metadata_length = length;
    return called(memory, SET_METADATA);
}

static int32_t commit(void *user_data, void *writer)
{
    const int32_t result = called(writer, COMMIT);
    CHECK(user_data == writer);
    ((struct memory *)writer)->committed = result == 0;
    return result;
}

static void abort_backup(void *user_data, void *writer)
{
    CHECK(user_data == writer);
    ++((struct memory *)writer)->aborts;
}

static int32_t open_backup(void *user_data, const char *backup_id, uint64_t *length_out,
                           void **reader_out)
{
    struct memory *memory = user_data;
    CHECK(strcmp(backup_id, "b1") == 0 && *length_out == 0 && *reader_out == NULL);
    *length_out = memory->length;
    *reader_out = memory;
    memory->at = 0;
    return called(memory, OPEN);
}

static int32_t read_bytes(void *user_data, void *reader, void *buffer, size_t size,
                          size_t *length_out)
{
    struct memory *memory = reader;
    const size_t rest = memory->length - memory->at;
    CHECK(user_data == reader && *length_out == 0);
    *length_out = size < rest ? size : rest;
    memcpy(buffer, memory->bytes + memory->at, *length_out);
    memory->at += *length_out;
    return called(memory, READ);
}

static int32_t get_metadata(void *user_data, void *reader, char *buffer, size_t size,
                            size_t *length_out)
{
    struct memory *memory = reader;
    CHECK(user_data == reader && memory->metadata_length <= size);
    *length_out = memory->metadata_length;
    memcpy(buffer, memory->metadata, memory->metadata_length);
    return called(memory, GET_METADATA);
}

static void close_backup(void *user_data, void *reader)
{
    CHECK(user_data == reader);
    ++((struct memory *)reader)->closes;
}

static vmdk_service *service_of(struct memory *memory)
{
    vmdk_service_callbacks callbacks = { .struct_size = sizeof callbacks };
    vmdk_service *service = NULL;

    callbacks.user_data = memory;
    callbacks.create = create;
    callbacks.write = write_bytes;
    callbacks.set_metadata = set_metadata;
    callbacks.commit = commit;
    callbacks.abort = abort_backup;
    callbacks.open = open_backup;
    callbacks.read = read_bytes;
    callbacks.get_metadata = get_metadata;
    callbacks.close = close_backup;
    memory->caller = pthread_self();
    WORKS(vmdk_service_new(&callbacks, &service, &error));
    return service;
}

static vmdk_backup_options backup_options(void)
{
    vmdk_backup_options options = { .struct_size = sizeof options, .backup_id = "b1" };
    options.temp_dir = directory;
    return options;
}

static vmdk_restore_options restore_options(void)
{
    vmdk_restore_options options = { .struct_size = sizeof options, .backup_id = "b1" };
    options.temp_dir = directory;
    return options;
}

/* --- the tests --- */

static void a_volume_goes_out_and_comes_back(void)
{
    struct memory memory = { 0 };
    vmdk_service *service = service_of(&memory);
    vmdk_backup_options backup = backup_options();
    vmdk_restore_options restore = restore_options();
    vmdk_summary made = { .struct_size = sizeof made };
    vmdk_verify_options verify = { .struct_size = sizeof verify };
    vmdk_summary proven = { .struct_size = sizeof proven };
    vmdk_summary brought = { .struct_size = sizeof brought };

    verify.backup_id = backup.backup_id;
    WORKS(vmdk_backup_volume(client, service, &volume, &backup, &made, &error));
    CHECK(memory.committed && memory.aborts == 0 && made.stream_length == memory.length);
    CHECK(strlen(made.stream_sha256) == 64 && made.operation_id[0] && made.backing[0]);
    CHECK(made.backing_created == 0 && made.notice_count == 0 && made.notices[0] == 0);
    WORKS(vmdk_verify_backup(service, &verify, &proven, &error));
    CHECK(strcmp(proven.stream_sha256, made.stream_sha256) == 0);
    CHECK(strcmp(proven.content_digest, made.content_digest) == 0);
    CHECK(proven.operation_id[0] == 0 && proven.backing[0] == 0);
    memory.bytes[memory.length / 2] ^= 1;
    FAILS(vmdk_verify_backup(service, &verify, NULL, &error), VMDK_STATUS_CORRUPT, "byte");
    memory.bytes[memory.length / 2] ^= 1;
    verify.check_level = 3;
    FAILS(vmdk_verify_backup(service, &verify, NULL, &error), VMDK_STATUS_UNSUPPORTED,
          "check_level");
    WORKS(vmdk_restore_backup(client, service, &volume, &restore, &brought, &error));
    CHECK(memory.closes == 3);
    CHECK(strcmp(made.content_digest, brought.content_digest) == 0);
    CHECK(strcmp(made.backing, brought.backing) == 0);
    vmdk_service_free(service);
    free(memory.bytes);
}

static void a_failing_callback_is_told_by_its_number(void)
{
    struct memory memory = { 0 };
    vmdk_service *service = service_of(&memory);
    vmdk_backup_options backup = backup_options();
    vmdk_restore_options restore = restore_options();
    vmdk_summary summary = { .struct_size = sizeof summary, .capacity = 7 };
    vmdk_error *error = NULL;

    for (memory.failing = CREATE; memory.failing <= COMMIT; ++memory.failing) {
        const int begun = memory.failing != CREATE;
        memory.length = 0;
        memory.aborts = 0;
        CHECK(vmdk_backup_volume(client, service, &volume, &backup, &summary, &error)
              == VMDK_STATUS_SERVICE);
        CHECK(vmdk_error_callback_value(error) == 1000 + (int)memory.failing);
        CHECK(memory.aborts == begun && !memory.committed);
        CHECK(vmdk_error_operation_id(error) != NULL && vmdk_error_left_behind(error, 0) == NULL);
        vmdk_error_free(error);
    }
    memory.failing = NONE;
    memory.length = 0;
    CHECK(vmdk_backup_volume(client, service, &volume, &backup, NULL, NULL) == VMDK_STATUS_OK);
    for (memory.failing = OPEN; memory.failing <= GET_METADATA; ++memory.failing) {
        const int begun = memory.failing != OPEN;
        memory.closes = 0;
        CHECK(vmdk_restore_backup(client, service, &volume, &restore, &summary, &error)
              == VMDK_STATUS_SERVICE);
        CHECK(vmdk_error_callback_value(error) == 1000 + (int)memory.failing);
        CHECK(memory.closes == begun && vmdk_error_left_behind(error, 0) == NULL);
        vmdk_error_free(error);
    }
    CHECK(summary.capacity == 7);
    vmdk_service_free(service);
    free(memory.bytes);
}

static int32_t stop_in_transfer(void *user_data, vmdk_phase phase, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    ++*(int *)user_data;
    return phase == VMDK_PHASE_TRANSFER ? -42 : 0;
}

static void progress_that_is_not_zero_cancels(void)
{
    struct memory memory = { 0 };
    vmdk_service *service = service_of(&memory);
    vmdk_backup_options backup = backup_options();
    vmdk_error *error = NULL;
    int reports = 0;

    backup.progress = stop_in_transfer;
    backup.progress_user_data = &reports;
    CHECK(vmdk_backup_volume(client, service, &volume, &backup, NULL, &error)
          == VMDK_STATUS_CANCELLED);
    CHECK(vmdk_error_callback_value(error) == -42);
    CHECK(vmdk_error_phase(error) == VMDK_PHASE_TRANSFER);
    CHECK(reports > 1 && memory.aborts == 1 && !memory.committed);
    vmdk_error_free(error);
    vmdk_service_free(service);
    free(memory.bytes);
}

static vmdk_cancel *cancel;

static void *throw_switch(void *unused)
{
    (void)unused;
    vmdk_cancel_throw(cancel);
    return NULL;
}

/* The switch is thrown while the callback runs, so what follows must see it. */
static void throw_from_another_thread(struct memory *memory)
{
    pthread_t thread;
    (void)memory;
    CHECK(pthread_create(&thread, NULL, throw_switch, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void another_thread_cancels(void)
{
    struct memory memory = { .on_write = throw_from_another_thread };
    vmdk_service *service = service_of(&memory);
    vmdk_backup_options backup = backup_options();

    WORKS(vmdk_cancel_new(&cancel, &error));
    backup.cancel = cancel;
    FAILS(vmdk_backup_volume(client, service, &volume, &backup, NULL, &error),
          VMDK_STATUS_CANCELLED, "volume-1");
    CHECK(memory.calls[WRITE] == 1 && memory.aborts == 1);
    vmdk_service_free(service);
    vmdk_cancel_free(cancel);
    free(memory.bytes);
}

static vmdk_service *outer_service;

static void call_back_in(struct memory *memory)
{
    vmdk_backup_options backup = backup_options();
    vmdk_restore_options restore = restore_options();
    vmdk_service *service = NULL;

    (void)memory;
    FAILS(vmdk_backup_volume(client, outer_service, &volume, &backup, NULL, &error),
          VMDK_STATUS_REENTRANT, "callback");
    FAILS(vmdk_restore_backup(client, outer_service, &volume, &restore, NULL, &error),
          VMDK_STATUS_REENTRANT, "callback");
    FAILS(vmdk_service_directory(directory, &service, &error), VMDK_STATUS_REENTRANT, "callback");
    FAILS(vmdk_recover(client, NULL, &error), VMDK_STATUS_REENTRANT, "callback");
    vmdk_client_free(client);
    vmdk_service_free(outer_service);
    CHECK(service == NULL);
}

static void a_call_from_a_callback_is_refused(void)
{
    struct memory memory = { .on_write = call_back_in };
    vmdk_backup_options backup = backup_options();

    outer_service = service_of(&memory);
    WORKS(vmdk_backup_volume(client, outer_service, &volume, &backup, NULL, &error));
    CHECK(memory.committed);
    vmdk_service_free(outer_service);
    free(memory.bytes);
}

/* --- a service of files --- */

struct files {
    char kept[4096];
    int backups, restores;
};

static int32_t copy(const char *from, const char *to)
{
    char buffer[65536];
    size_t count;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    CHECK(in != NULL && out != NULL);
    while ((count = fread(buffer, 1, sizeof buffer, in)) > 0)
        CHECK(fwrite(buffer, 1, count, out) == count);
    fclose(in);
    return fclose(out) == 0 ? 0 : 1;
}

static char temporary[4096];

static int32_t backup_file(void *user_data, void *writer, const char *backup_id, const char *path)
{
    struct files *files = user_data;
    struct stat status;

    CHECK(writer == NULL && strcmp(backup_id, "b1") == 0);
    CHECK(strncmp(path, directory, strlen(directory)) == 0);
    CHECK(stat(path, &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 0777) == 0600);
    snprintf(temporary, sizeof temporary, "%s", path);
    ++files->backups;
    return copy(path, files->kept);
}

static int32_t restore_file(void *user_data, void *reader, const char *backup_id, const char *path)
{
    struct files *files = user_data;
    struct stat status;

    CHECK(reader == NULL && strcmp(backup_id, "b1") == 0);
    CHECK(stat(path, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 0);
    snprintf(temporary, sizeof temporary, "%s", path);
    ++files->restores;
    return copy(files->kept, path);
}

static void a_service_of_files_is_shown_a_private_file(void)
{
    struct files files = { .backups = 0 };
    vmdk_service_callbacks callbacks = { .struct_size = sizeof callbacks };
    vmdk_service *service = NULL;
    vmdk_backup_options backup = backup_options();
    vmdk_restore_options restore = restore_options();
    vmdk_summary summary = { .struct_size = sizeof summary };
    struct stat status;

    snprintf(files.kept, sizeof files.kept, "%s/kept.vmdk", directory);
    callbacks.user_data = &files;
    callbacks.backup_file = backup_file;
    callbacks.restore_file = restore_file;
    WORKS(vmdk_service_new(&callbacks, &service, &error));
    backup.staging = VMDK_STAGING_STREAM;
    FAILS(vmdk_backup_volume(client, service, &volume, &backup, NULL, &error),
          VMDK_STATUS_INVALID_ARGUMENT, "staging");
    backup.staging = VMDK_STAGING_DEFAULT;
    WORKS(vmdk_backup_volume(client, service, &volume, &backup, NULL, &error));
    CHECK(files.backups == 1 && stat(temporary, &status) != 0);
    WORKS(vmdk_restore_backup(client, service, &volume, &restore, &summary, &error));
    CHECK(files.restores == 1 && stat(temporary, &status) != 0);
    /* There was no place for metadata, and the summary says so. */
    CHECK(summary.notice_count == 1 && strstr(summary.notices, "metadata"));
    vmdk_service_free(service);
}

static void an_older_callers_structures_will_do(void)
{
    struct memory memory = { 0 };
    vmdk_service *service = service_of(&memory);
    struct {
        vmdk_backup_options options;
        uint64_t later;
    } backup = { .options = backup_options(), .later = 0 };
    vmdk_volume short_volume = volume;
    vmdk_summary summary = { .struct_size = offsetof(vmdk_summary, populated), .populated = 7 };

    short_volume.struct_size = offsetof(vmdk_volume, size_bytes);
    short_volume.disk_type = 12345;
    backup.options.struct_size = sizeof backup;
    WORKS(vmdk_backup_volume(client, service, &short_volume, &backup.options, &summary, &error));
    CHECK(summary.struct_size == offsetof(vmdk_summary, populated));
    CHECK(summary.stream_length == memory.length && summary.populated == 7);
    backup.later = 1;
    FAILS(vmdk_backup_volume(client, service, &volume, &backup.options, NULL, &error),
          VMDK_STATUS_UNSUPPORTED, "vmdk_backup_options");
    vmdk_service_free(service);
    free(memory.bytes);
}

static void garbage_is_refused_by_name(void)
{
    struct memory memory = { 0 };
    vmdk_service *service = service_of(&memory);
    vmdk_summary summary = { .struct_size = 3 };
    vmdk_pair pair = { NULL, NULL };
    char long_text[8192];

    memset(long_text, 'a', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
#define REFUSED(wanted, words, change) \
    do { \
        vmdk_volume v = volume; \
        vmdk_backup_options o = backup_options(); \
        change; \
        FAILS(vmdk_backup_volume(client, service, &v, &o, NULL, &error), wanted, words); \
    } while (0)
#define INVALID(words, change) REFUSED(VMDK_STATUS_INVALID_ARGUMENT, words, change)

    INVALID("backup_id is NULL", o.backup_id = NULL);
    INVALID("backup_id is empty", o.backup_id = "");
    INVALID("backup id", o.backup_id = "../b1");
    INVALID("backup id", o.backup_id = "b/1");
    INVALID("backup_id is longer", o.backup_id = long_text);
    INVALID("backup_id is not UTF-8", o.backup_id = "\xff");
    INVALID("temp_dir is empty", o.temp_dir = "");
    INVALID("temp_dir is longer", o.temp_dir = long_text);
    INVALID("staging is -1", o.staging = -1);
    REFUSED(VMDK_STATUS_UNSUPPORTED, "staging is 77", o.staging = 77);
    INVALID("reserved is not 0", o.reserved = 1);
    REFUSED(VMDK_STATUS_NOT_FOUND, "existing_only", v.name = "nobody"; v.id = NULL; v.moref = NULL;
            v.size_bytes = 1 << 20; o.existing_only = 1);
    INVALID("name, id and moref", v.name = NULL);
    INVALID("volume.name is empty", v.name = "");
    INVALID("volume.name is longer", v.name = long_text);
    INVALID("volume.name is not UTF-8", v.name = "\xc0\x80");
    INVALID("control character", v.name = "a\nb");
    INVALID("UUID", v.id = "no-uuid");
    INVALID("volume.moref is empty", v.moref = "");
    INVALID("512", v.size_bytes = 1000);
    INVALID("volume.disk_type is -5", v.disk_type = -5);
    REFUSED(VMDK_STATUS_UNSUPPORTED, "volume.disk_type is 9", v.disk_type = 9);
    REFUSED(VMDK_STATUS_UNSUPPORTED, "volume.adapter_type is 99", v.adapter_type = 99);
    INVALID("volume.extra_config is NULL", v.extra_config_count = 1);
    INVALID("extra_config_count", v.extra_config_count = UINT32_MAX; v.extra_config = &pair);
    INVALID("volume.extra_config[0].key is NULL", v.extra_config_count = 1; v.extra_config = &pair);
    pair.key = "key";
    INVALID("volume.extra_config[0].value is NULL", v.extra_config_count = 1;
            v.extra_config = &pair);
    INVALID("volume.datastore is empty", v.datastore = "");
    INVALID("volume.folder is longer", v.folder = long_text);
    INVALID("vmdk_volume.struct_size", v.struct_size = 0);
    INVALID("vmdk_backup_options.struct_size", o.struct_size = 12);
    {
        vmdk_backup_options o = backup_options();
        FAILS(vmdk_backup_volume(client, NULL, &volume, &o, NULL, &error),
              VMDK_STATUS_INVALID_ARGUMENT, "service is NULL");
        FAILS(vmdk_backup_volume(client, service, NULL, &o, NULL, &error),
              VMDK_STATUS_INVALID_ARGUMENT, "vmdk_volume is NULL");
        FAILS(vmdk_backup_volume(client, service, &volume, NULL, NULL, &error),
              VMDK_STATUS_INVALID_ARGUMENT, "vmdk_backup_options is NULL");
        FAILS(vmdk_backup_volume(client, service, &volume, &o, &summary, &error),
              VMDK_STATUS_INVALID_ARGUMENT, "vmdk_summary.struct_size");
    }
    CHECK(memory.calls[CREATE] == 0);
    vmdk_service_free(service);
#undef INVALID
#undef REFUSED
}

struct job {
    vmdk_service *service;
    const char *name;
};

static void *back_up_new_volume(void *argument)
{
    const struct job *job = argument;
    vmdk_volume new_volume = { .struct_size = sizeof new_volume };
    vmdk_backup_options backup = backup_options();
    vmdk_summary summary = { .struct_size = sizeof summary };

    new_volume.name = job->name;
    new_volume.size_bytes = 1 << 20;
    backup.backup_id = job->name;
    WORKS(vmdk_backup_volume(client, job->service, &new_volume, &backup, &summary, &error));
    CHECK(summary.backing_created == 1 && summary.capacity == 1 << 20);
    return NULL;
}

static void threads_share_a_client_and_a_service(void)
{
    static const char *const names[] = { "new-1", "new-2", "new-3" };
    struct job jobs[3];
    pthread_t threads[3];
    vmdk_service *service = NULL;
    int i;

    WORKS(vmdk_service_directory(directory, &service, &error));
    for (i = 0; i < 3; ++i) {
        jobs[i].service = service;
        jobs[i].name = names[i];
        CHECK(pthread_create(&threads[i], NULL, back_up_new_volume, &jobs[i]) == 0);
    }
    for (i = 0; i < 3; ++i)
        CHECK(pthread_join(threads[i], NULL) == 0);
    vmdk_service_free(service);
}

static void a_forked_child_is_refused_and_the_parent_is_not(void)
{
    struct memory memory = { 0 };
    vmdk_service *service = service_of(&memory);
    vmdk_backup_options backup = backup_options();
    int status;
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        FAILS(vmdk_backup_volume(client, service, &volume, &backup, NULL, &error),
              VMDK_STATUS_INVALID_STATE, "fork");
        vmdk_client_free(client);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    WORKS(vmdk_backup_volume(client, service, &volume, &backup, NULL, &error));
    vmdk_service_free(service);
    free(memory.bytes);
}

static void signals_stay_the_hosts(void)
{
    struct memory memory = { 0 };
    vmdk_service *service = service_of(&memory);
    vmdk_backup_options backup = backup_options();
    struct sigaction action;
    sigset_t before, after;
    int number;

    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &before) == 0);
    WORKS(vmdk_backup_volume(client, service, &volume, &backup, NULL, &error));
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &after) == 0);
    for (number = 1; number < 32; ++number) {
        CHECK(sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
        CHECK(sigismember(&before, number) == sigismember(&after, number));
    }
    vmdk_service_free(service);
    free(memory.bytes);
}

#define TEST(name) \
    { \
#name, name \
    }

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
    TEST(a_volume_goes_out_and_comes_back),
    TEST(a_failing_callback_is_told_by_its_number),
    TEST(progress_that_is_not_zero_cancels),
    TEST(another_thread_cancels),
    TEST(a_call_from_a_callback_is_refused),
    TEST(a_service_of_files_is_shown_a_private_file),
    TEST(an_older_callers_structures_will_do),
    TEST(garbage_is_refused_by_name),
    TEST(threads_share_a_client_and_a_service),
    TEST(a_forked_child_is_refused_and_the_parent_is_not),
    TEST(signals_stay_the_hosts),
};

int main(int argc, char **argv)
{
    int wanted;
    size_t i;

    CHECK(argc >= 7);
    directory = argv[5];
    connect_client(argv);
    for (wanted = 6; wanted < argc; ++wanted) {
        for (i = 0; strcmp(tests[i].name, argv[wanted]) != 0;)
            CHECK(++i < sizeof tests / sizeof *tests);
        tests[i].run();
    }
    CHECK(records > 0 && log_freed == 0);
    vmdk_client_free(client);
    CHECK(log_freed == 1);
    puts("good");
    return 0;
}
