/* A host program with signal handlers, limits and children of its own, while a restore runs in it.
 * usage: host SERVER USER PASSWORD CA ROOT terminated|forking|untouched
 *        host SERVER USER PASSWORD CA ROOT limited BYTES
 *        host SERVER USER PASSWORD CA ROOT state PATH
 * Restores backup kept of ROOT/service into volume-1. Prints OK, or the status and the message;
 * ends with 0, or 2 for an error of the library's. Whatever takes longer than its alarm has failed.
 */
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_SECONDS = 80, CHILDREN = 20, SIGNALS = 65 };

static char state_dir[4096], service_dir[4096];
static char **arguments;
static vmdk_cancel *cancel;
static int to_main[2], terminations[2];

static vmdk_status connect_client(vmdk_client **client, vmdk_error **error)
{
    vmdk_client_options options = { .struct_size = sizeof options };

    options.server = arguments[1];
    options.username = arguments[2];
    options.password = arguments[3];
    options.ca_file = arguments[4];
    options.state_dir = state_dir;
    options.request_timeout_ms = 10000;
    return vmdk_client_connect(&options, client, error);
}

static int32_t say_transfer(void *user_data, vmdk_phase phase, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    if (phase == VMDK_PHASE_TRANSFER && !*(int *)user_data) {
        *(int *)user_data = 1;
        CHECK(write(to_main[1], "t", 1) == 1);
    }
    return 0;
}

static vmdk_status restore(const vmdk_client *client, int *said, vmdk_error **error)
{
    vmdk_volume volume = { .struct_size = sizeof volume, .name = "volume-1" };
    vmdk_restore_options options = { .struct_size = sizeof options, .backup_id = "kept" };
    vmdk_service *service = NULL;
    vmdk_status status = vmdk_service_directory(service_dir, &service, error);

    if (status != VMDK_STATUS_OK)
        return status;
    options.cancel = cancel;
    if (said) {
        options.progress = say_transfer;
        options.progress_user_data = said;
    }
    status = vmdk_restore_backup(client, service, &volume, &options, NULL, error);
    vmdk_service_free(service);
    return status;
}

static int finish(vmdk_status status, vmdk_error *error)
{
    if (status == VMDK_STATUS_OK)
        puts("OK");
    else
        printf("%s: %s\n", vmdk_status_name(status), vmdk_error_message(error));
    vmdk_error_free(error);
    return status == VMDK_STATUS_OK ? 0 : 2;
}

/* --- SIGTERM, told through a pipe to a thread that throws the switch --- */

static void note_termination(int number)
{
    const int saved = errno;
    const char byte = (char)number;
    if (write(terminations[1], &byte, 1) != 1)
        _exit(3);
    errno = saved;
}

static void *throw_when_terminated(void *unused)
{
    char byte;
    if (read(terminations[0], &byte, 1) == 1)
        vmdk_cancel_throw(cancel);
    return unused;
}

static vmdk_status run_terminated(vmdk_client *client, vmdk_error **error)
{
    struct sigaction action;
    pthread_t thread;
    vmdk_status status;

    CHECK(pipe(terminations) == 0);
    memset(&action, 0, sizeof action);
    action.sa_handler = note_termination;
    CHECK(sigaction(SIGTERM, &action, NULL) == 0);
    WORKS(vmdk_cancel_new(&cancel, &error));
    CHECK(pthread_create(&thread, NULL, throw_when_terminated, NULL) == 0);
    CHECK(write(1, "ready\n", 6) == 6);
    status = restore(client, NULL, error);
    close(terminations[1]);
    CHECK(pthread_join(thread, NULL) == 0);
    vmdk_cancel_free(cancel);
    return status;
}

/* --- children forked while another thread is in an operation --- */

struct forked {
    vmdk_client *client;
    vmdk_error *error;
    vmdk_status status;
};

static void *restore_in_thread(void *argument)
{
    struct forked *forked = argument;
    int said = 0;
    forked->status = restore(forked->client, &said, &forked->error);
    return NULL;
}

static void be_a_child(vmdk_client *client)
{
    vmdk_volume volume = { .struct_size = sizeof volume, .name = "volume-1" };
    vmdk_backup_options backup = { .struct_size = sizeof backup, .backup_id = "child" };
    vmdk_service *service = NULL;

    alarm(LIMIT_SECONDS);
    WORKS(vmdk_service_directory(service_dir, &service, &error));
    FAILS(vmdk_backup_volume(client, service, &volume, &backup, NULL, &error),
          VMDK_STATUS_INVALID_STATE, "fork");
    FAILS(vmdk_recover(client, NULL, &error), VMDK_STATUS_INVALID_STATE, "fork");
    vmdk_service_free(service);
    vmdk_client_free(client);
    exit(0);
}

static vmdk_status run_forking(vmdk_client *client, vmdk_error **error)
{
    struct forked forked = { .client = client };
    pthread_t thread;
    char byte;
    int i, status;

    CHECK(pipe(to_main) == 0);
    CHECK(pthread_create(&thread, NULL, restore_in_thread, &forked) == 0);
    CHECK(read(to_main[0], &byte, 1) == 1);
    for (i = 0; i < CHILDREN; ++i) {
        const pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            be_a_child(client);
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    *error = forked.error;
    return forked.status;
}

/* --- the host's signals --- */

static void ignore(int number)
{
    (void)number;
}

static void look(struct sigaction *actions, sigset_t *mask)
{
    int number;
    memset(actions, 0, SIGNALS * sizeof *actions);
    for (number = 1; number < SIGNALS; ++number)
        sigaction(number, NULL, &actions[number]);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, mask) == 0);
}

static vmdk_status run_untouched(vmdk_error **error)
{
    static struct sigaction before[SIGNALS], after[SIGNALS];
    struct sigaction own;
    sigset_t mask, mask_after;
    vmdk_client *client = NULL;
    vmdk_status status;
    int number;

    memset(&own, 0, sizeof own);
    own.sa_handler = ignore;
    CHECK(sigaction(SIGUSR1, &own, NULL) == 0 && sigaction(SIGXFSZ, &own, NULL) == 0);
    CHECK(sigemptyset(&mask) == 0 && sigaddset(&mask, SIGUSR2) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &mask, NULL) == 0);
    look(before, &mask);
    status = connect_client(&client, error);
    if (status == VMDK_STATUS_OK)
        status = restore(client, NULL, error);
    vmdk_client_free(client);
    look(after, &mask_after);
    for (number = 1; number < SIGNALS; ++number) {
        CHECK(before[number].sa_handler == after[number].sa_handler);
        CHECK(before[number].sa_flags == after[number].sa_flags);
        CHECK(sigismember(&mask, number) == sigismember(&mask_after, number));
    }
    return status;
}

/* --- no file may grow beyond some bytes --- */

static vmdk_status run_limited(vmdk_client *client, vmdk_error **error)
{
    struct rlimit limit, lower;
    vmdk_status status;

    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    lower = limit;
    lower.rlim_cur = (rlim_t)atol(arguments[7]);
    CHECK(setrlimit(RLIMIT_FSIZE, &lower) == 0);
    status = restore(client, NULL, error);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    return status;
}

int main(int argc, char **argv)
{
    vmdk_client *client = NULL;
    vmdk_error *error = NULL;
    vmdk_status status;

    CHECK(argc >= 7);
    alarm(LIMIT_SECONDS);
    arguments = argv;
    snprintf(state_dir, sizeof state_dir, "%s/state", argv[5]);
    snprintf(service_dir, sizeof service_dir, "%s/service", argv[5]);
    if (strcmp(argv[6], "untouched") == 0)
        return finish(run_untouched(&error), error);
    if (strcmp(argv[6], "state") == 0)
        snprintf(state_dir, sizeof state_dir, "%s", argv[7]);
    status = connect_client(&client, &error);
    if (status != VMDK_STATUS_OK)
        return finish(status, error);
    if (strcmp(argv[6], "terminated") == 0)
        status = run_terminated(client, &error);
    else if (strcmp(argv[6], "forking") == 0)
        status = run_forking(client, &error);
    else if (strcmp(argv[6], "limited") == 0)
        status = run_limited(client, &error);
    else
        status = restore(client, NULL, &error);
    vmdk_client_free(client);
    return finish(status, error);
}
