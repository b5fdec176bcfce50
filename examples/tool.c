/* What the example tools have in common. */
#define _GNU_SOURCE
#include "tool.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* The exit code for arguments that are not understood; no status is as high. */
#define EXIT_USAGE 64

static const char *const usage =
    "  --server HOST[:PORT]   vCenter or ESXi host       (or VMDK_SERVER)\n"
    "  --user NAME                                       (or VMDK_USER)\n"
    "  --password-file FILE   its first line             (or VMDK_PASSWORD_FILE; else asked for)\n"
    "  --ca FILE | --pin FINGERPRINT | --insecure        (else the system's authorities decide)\n"
    "  --volume NAME, --volume-id UUID, --moref VM       at least one\n"
    "  --id BACKUP            the backup's name\n"
    "  --service PATH         where backups are kept\n"
    "  --staging stream|file, --temp-dir DIRECTORY\n"
    "  --state-dir DIRECTORY  journals, for recovery after a crash\n"
    "  --verbose              log each request\n"
    "for a new backing, or a disk that is restored:\n"
    "  --size BYTES[K|M|G|T], --disk-type thin|thick|eager,\n"
    "  --adapter lsilogic|buslogic|lsisas|pvscsi|ide, --storage-profile ID,\n"
    "  --datacenter, --compute, --resource-pool, --datastore, --folder NAME\n"
    "The exit code is the vmdk_status; 64 for arguments that are not understood.\n";

static vmdk_cancel *interrupted;

static void interrupt(int signal)
{
    (void)signal;
    vmdk_cancel_throw(interrupted);
}

static void explain(const struct tool *tool, const char *why)
{
    FILE *to = why ? stderr : stdout;
    if (why)
        fprintf(to, "%s: %s\n", tool->program, why);
    fprintf(to, "usage: %s %sOPTIONS\n%s", tool->program, tool->has_actions ? "ACTION " : "", usage);
    exit(why ? EXIT_USAGE : 0);
}

static int number_of(const char *text, const char *const *names)
{
    int number;
    for (number = 1; *names; ++number, ++names)
        if (strcmp(text, *names) == 0)
            return number;
    return 0;
}

static uint64_t size_of(const char *text)
{
    static const char units[] = "KMGT";
    char *end;
    uint64_t size;
    const char *unit;

    errno = 0;
    size = strtoull(text, &end, 10);
    if (errno || !isdigit((unsigned char)*text))
        return 0;
    if (*end) {
        unit = strchr(units, toupper((unsigned char)*end));
        if (!unit || end[1])
            return 0;
        for (; unit >= units; --unit) {
            if (size > UINT64_MAX / 1024)
                return 0;
            size *= 1024;
        }
    }
    return size;
}

static void first_line(char *text)
{
    text[strcspn(text, "\r\n")] = 0;
}

static void password_from(struct tool *tool, const char *file)
{
    FILE *in = fopen(file, "r");
    if (!in || !fgets(tool->password, sizeof tool->password, in)) {
        fprintf(stderr, "%s: cannot read a password from %s: %s\n", tool->program, file,
                strerror(errno));
        exit(EXIT_USAGE);
    }
    fclose(in);
    first_line(tool->password);
}

static void password_asked(struct tool *tool)
{
    struct termios shown, hidden;
    FILE *terminal = fopen("/dev/tty", "r+");

    if (!terminal || tcgetattr(fileno(terminal), &shown) != 0) {
        fprintf(stderr, "%s: no terminal to ask for the password: use --password-file\n",
                tool->program);
        exit(EXIT_USAGE);
    }
    fprintf(terminal, "password of %s at %s: ", tool->client.username, tool->client.server);
    fflush(terminal);
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(fileno(terminal), TCSAFLUSH, &hidden);
    if (!fgets(tool->password, sizeof tool->password, terminal))
        tool->password[0] = 0;
    tcsetattr(fileno(terminal), TCSAFLUSH, &shown);
    fprintf(terminal, "\n");
    fclose(terminal);
    first_line(tool->password);
}

static void log_record(void *user_data, vmdk_log_level level, const char *text)
{
    const struct tool *tool = user_data;
    fprintf(stderr, "%s: %s%s\n", tool->program, level == VMDK_LOG_WARN ? "warning: " : "", text);
}

int tool_begin(struct tool *tool, int argc, char **argv, const char *const *actions)
{
    enum { SERVER = 256, USER, PASSWORD, CA, PIN, INSECURE, VOLUME, VOLUME_ID, MOREF, ID, SERVICE,
           STAGING, TEMP, STATE, VERBOSE, SIZE, TYPE, ADAPTER, PROFILE, DATACENTER, COMPUTE, POOL,
           DATASTORE, FOLDER, HELP };
    static const struct option options[] = {
        { "server", 1, 0, SERVER },         { "user", 1, 0, USER },
        { "password-file", 1, 0, PASSWORD },{ "ca", 1, 0, CA },
        { "pin", 1, 0, PIN },               { "insecure", 0, 0, INSECURE },
        { "volume", 1, 0, VOLUME },         { "volume-id", 1, 0, VOLUME_ID },
        { "moref", 1, 0, MOREF },           { "id", 1, 0, ID },
        { "service", 1, 0, SERVICE },       { "staging", 1, 0, STAGING },
        { "temp-dir", 1, 0, TEMP },         { "state-dir", 1, 0, STATE },
        { "verbose", 0, 0, VERBOSE },       { "size", 1, 0, SIZE },
        { "disk-type", 1, 0, TYPE },        { "adapter", 1, 0, ADAPTER },
        { "storage-profile", 1, 0, PROFILE },
        { "datacenter", 1, 0, DATACENTER }, { "compute", 1, 0, COMPUTE },
        { "resource-pool", 1, 0, POOL },    { "datastore", 1, 0, DATASTORE },
        { "folder", 1, 0, FOLDER },         { "help", 0, 0, HELP },
        { 0, 0, 0, 0 },
    };
    static const char *const stagings[] = { "stream", "file", NULL };
    static const char *const types[] = { "thin", "thick", "eager", NULL };
    static const char *const adapters[] = { "lsilogic", "buslogic", "lsisas", "pvscsi", "ide", NULL };
    const char *password_file = getenv("VMDK_PASSWORD_FILE");
    int action = 0;
    struct sigaction on_signal;
    int option;

    memset(tool, 0, sizeof *tool);
    tool->program = argv[0];
    tool->has_actions = actions != NULL;
    tool->client.struct_size = sizeof tool->client;
    tool->client.server = getenv("VMDK_SERVER");
    tool->client.username = getenv("VMDK_USER");
    tool->client.log = log_record;
    tool->client.log_level = VMDK_LOG_WARN;
    tool->client.log_user_data = tool;
    tool->volume.struct_size = sizeof tool->volume;
    tool->show_progress = isatty(STDERR_FILENO);

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case SERVER: tool->client.server = optarg; break;
        case USER: tool->client.username = optarg; break;
        case PASSWORD: password_file = optarg; break;
        case CA: tool->client.ca_file = optarg; break;
        case PIN: tool->client.pin = optarg; break;
        case INSECURE: tool->client.insecure = 1; break;
        case VOLUME: tool->volume.name = optarg; break;
        case VOLUME_ID: tool->volume.id = optarg; break;
        case MOREF: tool->volume.moref = optarg; break;
        case ID: tool->backup_id = optarg; break;
        case SERVICE: tool->store = optarg; break;
        case TEMP: tool->temp_dir = optarg; break;
        case STATE: tool->client.state_dir = optarg; break;
        case VERBOSE: tool->client.log_level = VMDK_LOG_DEBUG; break;
        case PROFILE: tool->volume.storage_profile = optarg; break;
        case DATACENTER: tool->volume.datacenter = optarg; break;
        case COMPUTE: tool->volume.compute = optarg; break;
        case POOL: tool->volume.resource_pool = optarg; break;
        case DATASTORE: tool->volume.datastore = optarg; break;
        case FOLDER: tool->volume.folder = optarg; break;
        case STAGING:
            if (!(tool->staging = number_of(optarg, stagings)))
                explain(tool, "--staging is stream or file");
            break;
        case TYPE:
            if (!(tool->volume.disk_type = number_of(optarg, types)))
                explain(tool, "--disk-type is thin, thick or eager");
            break;
        case ADAPTER:
            if (!(tool->volume.adapter_type = number_of(optarg, adapters)))
                explain(tool, "--adapter is not one of those below");
            break;
        case SIZE:
            if (!(tool->volume.size_bytes = size_of(optarg)))
                explain(tool, "--size is a number of bytes, or one with K, M, G or T");
            break;
        case HELP: explain(tool, NULL); break;
        default: explain(tool, "that option is not understood");
        }
    }
    if (actions) {
        action = optind < argc ? number_of(argv[optind], actions) - 1 : -1;
        if (action < 0)
            explain(tool, "the first argument is backup or restore");
        ++optind;
    }
    if (optind < argc)
        explain(tool, "an argument is left over");
    if (!tool->client.server || !tool->client.username)
        explain(tool, "--server and --user are needed");
    if (!tool->volume.name && !tool->volume.id && !tool->volume.moref)
        explain(tool, "one of --volume, --volume-id and --moref is needed");
    if (!tool->backup_id || !tool->store)
        explain(tool, "--id and --service are needed");
    if (password_file)
        password_from(tool, password_file);
    else
        password_asked(tool);
    tool->client.password = tool->password;

    if (vmdk_cancel_new(&tool->cancel, NULL) != VMDK_STATUS_OK)
        exit(VMDK_STATUS_IO);
    interrupted = tool->cancel;
    memset(&on_signal, 0, sizeof on_signal);
    on_signal.sa_handler = interrupt;
    /* A second Ctrl-C ends the program at once. */
    on_signal.sa_flags = SA_RESTART | (int)SA_RESETHAND;
    sigaction(SIGINT, &on_signal, NULL);
    sigaction(SIGTERM, &on_signal, NULL);
    return action;
}

vmdk_client *tool_connect(struct tool *tool)
{
    vmdk_client *client = NULL;
    vmdk_error *error = NULL;
    vmdk_status status = vmdk_client_connect(&tool->client, &client, &error);

    explicit_bzero(tool->password, sizeof tool->password);
    if (status != VMDK_STATUS_OK)
        exit(tool_end(tool, status, NULL, error));
    return client;
}

int32_t tool_progress(void *user_data, vmdk_phase phase, uint64_t done, uint64_t total)
{
    struct tool *tool = user_data;
    const int width = 40;
    int filled;

    if (!tool->show_progress)
        return 0;
    if (total == 0) {
        fprintf(stderr, "\r%-9s\033[K", vmdk_phase_name(phase));
    } else {
        filled = done < total ? (int)((double)done / (double)total * width) : width;
        fprintf(stderr, "\r%-9s [%.*s%*s] %5" PRIu64 " of %" PRIu64 " MiB\033[K",
                vmdk_phase_name(phase), filled, "########################################",
                width - filled, "", done >> 20, total >> 20);
    }
    tool->progress_shown = 1;
    return 0;
}

int tool_end(struct tool *tool, vmdk_status status, const vmdk_summary *summary, vmdk_error *error)
{
    if (tool->progress_shown)
        fputs("\r\033[K", stderr);
    if (status == VMDK_STATUS_OK) {
        printf("backup %s, volume %s (%s%s): disk of %" PRIu64 " bytes, %" PRIu64
               " populated, stream of %" PRIu64 " bytes, SHA-256 %s\n",
               tool->backup_id,
               tool->volume.name ? tool->volume.name
                                 : tool->volume.id ? tool->volume.id : tool->volume.moref,
               summary->backing, summary->backing_created ? ", new" : "", summary->capacity,
               summary->populated, summary->stream_length, summary->stream_sha256);
        if (summary->notice_count)
            fprintf(stderr, "%s: notice: %s\n", tool->program, summary->notices);
    } else {
        fprintf(stderr, "%s: %s: %s\n", tool->program, vmdk_status_name(status),
                vmdk_error_message(error));
        if (vmdk_error_retryable(error))
            fprintf(stderr, "%s: trying again later may help\n", tool->program);
    }
    vmdk_error_free(error);
    vmdk_cancel_free(tool->cancel);
    return status;
}
