/* One client and one service for very many operations.
 * usage: soak SERVER USER PASSWORD CA DIRECTORY threads THREADS ROUNDS | serial COUNT
 * threads: each has a volume of its own, soak-0 and up, but the last, which shares the first one's.
 * serial: backups of soak-0; prints what the process uses after a tenth of them and at the end. */
#include "check.h"
#include <dirent.h>
#include <pthread.h>

static vmdk_client *client;
static vmdk_service *service;
static int rounds;

struct job {
    char volume[32], name[32];
};

static void *back_and_forth(void *argument)
{
    const struct job *job = argument;

    for (int round = 0; round < rounds; ++round) {
        char id[80];
        vmdk_volume volume = { .struct_size = sizeof volume, .name = job->volume };
        vmdk_backup_options backup = { .struct_size = sizeof backup, .backup_id = id };
        vmdk_restore_options restore = { .struct_size = sizeof restore, .backup_id = id };
        vmdk_verify_options verify = { .struct_size = sizeof verify, .backup_id = id };
        vmdk_summary made = { .struct_size = sizeof made };
        vmdk_summary proven = { .struct_size = sizeof proven };
        vmdk_summary brought = { .struct_size = sizeof brought };

        snprintf(id, sizeof id, "%s-%d", job->name, round);
        WORKS(vmdk_backup_volume(client, service, &volume, &backup, &made, &error));
        WORKS(vmdk_verify_backup(service, &verify, &proven, &error));
        CHECK(strcmp(proven.stream_sha256, made.stream_sha256) == 0);
        if (strcmp(job->name, "shared") == 0)
            continue;
        WORKS(vmdk_restore_backup(client, service, &volume, &restore, &brought, &error));
        CHECK(strcmp(brought.content_digest, made.content_digest) == 0);
    }
    return NULL;
}

static void run_threads(int count)
{
    pthread_t *threads = calloc((size_t)count, sizeof *threads);
    struct job *jobs = calloc((size_t)count, sizeof *jobs);

    CHECK(threads != NULL && jobs != NULL);
    for (int at = 0; at < count; ++at) {
        int shares = at == count - 1;

        snprintf(jobs[at].volume, sizeof jobs[at].volume, "soak-%d", shares ? 0 : at);
        snprintf(jobs[at].name, sizeof jobs[at].name, shares ? "shared" : "own-%d", at);
        CHECK(pthread_create(&threads[at], NULL, back_and_forth, &jobs[at]) == 0);
    }
    for (int at = 0; at < count; ++at)
        CHECK(pthread_join(threads[at], NULL) == 0);
    free(jobs);
    free(threads);
}

/* The number behind a word of /proc/self/status. */
static long status_number(const char *word)
{
    char line[256];
    long number = -1;
    FILE *file = fopen("/proc/self/status", "r");

    CHECK(file != NULL);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, word, strlen(word)) == 0)
            number = atol(line + strlen(word));
    fclose(file);
    CHECK(number >= 0);
    return number;
}

static int descriptors(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");

    CHECK(directory != NULL);
    while (readdir(directory))
        ++count;
    closedir(directory);
    return count;
}

static void run_serially(int count)
{
    vmdk_volume volume = { .struct_size = sizeof volume, .name = "soak-0" };

    for (int at = 1; at <= count; ++at) {
        char id[32];
        vmdk_backup_options backup = { .struct_size = sizeof backup, .backup_id = id };

        snprintf(id, sizeof id, "serial-%d", at);
        WORKS(vmdk_backup_volume(client, service, &volume, &backup, NULL, &error));
        if (at == count / 10 || at == count)
            printf("after %d: %ld KiB, %ld threads, %d descriptors\n", at, status_number("VmRSS:"),
                   status_number("Threads:"), descriptors());
    }
}

int main(int argc, char **argv)
{
    vmdk_client_options options = { .struct_size = sizeof options };

    CHECK(argc >= 8);
    options.server = argv[1];
    options.username = argv[2];
    options.password = argv[3];
    options.ca_file = argv[4];
    WORKS(vmdk_client_connect(&options, &client, &error));
    WORKS(vmdk_service_directory(argv[5], &service, &error));
    if (strcmp(argv[6], "threads") == 0) {
        CHECK(argc == 9);
        rounds = atoi(argv[8]);
        run_threads(atoi(argv[7]));
    } else {
        run_serially(atoi(argv[7]));
    }
    vmdk_service_free(service);
    vmdk_client_free(client);
    puts("good");
    return 0;
}
