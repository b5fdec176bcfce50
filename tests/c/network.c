/* A storage agent that does one operation after another, each with a client of its own, in one
 * process. usage: network SERVER USER PASSWORD CA ROOT ROOT has the directories state, service and
 * temp. Reads jobs from standard input, a line each: OPERATION STAGING PATIENCE NAME ID BACKUP
 * OPERATION: backup, restore or recover (of what is a second old). STAGING: stream or file.
 * PATIENCE: patient (tries again as usual) or impatient (never). Answers each when its client is
 * freed with a line: STATUS RETRYABLE SHA256 AGAIN ENDED THREADS DESCRIPTORS MESSAGE AGAIN counts
 * the log records of another attempt, ENDED is when the operation returned, in microseconds since
 * 1970. What the library logs goes to standard error. */
#include "check.h"
#include <dirent.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

struct account {
    pthread_mutex_t lock;
    unsigned again;
};

struct job {
    char operation[16], staging[16], patience[16], name[64], id[64], backup[64];
};

static char state_dir[4096], service_dir[4096], temp_dir[4096];

static void place(char *path, const char *root, const char *name)
{
    CHECK((size_t)snprintf(path, 4096, "%s/%s", root, name) < 4096);
}

static void note(void *user_data, vmdk_log_level level, const char *text)
{
    struct account *account = user_data;

    pthread_mutex_lock(&account->lock);
    account->again += strstr(text, "again in ") != NULL;
    fprintf(stderr, "%d %s\n", (int)level, text);
    pthread_mutex_unlock(&account->lock);
}

static void tell(void *user_data, vmdk_outcome outcome, const char *operation_id, const char *what)
{
    static const char *const words[] = { "done", "skipped", "failed" };

    (void)user_data;
    fprintf(stderr, "recovery: %s %s %s\n", words[outcome], operation_id, what);
}

/* The entries of a directory of /proc/self. */
static unsigned entries(const char *path)
{
    unsigned count = 0;
    DIR *directory = opendir(path);

    CHECK(directory != NULL);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static unsigned long long now(void)
{
    struct timespec time;

    CHECK(clock_gettime(CLOCK_REALTIME, &time) == 0);
    return (unsigned long long)time.tv_sec * 1000000 + (unsigned long long)time.tv_nsec / 1000;
}

static vmdk_status operate(const struct job *job, const vmdk_client *client, vmdk_summary *summary,
                           vmdk_error **error)
{
    vmdk_volume volume = { .struct_size = sizeof volume, .name = job->name, .id = job->id };
    vmdk_backup_options backup = { .struct_size = sizeof backup, .backup_id = job->backup };
    vmdk_restore_options restore = { .struct_size = sizeof restore, .backup_id = job->backup };
    vmdk_recover_options recover = { .struct_size = sizeof recover, .min_age_s = 1 };
    vmdk_service *service = NULL;
    vmdk_status status;

    recover.recovered = tell;
    if (strcmp(job->operation, "recover") == 0)
        return vmdk_recover(client, &recover, error);
    status = vmdk_service_directory(service_dir, &service, error);
    if (status != VMDK_STATUS_OK)
        return status;
    backup.staging = strcmp(job->staging, "file") == 0 ? VMDK_STAGING_FILE : VMDK_STAGING_STREAM;
    backup.temp_dir = temp_dir;
    backup.stall_timeout_ms = 400;
    restore.staging = backup.staging;
    restore.temp_dir = temp_dir;
    restore.stall_timeout_ms = backup.stall_timeout_ms;
    if (strcmp(job->operation, "backup") == 0)
        status = vmdk_backup_volume(client, service, &volume, &backup, summary, error);
    else
        status = vmdk_restore_backup(client, service, &volume, &restore, summary, error);
    vmdk_service_free(service);
    return status;
}

static void run(char **argv, const struct job *job)
{
    vmdk_client_options options = { .struct_size = sizeof options };
    vmdk_summary summary = { .struct_size = sizeof summary };
    struct account account = { PTHREAD_MUTEX_INITIALIZER, 0 };
    vmdk_client *client = NULL;
    vmdk_error *error = NULL;
    vmdk_status status;
    unsigned long long ended;
    const char *message;

    options.server = argv[1];
    options.username = argv[2];
    options.password = argv[3];
    options.ca_file = argv[4];
    options.state_dir = state_dir;
    options.connect_timeout_ms = 1500;
    options.request_timeout_ms = 1500;
    options.retries = strcmp(job->patience, "patient") == 0 ? 0 : VMDK_RETRIES_NONE;
    options.retry_pause_ms = 5;
    options.busy_timeout_ms = 200;
    options.log_level = VMDK_LOG_DEBUG;
    options.log = note;
    options.log_user_data = &account;
    status = vmdk_client_connect(&options, &client, &error);
    if (status == VMDK_STATUS_OK)
        status = operate(job, client, &summary, &error);
    ended = now();
    CHECK(vmdk_error_status(error) == status);
    vmdk_client_free(client);
    printf("%d %d %s %u %llu %u %u ", (int)status, vmdk_error_retryable(error),
           summary.stream_sha256[0] ? summary.stream_sha256 : "-", account.again, ended,
           entries("/proc/self/task"), entries("/proc/self/fd"));
    for (message = status == VMDK_STATUS_OK ? summary.notices : vmdk_error_message(error); *message;
         message++)
        putchar(*message == '\n' ? ' ' : *message);
    putchar('\n');
    fflush(stdout);
    vmdk_error_free(error);
}

int main(int argc, char **argv)
{
    char line[512];
    struct job job;

    CHECK(argc == 6);
    place(state_dir, argv[5], "state");
    place(service_dir, argv[5], "service");
    place(temp_dir, argv[5], "temp");
    while (fgets(line, sizeof line, stdin) != NULL) {
        CHECK(sscanf(line, "%15s %15s %15s %63s %63s %63s", job.operation, job.staging,
                     job.patience, job.name, job.id, job.backup)
              == 6);
        run(argv, &job);
    }
    return 0;
}
