/* One client and one service for long, and for many threads at once.
 * usage: soak SERVER USER PASSWORD CA DIRECTORY JOB...
 * JOB: keep VOLUME ID            backs up one volume
 *      threads COUNT ROUNDS      thread i backs up volume-i, restores it onto itself and as copy-i
 *      same COUNT                threads back up volume-0, or restore kept-a or kept-b onto it
 *      row WARM COUNT            backups of volume-0 in a row; figures after WARM and after COUNT
 * Says how many operations succeeded and which errors there were, then "waiting", and ends after a
 * line of input: until then the client is connected. */
#include "check.h"
#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

enum { THREADS = 64, STATUSES = 32 };

static const char *directory;
static vmdk_client *client;
static vmdk_service *service;

struct worker {
    pthread_t thread;
    int number, rounds;
    int statuses[STATUSES];
};

static struct worker workers[THREADS];
static pthread_mutex_t printing = PTHREAD_MUTEX_INITIALIZER;

static void connect_client(char **argv)
{
    vmdk_client_options options = { .struct_size = sizeof options };

    options.server = argv[1];
    options.username = argv[2];
    options.password = argv[3];
    options.ca_file = argv[4];
    WORKS(vmdk_client_connect(&options, &client, &error));
}

static vmdk_status back_up(const char *name, const char *id, char *digest, vmdk_error **error)
{
    vmdk_volume volume = { .struct_size = sizeof volume, .name = name };
    vmdk_backup_options options = { .struct_size = sizeof options, .backup_id = id };
    vmdk_summary summary = { .struct_size = sizeof summary };
    const vmdk_status status =
        vmdk_backup_volume(client, service, &volume, &options, &summary, error);

    if (status == VMDK_STATUS_OK)
        strcpy(digest, summary.content_digest);
    return status;
}

static vmdk_status restore(const char *name, const char *id, char *digest, vmdk_error **error)
{
    vmdk_volume volume = { .struct_size = sizeof volume, .name = name };
    vmdk_restore_options options = { .struct_size = sizeof options, .backup_id = id };
    vmdk_summary summary = { .struct_size = sizeof summary };
    const vmdk_status status =
        vmdk_restore_backup(client, service, &volume, &options, &summary, error);

    if (status == VMDK_STATUS_OK)
        strcpy(digest, summary.content_digest);
    return status;
}

/* The service's directory for a backup, and all in it. */
static void forget(const char *id)
{
    char path[4096], file[8192];
    DIR *entries;
    struct dirent *entry;

    snprintf(path, sizeof path, "%s/%s", directory, id);
    entries = opendir(path);
    CHECK(entries != NULL);
    while ((entry = readdir(entries)) != NULL) {
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            CHECK(unlink(file) == 0);
    }
    closedir(entries);
    CHECK(rmdir(path) == 0);
}

static void start(int count, int rounds, void *(*work)(void *))
{
    int totals[STATUSES] = { 0 };

    CHECK(count > 0 && count <= THREADS);
    for (int i = 0; i < count; ++i) {
        workers[i].number = i;
        workers[i].rounds = rounds;
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (int i = 0; i < count; ++i) {
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
        for (int status = 0; status < STATUSES; ++status)
            totals[status] += workers[i].statuses[status];
    }
    for (int status = 0; status < STATUSES; ++status)
        if (totals[status] > 0)
            printf("%s=%d\n", vmdk_status_name(status), totals[status]);
}

static void *own_volume(void *argument)
{
    struct worker *worker = argument;
    char volume[32], copy[32], id[32], digest[3][72];

    snprintf(volume, sizeof volume, "volume-%d", worker->number);
    snprintf(copy, sizeof copy, "copy-%d", worker->number);
    for (int round = 0; round < worker->rounds; ++round) {
        snprintf(id, sizeof id, "b-%d-%d", worker->number, round);
        WORKS(back_up(volume, id, digest[0], &error));
        WORKS(restore(volume, id, digest[1], &error));
        WORKS(restore(copy, id, digest[2], &error));
        CHECK(strcmp(digest[0], digest[1]) == 0 && strcmp(digest[0], digest[2]) == 0);
        forget(id);
        worker->statuses[VMDK_STATUS_OK] += 3;
    }
    return NULL;
}

/* Every third one restores the first backup, every third the second. */
static void *same_volume(void *argument)
{
    struct worker *worker = argument;
    char id[32], digest[72];
    vmdk_error *error = NULL;
    vmdk_status status;

    snprintf(id, sizeof id, "same-%d", worker->number);
    if (worker->number % 3 == 0)
        status = back_up("volume-0", id, digest, &error);
    else
        status = restore("volume-0", worker->number % 3 == 1 ? "kept-a" : "kept-b", digest, &error);
    CHECK(status >= 0 && status < STATUSES);
    ++worker->statuses[status];
    CHECK(pthread_mutex_lock(&printing) == 0);
    if (status != VMDK_STATUS_OK)
        printf("refused %s: %s\n", vmdk_status_name(status), vmdk_error_message(error));
    else
        printf("%s %s\n", worker->number % 3 == 0 ? "backed-up" : "restored", digest);
    for (size_t i = 0; vmdk_error_left_behind(error, i) != NULL; ++i)
        printf("left %s\n", vmdk_error_left_behind(error, i));
    CHECK(pthread_mutex_unlock(&printing) == 0);
    vmdk_error_free(error);
    return NULL;
}

/* Of this process, what /proc tells: KiB in memory, threads, and open descriptors. */
static void figures(const char *when)
{
    char line[256];
    long resident = 0, threads = 0, descriptors = 0;
    FILE *status = fopen("/proc/self/status", "r");
    DIR *entries = opendir("/proc/self/fd");

    CHECK(status != NULL && entries != NULL);
    while (fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0)
            resident = strtol(line + 6, NULL, 10);
        if (strncmp(line, "Threads:", 8) == 0)
            threads = strtol(line + 8, NULL, 10);
    }
    fclose(status);
    while (readdir(entries) != NULL)
        ++descriptors;
    closedir(entries);
    printf("%s %ld %ld %ld\n", when, resident, threads, descriptors);
}

static void in_a_row(int warm, int count)
{
    char id[32], digest[72];

    for (int i = 1; i <= count; ++i) {
        snprintf(id, sizeof id, "row-%d", i);
        WORKS(back_up("volume-0", id, digest, &error));
        forget(id);
        if (i == warm)
            figures("warm");
    }
    figures("end");
}

int main(int argc, char **argv)
{
    char line[2], digest[72];

    CHECK(argc >= 8);
    directory = argv[5];
    connect_client(argv);
    WORKS(vmdk_service_directory(directory, &service, &error));
    if (strcmp(argv[6], "keep") == 0) {
        CHECK(argc == 9);
        WORKS(back_up(argv[7], argv[8], digest, &error));
        printf("kept %s\n", digest);
    } else if (strcmp(argv[6], "threads") == 0) {
        CHECK(argc == 9);
        start(atoi(argv[7]), atoi(argv[8]), own_volume);
    } else if (strcmp(argv[6], "same") == 0) {
        start(atoi(argv[7]), 1, same_volume);
    } else {
        CHECK(strcmp(argv[6], "row") == 0 && argc == 9);
        in_a_row(atoi(argv[7]), atoi(argv[8]));
    }
    printf("waiting\n");
    CHECK(fflush(stdout) == 0 && fgets(line, sizeof line, stdin) != NULL);
    vmdk_service_free(service);
    vmdk_client_free(client);
    return 0;
}
