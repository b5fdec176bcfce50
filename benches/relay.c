/* Jobs to be measured, through the C interface: each volume's is done by a thread of its own.
 *
 * relay idle                                      connects, and no more
 * relay backup|restore LEVEL PLACE RATE NAME...   LEVEL: full, structure or digest. PLACE: a
 * directory of backups, or "-": a service that forgets all it is given. RATE: bytes a second that
 * such a service takes; 0 = all.
 *
 * A volume is given as NAME[=BACKUP]; the backup is called as the volume where no name is given.
 * The environment has VSPHERE_SERVER, VSPHERE_USER, VSPHERE_PASSWORD and VSPHERE_CA_FILE. Prints
 * the seconds and the stream's bytes of each volume, and the peak of memory. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vmdk_backup.h>

struct job {
    pthread_t thread;
    const vmdk_client *client;
    const vmdk_service *service;
    const char *name, *backup_id;
    bool restore;
    vmdk_check_level level;
    double seconds;
    uint64_t bytes;
    bool failed;
};

/* A writer of the service that forgets. */
struct slow_writer {
    double began;
    uint64_t taken;
};

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int32_t slow_create(void *rate, const vmdk_backup_request *request, void **writer_out)
{
    struct slow_writer *writer = calloc(1, sizeof *writer);

    (void)rate, (void)request;
    if (writer == NULL)
        return 1;
    writer->began = now();
    *writer_out = writer;
    return 0;
}

static int32_t slow_write(void *user_data, void *writer_pointer, const void *bytes, size_t length)
{
    const uint64_t *rate = user_data;
    struct slow_writer *writer = writer_pointer;

    (void)bytes;
    writer->taken += length;
    if (*rate > 0) {
        double early = writer->began + (double)writer->taken / (double)*rate - now();
        struct timespec rest = { .tv_sec = (time_t)early,
                                 .tv_nsec = (long)((early - (double)(time_t)early) * 1e9) };

        while (early > 0 && nanosleep(&rest, &rest) != 0 && errno == EINTR)
            ;
    }
    return 0;
}

static int32_t slow_commit(void *rate, void *writer)
{
    (void)rate;
    free(writer);
    return 0;
}

static void slow_abort(void *rate, void *writer)
{
    (void)rate;
    free(writer);
}

static void *run(void *pointer)
{
    struct job *job = pointer;
    vmdk_error *error = NULL;
    vmdk_status status;
    vmdk_volume volume = { .struct_size = sizeof volume, .name = job->name };
    vmdk_summary summary = { .struct_size = sizeof summary };
    double began = now();

    if (job->restore) {
        vmdk_restore_options options = { .struct_size = sizeof options,
                                         .backup_id = job->backup_id,
                                         .check_level = job->level };
        status =
            vmdk_restore_backup(job->client, job->service, &volume, &options, &summary, &error);
    } else {
        vmdk_backup_options options = { .struct_size = sizeof options,
                                        .backup_id = job->backup_id,
                                        .check_level = job->level };
        status = vmdk_backup_volume(job->client, job->service, &volume, &options, &summary, &error);
    }
    job->seconds = now() - began;
    job->bytes = summary.stream_length;
    job->failed = status != VMDK_STATUS_OK;
    if (job->failed)
        fprintf(stderr, "relay: %s\n", vmdk_error_message(error));
    vmdk_error_free(error);
    return NULL;
}

static void print_peak(void)
{
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");

    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        long peak;
        if (sscanf(line, "VmHWM: %ld", &peak) == 1)
            printf("peak_kib=%ld\n", peak);
    }
    if (status != NULL)
        fclose(status);
}

static bool run_all(struct job *jobs, size_t count)
{
    size_t started = 0;
    bool good = true;

    while (started < count && pthread_create(&jobs[started].thread, NULL, run, &jobs[started]) == 0)
        started++;
    for (size_t i = 0; i < started; i++) {
        pthread_join(jobs[i].thread, NULL);
        printf("job=%s %.6f %" PRIu64 "\n", jobs[i].name, jobs[i].seconds, jobs[i].bytes);
        good = good && !jobs[i].failed;
    }
    return good && started == count;
}

int main(int argc, char **argv)
{
    static const char *levels[] = { "full", "structure", "digest" };
    uint64_t rate = 0;
    vmdk_error *error = NULL;
    vmdk_client *client = NULL;
    vmdk_service *service = NULL;
    vmdk_client_options where = {
        .struct_size = sizeof where,
        .server = getenv("VSPHERE_SERVER"),
        .username = getenv("VSPHERE_USER"),
        .password = getenv("VSPHERE_PASSWORD"),
        .ca_file = getenv("VSPHERE_CA_FILE"),
    };
    bool idle = argc == 2 && strcmp(argv[1], "idle") == 0;

    if (!idle && argc < 6) {
        fprintf(stderr, "usage: relay idle | backup|restore LEVEL PLACE RATE NAME[=BACKUP]...\n");
        return 2;
    }
    vmdk_status status = vmdk_client_connect(&where, &client, &error);
    bool good = status == VMDK_STATUS_OK;
    if (good && !idle) {
        struct vmdk_service_callbacks forgetting = {
            .struct_size = sizeof forgetting,
            .user_data = &rate,
            .create = slow_create,
            .write = slow_write,
            .commit = slow_commit,
            .abort = slow_abort,
        };
        size_t count = (size_t)argc - 5;
        struct job *jobs = calloc(count, sizeof *jobs);

        rate = strtoull(argv[4], NULL, 10);
        status = strcmp(argv[3], "-") == 0 ? vmdk_service_new(&forgetting, &service, &error)
                                           : vmdk_service_directory(argv[3], &service, &error);
        good = status == VMDK_STATUS_OK && jobs != NULL;
        for (size_t i = 0; good && i < count; i++) {
            char *backup = strchr(argv[5 + i], '=');

            if (backup != NULL)
                *backup++ = '\0';
            jobs[i] = (struct job){ .client = client,
                                    .service = service,
                                    .name = argv[5 + i],
                                    .backup_id = backup != NULL ? backup : argv[5 + i],
                                    .restore = strcmp(argv[1], "restore") == 0 };
            for (size_t level = 0; level < sizeof levels / sizeof *levels; level++)
                if (strcmp(argv[2], levels[level]) == 0)
                    jobs[i].level = (vmdk_check_level)level;
        }
        good = good && run_all(jobs, count);
        free(jobs);
    }
    if (error != NULL)
        fprintf(stderr, "relay: %s\n", vmdk_error_message(error));
    vmdk_service_free(service);
    vmdk_client_free(client);
    vmdk_error_free(error);
    print_peak();
    return good ? 0 : 1;
}
