/* Handles that are freed, swapped, invented, or in use while they are freed, against a server with
 * a volume called volume-1. usage: handles SERVER USER PASSWORD CA|- DIRECTORY [no-fork] */
#include "check.h"
#include <pthread.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static char **arguments;
static vmdk_volume volume = { .struct_size = sizeof volume, .name = "volume-1" };
static int log_ended, log_freed;

static void count_record(void *user_data, vmdk_log_level level, const char *text)
{
    (void)user_data, (void)level, (void)text;
    CHECK(!__atomic_load_n(&log_ended, __ATOMIC_SEQ_CST));
}

static void free_log(void *user_data)
{
    (void)user_data;
    ++log_freed;
}

static vmdk_client *connected(void)
{
    vmdk_client_options options = { .struct_size = sizeof options };
    vmdk_client *client = NULL;

    options.server = arguments[1];
    options.username = arguments[2];
    options.password = arguments[3];
    if (strcmp(arguments[4], "-") == 0)
        options.allow_plain_http = 1;
    else
        options.ca_file = arguments[4];
    options.log = count_record;
    options.log_level = VMDK_LOG_DEBUG;
    options.log_free = free_log;
    WORKS(vmdk_client_connect(&options, &client, &error));
    return client;
}

static vmdk_service *directory_service(void)
{
    vmdk_service *service = NULL;
    WORKS(vmdk_service_directory(arguments[5], &service, &error));
    return service;
}

static vmdk_cancel *new_cancel(void)
{
    vmdk_cancel *cancel = NULL;
    WORKS(vmdk_cancel_new(&cancel, &error));
    return cancel;
}

static vmdk_backup_options backup_options(const char *id)
{
    vmdk_backup_options options = { .struct_size = sizeof options };
    options.backup_id = id;
    return options;
}

/* Every operation refuses such a client, service or switch, and says which argument it is. */
static void refused(const void *client, const void *service, const void *cancel, const char *words)
{
    vmdk_backup_options backup = backup_options("refused");
    vmdk_restore_options restore = { .struct_size = sizeof restore, .backup_id = "refused" };
    vmdk_verify_options verify = { .struct_size = sizeof verify, .backup_id = "refused" };
    vmdk_recover_options recover = { .struct_size = sizeof recover, .dry_run = 1 };
    vmdk_convert_options convert = { .struct_size = sizeof convert, .source = "a", .target = "b" };

    backup.cancel = restore.cancel = verify.cancel = recover.cancel = convert.cancel = cancel;
    FAILS(vmdk_backup_volume(client, service, &volume, &backup, NULL, &error),
          VMDK_STATUS_INVALID_ARGUMENT, words);
    FAILS(vmdk_restore_backup(client, service, &volume, &restore, NULL, &error),
          VMDK_STATUS_INVALID_ARGUMENT, words);
    if (strncmp(words, "client", 6) != 0)
        FAILS(vmdk_verify_backup(service, &verify, NULL, &error), VMDK_STATUS_INVALID_ARGUMENT,
              words);
    if (strncmp(words, "service", 7) != 0)
        FAILS(vmdk_recover(client, &recover, &error), VMDK_STATUS_INVALID_ARGUMENT, words);
    if (strncmp(words, "cancel", 6) == 0)
        FAILS(vmdk_convert(&convert, NULL, &error), VMDK_STATUS_INVALID_ARGUMENT, words);
}

static void freed_and_swapped_handles_are_refused(void)
{
    vmdk_client *client = connected();
    vmdk_service *service = directory_service();
    vmdk_cancel *cancel = new_cancel();
    vmdk_error *failure = NULL;
    vmdk_backup_options backup = backup_options(NULL);
    char *heap = calloc(1, 4096);
    const int local = 1;

    CHECK(heap != NULL);
    CHECK(vmdk_backup_volume(client, service, &volume, &backup, NULL, &failure)
          == VMDK_STATUS_INVALID_ARGUMENT);

    refused(service, service, cancel, "client is a vmdk_service, not a vmdk_client");
    refused(client, client, cancel, "service is a vmdk_client, not a vmdk_service");
    refused(client, service, client, "cancel is a vmdk_client, not a vmdk_cancel");
    refused(client, service, failure, "cancel is a vmdk_error, not a vmdk_cancel");
    refused(&local, service, cancel, "client is not a vmdk_client of this library");
    refused(client, "text", cancel, "service is not a vmdk_service of this library");
    refused(client, service, heap, "cancel is not a vmdk_cancel of this library");
    refused((char *)client + 1, service, cancel, "client is not a vmdk_client");
    refused((void *)(size_t)-1, service, cancel, "client is not a vmdk_client");
    refused(NULL, service, cancel, "client is NULL");
    refused(client, NULL, cancel, "service is NULL");

    /* Frees of another kind leave a handle alone. */
    vmdk_service_free((vmdk_service *)client);
    vmdk_cancel_free((vmdk_cancel *)client);
    vmdk_error_free((vmdk_error *)client);
    vmdk_client_free((vmdk_client *)service);
    vmdk_client_free((vmdk_client *)heap);
    vmdk_cancel_throw((vmdk_cancel *)service);
    vmdk_cancel_throw((vmdk_cancel *)heap);
    CHECK(vmdk_error_status((vmdk_error *)client) == VMDK_STATUS_INVALID_ARGUMENT);
    CHECK(strstr(vmdk_error_message((vmdk_error *)heap), "not a vmdk_error"));
    backup = backup_options("b0");
    backup.cancel = cancel;
    WORKS(vmdk_backup_volume(client, service, &volume, &backup, NULL, &error));

    vmdk_error_free(failure);
    CHECK(vmdk_error_status(failure) == VMDK_STATUS_INVALID_ARGUMENT);
    CHECK(strstr(vmdk_error_message(failure), "freed"));
    CHECK(vmdk_error_phase(failure) == VMDK_PHASE_NONE && vmdk_error_fault(failure) == NULL);
    CHECK(vmdk_error_object(failure) == NULL && vmdk_error_operation_id(failure) == NULL);
    CHECK(vmdk_error_left_behind(failure, 0) == NULL && !vmdk_error_retryable(failure));
    CHECK(vmdk_error_callback_value(failure) == 0);
    vmdk_error_free(failure);

    vmdk_cancel_free(cancel);
    refused(client, service, cancel, "cancel was freed");
    vmdk_cancel_throw(cancel);
    vmdk_cancel_free(cancel);
    vmdk_service_free(service);
    refused(client, service, NULL, "service was freed");
    vmdk_service_free(service);
    CHECK(log_freed == 0);
    vmdk_client_free(client);
    refused(client, service, NULL, "client was freed");
    vmdk_client_free(client);
    CHECK(log_freed == 1);
    free(heap);
}

/* --- a service whose first write waits --- */

struct slow {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int writing, go_on, committed, freed;
    pthread_t caller;
    vmdk_client *client;
    vmdk_service *service;
    vmdk_cancel *cancel;
    int in_child;
};

static int32_t create(void *user_data, const vmdk_backup_request *request, void **writer_out)
{
    (void)request;
    *writer_out = user_data;
    return 0;
}

static int32_t wait_once(void *user_data, void *writer, const void *bytes, size_t length)
{
    struct slow *slow = user_data;

    (void)writer, (void)bytes, (void)length;
    CHECK(pthread_mutex_lock(&slow->lock) == 0);
    slow->writing = 1;
    CHECK(pthread_cond_broadcast(&slow->changed) == 0);
    while (!slow->go_on)
        CHECK(pthread_cond_wait(&slow->changed, &slow->lock) == 0);
    CHECK(pthread_mutex_unlock(&slow->lock) == 0);
    return 0;
}

static int32_t fork_once(void *user_data, void *writer, const void *bytes, size_t length)
{
    struct slow *slow = user_data;
    int status;
    pid_t child;

    (void)writer, (void)bytes, (void)length;
    if (slow->writing++ > 0)
        return 0;
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        slow->in_child = 1;
        return 0;
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return 0;
}

static int32_t commit(void *user_data, void *writer)
{
    (void)writer;
    ((struct slow *)user_data)->committed = 1;
    return 0;
}

static void abort_backup(void *user_data, void *writer)
{
    (void)user_data, (void)writer;
}

static void free_slow(void *user_data)
{
    struct slow *slow = user_data;
    CHECK(pthread_equal(slow->caller, pthread_self()));
    ++slow->freed;
}

typedef int32_t write_function(void *, void *, const void *, size_t);

static vmdk_service *service_of(struct slow *slow, write_function *write)
{
    vmdk_service_callbacks callbacks = { .struct_size = sizeof callbacks };
    vmdk_service *service = NULL;

    callbacks.user_data = slow;
    callbacks.free = free_slow;
    callbacks.create = create;
    callbacks.write = write;
    callbacks.commit = commit;
    callbacks.abort = abort_backup;
    WORKS(vmdk_service_new(&callbacks, &service, &error));
    return service;
}

static void *back_up(void *user_data)
{
    struct slow *slow = user_data;
    vmdk_backup_options backup = backup_options("b1");

    slow->caller = pthread_self();
    backup.cancel = slow->cancel;
    WORKS(vmdk_backup_volume(slow->client, slow->service, &volume, &backup, NULL, &error));
    return NULL;
}

static void what_is_freed_in_use_goes_with_its_last_user(void)
{
    struct slow slow = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    pthread_t thread;

    log_freed = 0;
    slow.client = connected();
    slow.service = service_of(&slow, wait_once);
    slow.cancel = new_cancel();
    CHECK(pthread_create(&thread, NULL, back_up, &slow) == 0);
    CHECK(pthread_mutex_lock(&slow.lock) == 0);
    while (!slow.writing)
        CHECK(pthread_cond_wait(&slow.changed, &slow.lock) == 0);
    vmdk_cancel_free(slow.cancel);
    vmdk_service_free(slow.service);
    vmdk_service_free(slow.service);
    CHECK(slow.freed == 0);
    vmdk_client_free(slow.client);
    vmdk_client_free(slow.client);
    __atomic_store_n(&log_ended, 1, __ATOMIC_SEQ_CST);
    CHECK(log_freed == 1);
    vmdk_cancel_throw(slow.cancel);
    refused(slow.client, slow.service, NULL, "client was freed");
    slow.go_on = 1;
    CHECK(pthread_cond_broadcast(&slow.changed) == 0);
    CHECK(pthread_mutex_unlock(&slow.lock) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(slow.committed == 1 && slow.freed == 1 && log_freed == 1);
    log_ended = 0;
}

/* In a child, the operation whose callback made it has ended. */
static void a_callback_that_returns_in_a_forked_child_ends_the_call(void)
{
    struct slow slow = { .caller = pthread_self() };
    vmdk_backup_options backup = backup_options("b1");
    vmdk_error *error = NULL;
    vmdk_status status;

    slow.client = connected();
    slow.service = service_of(&slow, fork_once);
    status = vmdk_backup_volume(slow.client, slow.service, &volume, &backup, NULL, &error);
    if (slow.in_child) {
        CHECK(status == VMDK_STATUS_INVALID_STATE);
        CHECK(strstr(vmdk_error_message(error), "fork()") != NULL);
        vmdk_error_free(error);
        vmdk_service_free(slow.service);
        vmdk_client_free(slow.client);
        _exit(0);
    }
    CHECK(status == VMDK_STATUS_OK && slow.committed == 1);
    vmdk_service_free(slow.service);
    vmdk_client_free(slow.client);
    CHECK(slow.freed == 1);
}

/* Threads that throw, free and make switches all the while, of which each is freed by two. */
enum { ROUNDS = 2000 };
static vmdk_cancel *shared[ROUNDS];
static pthread_barrier_t begin;

static void *throw_and_free_all(void *unused)
{
    int i;
    (void)unused;
    pthread_barrier_wait(&begin);
    for (i = 0; i < ROUNDS; ++i) {
        vmdk_cancel *own = new_cancel();
        vmdk_cancel_throw(shared[i]);
        vmdk_cancel_free(shared[i]);
        vmdk_cancel_free(own);
    }
    return NULL;
}

static void threads_may_free_the_same_handle(void)
{
    pthread_t threads[4];
    int i;

    for (i = 0; i < ROUNDS; ++i)
        shared[i] = new_cancel();
    CHECK(pthread_barrier_init(&begin, NULL, 4) == 0);
    for (i = 0; i < 4; ++i)
        CHECK(pthread_create(&threads[i], NULL, throw_and_free_all, NULL) == 0);
    for (i = 0; i < 4; ++i)
        CHECK(pthread_join(threads[i], NULL) == 0);
    pthread_barrier_destroy(&begin);
}

int main(int argc, char **argv)
{
    CHECK(argc == 6 || argc == 7);
    arguments = argv;
    freed_and_swapped_handles_are_refused();
    what_is_freed_in_use_goes_with_its_last_user();
    if (argc == 6)
        a_callback_that_returns_in_a_forked_child_ends_the_call();
    threads_may_free_the_same_handle();
    puts("good");
    return 0;
}
