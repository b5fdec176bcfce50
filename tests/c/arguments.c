/* Every argument that cannot be meant is refused by name, before anything is done, and nothing
 * leaks. usage: arguments DIRECTORY */
#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const text_out = "untouched";

/* A port of this machine on which nobody listens, kept as long as the program runs. */
static void closed_port(char *server, size_t size)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(s >= 0 && bind(s, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(getsockname(s, (struct sockaddr *)&address, &length) == 0);
    snprintf(server, size, "127.0.0.1:%d", ntohs(address.sin_port));
}

static vmdk_client_options good_options(void)
{
    vmdk_client_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.server = "127.0.0.1:1";
    options.username = "user";
    options.password = "correct horse";
    options.insecure = 1;
    options.connect_timeout_ms = 5000;
    return options;
}

static int logged;
static int log_freed;

static void count_log(void *user_data, vmdk_log_level level, const char *text)
{
    CHECK(user_data == &logged && level >= VMDK_LOG_WARN && text != NULL);
    CHECK(strstr(text, "correct horse") == NULL);
    ++*(int *)user_data;
}

static void free_log(void *user_data)
{
    CHECK(user_data == &logged);
    ++log_freed;
}

static void refuse_options(void)
{
    vmdk_client *client = (vmdk_client *)text_out;
    vmdk_client_options options = good_options();
    char long_text[70000];

#define REFUSED(field, value, words) \
    do { \
        options = good_options(); \
        options.field = (value); \
        FAILS(vmdk_client_connect(&options, &client, &error), VMDK_STATUS_INVALID_ARGUMENT, \
              words); \
    } while (0)

    memset(long_text, 'a', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;

    FAILS(vmdk_client_connect(NULL, &client, &error), VMDK_STATUS_INVALID_ARGUMENT,
          "vmdk_client_options is NULL");
    FAILS(vmdk_client_connect(&options, NULL, &error), VMDK_STATUS_INVALID_ARGUMENT,
          "client_out is NULL");
    CHECK(vmdk_client_connect(NULL, NULL, NULL) == VMDK_STATUS_INVALID_ARGUMENT);
    REFUSED(struct_size, 0, "struct_size is 0");
    REFUSED(struct_size, 4, "struct_size is 4");
    REFUSED(struct_size, sizeof options + 1, "struct_size");
    REFUSED(struct_size, (size_t)-1, "struct_size");
    REFUSED(struct_size, sizeof(size_t), "server is NULL");
    REFUSED(server, NULL, "server is NULL");
    REFUSED(server, "", "server is empty");
    REFUSED(server, "\xff\xfe", "server is not UTF-8");
    REFUSED(server, long_text, "server is longer");
    REFUSED(username, NULL, "username is NULL");
    REFUSED(username, "", "username is empty");
    REFUSED(username, "\xc3", "username is not UTF-8");
    REFUSED(username, long_text, "username is longer");
    REFUSED(password, NULL, "password is NULL");
    REFUSED(password, "", "password is empty");
    REFUSED(password, "\x80", "password is not UTF-8");
    REFUSED(password, long_text, "password is longer");
    REFUSED(ca_file, "ca.pem", "more than one of");
    REFUSED(pin, "aabb", "more than one of");
    REFUSED(proxy, "", "proxy is empty");
    REFUSED(log_level, -1, "log_level is -1");
    options = good_options();
    options.log_level = 99;
    FAILS(vmdk_client_connect(&options, &client, &error), VMDK_STATUS_UNSUPPORTED, "log_level");
    options = good_options();
    options.insecure = 0;
    options.pin = "not a fingerprint";
    FAILS(vmdk_client_connect(&options, &client, &error), VMDK_STATUS_INVALID_ARGUMENT, "");
    CHECK(client == (vmdk_client *)text_out);
#undef REFUSED
}

static void grow_structures(void)
{
    struct {
        vmdk_client_options known;
        uint64_t later[4];
    } newer;
    vmdk_client *client = NULL;

    memset(&newer, 0, sizeof newer);
    newer.known = good_options();
    newer.known.struct_size = sizeof newer;
    newer.known.server = "";
    FAILS(vmdk_client_connect(&newer.known, &client, &error), VMDK_STATUS_INVALID_ARGUMENT,
          "server is empty");
    newer.later[3] = 1;
    FAILS(vmdk_client_connect(&newer.known, &client, &error), VMDK_STATUS_UNSUPPORTED,
          "vmdk_client_options sets a field");

    /* An older caller's structure ends before the log callback: garbage there is not read. */
    newer.known = good_options();
    newer.known.struct_size = offsetof(vmdk_client_options, log);
    newer.known.server = "http://127.0.0.1:1";
    newer.known.log = (vmdk_log_callback)(size_t)16;
    FAILS(vmdk_client_connect(&newer.known, &client, &error), VMDK_STATUS_INVALID_ARGUMENT, "");
}

static void refuse_connection(void)
{
    char server[64];
    vmdk_client *client = NULL;
    vmdk_client_options options = good_options();

    closed_port(server, sizeof server);
    options.server = server;
    options.log = count_log;
    options.log_level = VMDK_LOG_DEBUG;
    options.log_user_data = &logged;
    options.log_free = free_log;
    FAILS(vmdk_client_connect(&options, &client, &error), VMDK_STATUS_CONNECTION, server);
    CHECK(client == NULL && log_freed == 0);
    options.log = NULL;
    CHECK(vmdk_client_connect(&options, &client, NULL) == VMDK_STATUS_CONNECTION);
}

static int freed;
static vmdk_service *own_service;

static int32_t refuse(void)
{
    return 1;
}

static int32_t create(void *user_data, const vmdk_backup_request *request, void **writer_out)
{
    (void)user_data, (void)request, (void)writer_out;
    return refuse();
}

static int32_t write_bytes(void *user_data, void *writer, const void *bytes, size_t length)
{
    (void)user_data, (void)writer, (void)bytes, (void)length;
    return refuse();
}

static int32_t commit(void *user_data, void *writer)
{
    (void)user_data, (void)writer;
    return refuse();
}

static void abort_backup(void *user_data, void *writer)
{
    (void)user_data, (void)writer;
}

/* Calls from inside a callback are refused; a free there does nothing. */
static void free_service(void *user_data)
{
    vmdk_cancel *cancel = NULL;
    vmdk_cancel *const outer = user_data;

    FAILS(vmdk_cancel_new(&cancel, &error), VMDK_STATUS_REENTRANT, "callback");
    CHECK(cancel == NULL);
    vmdk_cancel_throw(outer);
    vmdk_service_free(own_service);
    ++freed;
}

static void make_services(const char *directory)
{
    vmdk_service *service = (vmdk_service *)text_out;
    vmdk_service_callbacks callbacks;
    vmdk_cancel *cancel = NULL;
    char missing[4096];

    WORKS(vmdk_cancel_new(&cancel, &error));
    FAILS(vmdk_cancel_new(NULL, &error), VMDK_STATUS_INVALID_ARGUMENT, "cancel_out is NULL");
    memset(&callbacks, 0, sizeof callbacks);
    FAILS(vmdk_service_new(NULL, &service, &error), VMDK_STATUS_INVALID_ARGUMENT,
          "vmdk_service_callbacks is NULL");
    FAILS(vmdk_service_new(&callbacks, &service, &error), VMDK_STATUS_INVALID_ARGUMENT,
          "struct_size is 0");
    callbacks.struct_size = sizeof callbacks;
    callbacks.user_data = cancel;
    callbacks.free = free_service;
    FAILS(vmdk_service_new(&callbacks, &service, &error), VMDK_STATUS_INVALID_ARGUMENT, "NULL");
    callbacks.create = create;
    callbacks.write = write_bytes;
    FAILS(vmdk_service_new(&callbacks, &service, &error), VMDK_STATUS_INVALID_ARGUMENT, "commit");
    callbacks.commit = commit;
    callbacks.abort = abort_backup;
    FAILS(vmdk_service_new(&callbacks, NULL, &error), VMDK_STATUS_INVALID_ARGUMENT,
          "service_out is NULL");
    CHECK(service == (vmdk_service *)text_out && freed == 0);
    WORKS(vmdk_service_new(&callbacks, &service, &error));
    own_service = service;
    vmdk_service_free(service);
    CHECK(freed == 1);

    FAILS(vmdk_service_directory(NULL, &service, &error), VMDK_STATUS_INVALID_ARGUMENT,
          "path is NULL");
    FAILS(vmdk_service_directory("", &service, &error), VMDK_STATUS_INVALID_ARGUMENT,
          "path is empty");
    FAILS(vmdk_service_directory("/dev/null", &service, &error), VMDK_STATUS_INVALID_ARGUMENT,
          "directory");
    snprintf(missing, sizeof missing, "%s/missing", directory);
    FAILS(vmdk_service_directory(missing, &service, &error), VMDK_STATUS_NOT_FOUND, missing);
    WORKS(vmdk_service_directory(directory, &service, &error));

    {
        vmdk_volume volume;
        vmdk_backup_options backup;
        vmdk_restore_options restore;
        vmdk_summary summary;
        memset(&volume, 0, sizeof volume);
        memset(&backup, 0, sizeof backup);
        memset(&restore, 0, sizeof restore);
        memset(&summary, 0x55, sizeof summary);
        FAILS(vmdk_backup_volume(NULL, service, &volume, &backup, &summary, &error),
              VMDK_STATUS_INVALID_ARGUMENT, "client is NULL");
        FAILS(vmdk_restore_backup(NULL, service, &volume, &restore, &summary, &error),
              VMDK_STATUS_INVALID_ARGUMENT, "client is NULL");
        CHECK(vmdk_backup_volume(NULL, NULL, NULL, NULL, NULL, NULL)
              == VMDK_STATUS_INVALID_ARGUMENT);
        CHECK(vmdk_restore_backup(NULL, NULL, NULL, NULL, NULL, NULL)
              == VMDK_STATUS_INVALID_ARGUMENT);
        CHECK(summary.capacity == UINT64_C(0x5555555555555555));
    }
    vmdk_service_free(service);
    vmdk_cancel_free(cancel);
}

static void accept_null(void)
{
    vmdk_client_free(NULL);
    vmdk_service_free(NULL);
    vmdk_cancel_free(NULL);
    vmdk_cancel_throw(NULL);
    vmdk_error_free(NULL);
    CHECK(vmdk_error_status(NULL) == VMDK_STATUS_OK);
    CHECK(strcmp(vmdk_error_message(NULL), "") == 0);
    CHECK(vmdk_error_phase(NULL) == VMDK_PHASE_NONE);
    CHECK(vmdk_error_fault(NULL) == NULL && vmdk_error_object(NULL) == NULL);
    CHECK(vmdk_error_operation_id(NULL) == NULL && vmdk_error_left_behind(NULL, 0) == NULL);
    CHECK(!vmdk_error_retryable(NULL) && vmdk_error_callback_value(NULL) == 0);
}

static void name_numbers(void)
{
    char version[64];
    vmdk_status status;

    for (status = VMDK_STATUS_OK; status <= VMDK_STATUS_IO; ++status)
        CHECK(strcmp(vmdk_status_name(status), "UNKNOWN") != 0);
    CHECK(strcmp(vmdk_status_name(VMDK_STATUS_IO + 1), "UNKNOWN") == 0);
    CHECK(strcmp(vmdk_status_name(-1), "UNKNOWN") == 0);
    CHECK(strcmp(vmdk_status_name(VMDK_STATUS_NO_SPACE), "NO_SPACE") == 0);
    CHECK(strcmp(vmdk_phase_name(VMDK_PHASE_TRANSFER), "transfer") == 0);
    CHECK(strcmp(vmdk_phase_name(-7), "unknown") == 0);
    snprintf(version, sizeof version, "%d.%d.%d", VMDK_VERSION_MAJOR, VMDK_VERSION_MINOR,
             VMDK_VERSION_PATCH);
    CHECK(strcmp(vmdk_version(), version) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    accept_null();
    name_numbers();
    refuse_options();
    grow_structures();
    make_services(argv[1]);
    refuse_connection();
    puts("good");
    return 0;
}
