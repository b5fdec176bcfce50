#define _POSIX_C_SOURCE 200809L
#include "arguments.h"
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum flag {
    SERVER,
    USER,
    PASSWORD_FILE,
    CA,
    PIN,
    INSECURE,
    PLAIN_HTTP,
    VOLUME,
    ID,
    MOREF,
    DISK_KEY,
    SIZE,
    DISK_TYPE,
    ADAPTER,
    STORAGE_PROFILE,
    DATACENTER,
    COMPUTE,
    POOL,
    DATASTORE,
    FOLDER,
    DIRECTORY,
    BACKUP_ID,
    STAGING,
    TEMP_DIR,
    STATE_DIR,
    VERBOSE,
    QUIET,
    HELP,
    FLAG_COUNT
};

static const struct option options[] = {
    { "server", required_argument, NULL, SERVER },
    { "user", required_argument, NULL, USER },
    { "password-file", required_argument, NULL, PASSWORD_FILE },
    { "ca", required_argument, NULL, CA },
    { "pin", required_argument, NULL, PIN },
    { "insecure", no_argument, NULL, INSECURE },
    { "plain-http", no_argument, NULL, PLAIN_HTTP },
    { "volume", required_argument, NULL, VOLUME },
    { "id", required_argument, NULL, ID },
    { "moref", required_argument, NULL, MOREF },
    { "disk-key", required_argument, NULL, DISK_KEY },
    { "size", required_argument, NULL, SIZE },
    { "disk-type", required_argument, NULL, DISK_TYPE },
    { "adapter", required_argument, NULL, ADAPTER },
    { "storage-profile", required_argument, NULL, STORAGE_PROFILE },
    { "datacenter", required_argument, NULL, DATACENTER },
    { "compute", required_argument, NULL, COMPUTE },
    { "pool", required_argument, NULL, POOL },
    { "datastore", required_argument, NULL, DATASTORE },
    { "folder", required_argument, NULL, FOLDER },
    { "directory", required_argument, NULL, DIRECTORY },
    { "backup-id", required_argument, NULL, BACKUP_ID },
    { "staging", required_argument, NULL, STAGING },
    { "temp-dir", required_argument, NULL, TEMP_DIR },
    { "state-dir", required_argument, NULL, STATE_DIR },
    { "verbose", no_argument, NULL, VERBOSE },
    { "quiet", no_argument, NULL, QUIET },
    { "help", no_argument, NULL, HELP },
    { NULL, 0, NULL, 0 },
};

static const char *const usage =
    "usage: %s --server ADDRESS --user NAME --volume NAME --directory DIR\n"
    "       --backup-id NAME [OPTION]...\n"
    "\n"
    "The server; without --ca, --pin and --insecure the system's authorities are trusted:\n"
    "  --server ADDRESS         a vCenter or an ESXi host (or VSPHERE_SERVER)\n"
    "  --user NAME              (or VSPHERE_USER)\n"
    "  --password-file FILE     its first line (or VSPHERE_PASSWORD; else you are asked)\n"
    "  --ca FILE                trust these certificate authorities, in PEM (or VSPHERE_CA_FILE)\n"
    "  --pin FINGERPRINT        trust the certificate of this SHA-256 or SHA-1\n"
    "  --insecure               trust whoever answers\n"
    "  --plain-http             permit http://, where everybody sees the password\n"
    "\n"
    "The volume; one of the first three is needed:\n"
    "  --volume NAME            the name of its virtual machine\n"
    "  --id UUID                that machine's instance UUID\n"
    "  --moref MOREF            its managed object reference (vm-42)\n"
    "  --disk-key KEY           the disk's device key, where it has several\n"
    "\n"
    "Where the volume has to be made, or its disk restored; the default is as it was, or thin:\n"
    "  --size BYTES             with K, M, G or T in powers of 1024\n"
    "  --disk-type TYPE         thin, thick or eagerZeroedThick\n"
    "  --adapter TYPE           lsiLogic, busLogic, lsiLogicsas, paraVirtual or ide\n"
    "  --storage-profile ID\n"
    "  --datacenter, --compute, --pool, --datastore NAME\n"
    "                           names or managed object references; compute: a cluster or host\n"
    "  --folder PATH            below the datacenter's folder of virtual machines\n"
    "\n"
    "The backup:\n"
    "  --directory DIR          where backups are kept, each in a directory of its own\n"
    "  --backup-id NAME         the name of this one\n"
    "  --staging stream|file    file: by way of a temporary file\n"
    "  --temp-dir DIR           where that goes (TMPDIR, else /tmp)\n"
    "  --state-dir DIR          keep journals here, and first undo what a killed run left\n"
    "\n"
    "  --verbose                write the library's log to stderr instead of a progress bar\n"
    "  --quiet                  no progress bar, which only a terminal gets anyway\n"
    "  --help\n"
    "\n"
    "Exit codes: 0 done, 1 trouble of this program's own, 2 wrong arguments, else the library's\n"
    "status and 10: 15 cancelled, 18 wrong certificate, 19 wrong password, 20 not found,\n"
    "21 exists already, 25 damaged backup.\n";

static const char *program;

static void refuse(void)
{
    fputs("\n", stderr);
    fprintf(stderr, usage, program);
    exit(EXIT_USAGE);
}

static void wrong(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, values);
    va_end(values);
    fputs("\n", stderr);
    refuse();
}

static uint64_t read_size(const char *text)
{
    static const char units[] = "KMGT";
    char *end;

    if (text == NULL)
        return 0;
    errno = 0;
    unsigned long long size = strtoull(text, &end, 10);
    const char *unit = *end == '\0' ? NULL : strchr(units, *end);
    int shift = unit == NULL ? 0 : 10 * (int)(unit - units + 1);
    if (*text < '0' || *text > '9' || errno != 0 || end[unit != NULL] != '\0'
        || size > UINT64_MAX >> shift)
        wrong("--size: %s is not a number of bytes", text);
    return (uint64_t)size << shift;
}

static int32_t read_key(const char *text)
{
    char *end;

    if (text == NULL)
        return 0;
    errno = 0;
    long key = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || key < INT32_MIN || key > INT32_MAX)
        wrong("--disk-key: %s is not a device key", text);
    return (int32_t)key;
}

struct word {
    const char *text;
    int32_t value;
};

static const struct word disk_types[] = {
    { "thin", VMDK_DISK_TYPE_THIN },
    { "thick", VMDK_DISK_TYPE_THICK },
    { "eagerZeroedThick", VMDK_DISK_TYPE_EAGER_ZEROED_THICK },
    { NULL, 0 },
};

static const struct word adapter_types[] = {
    { "lsiLogic", VMDK_ADAPTER_TYPE_LSI_LOGIC },
    { "busLogic", VMDK_ADAPTER_TYPE_BUS_LOGIC },
    { "lsiLogicsas", VMDK_ADAPTER_TYPE_LSI_LOGIC_SAS },
    { "paraVirtual", VMDK_ADAPTER_TYPE_PARA_VIRTUAL },
    { "ide", VMDK_ADAPTER_TYPE_IDE },
    { NULL, 0 },
};

static const struct word stagings[] = {
    { "stream", VMDK_STAGING_STREAM },
    { "file", VMDK_STAGING_FILE },
    { NULL, 0 },
};

static int32_t read_word(enum flag flag, const char *text, const struct word *word)
{
    if (text == NULL)
        return 0;
    while (word->text != NULL && strcmp(word->text, text) != 0)
        word++;
    if (word->text == NULL)
        wrong("--%s: there is no %s", options[flag].name, text);
    return word->value;
}

/* From the file, else from the environment, else from the person at the terminal. */
static void find_password(struct arguments *given, const char *path)
{
    const char *from = path;
    long length = -1;

    if (path != NULL) {
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            length = read_line(file, given->password, sizeof given->password);
            close(file);
        }
    } else if ((given->client.password = getenv("VSPHERE_PASSWORD")) != NULL) {
        return;
    } else {
        char question[256];
        from = "--password-file, VSPHERE_PASSWORD or the terminal";
        snprintf(question, sizeof question, "Password of %s on %s: ", given->client.username,
                 given->client.server);
        length = ask_without_echo(question, given->password, sizeof given->password);
    }
    if (length <= 0) {
        fprintf(stderr, "%s: no password from %s: %s\n", program, from,
                length == 0 ? "it is empty" : strerror(errno));
        exit(EXIT_OTHER);
    }
    given->client.password = given->password;
}

void forget_password(struct arguments *given)
{
    volatile char *password = given->password; /* or the compiler sees that nobody reads it */

    for (size_t i = 0; i < sizeof given->password; i++)
        password[i] = '\0';
}

void read_arguments(struct arguments *given, int argc, char **argv, const char *purpose)
{
    const char *value[FLAG_COUNT] = { NULL };
    int flag;

    program = argv[0];
    while ((flag = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (flag == '?') /* getopt_long has said what is wrong */
            refuse();
        value[flag] = optarg != NULL ? optarg : "";
    }
    if (value[HELP] != NULL) {
        printf("%s\n", purpose);
        printf(usage, program);
        exit(fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_OTHER);
    }
    if (optind < argc)
        wrong("%s is no option", argv[optind]);
    if (value[SERVER] == NULL)
        value[SERVER] = getenv("VSPHERE_SERVER");
    if (value[USER] == NULL)
        value[USER] = getenv("VSPHERE_USER");
    if (value[CA] == NULL && value[PIN] == NULL && value[INSECURE] == NULL)
        value[CA] = getenv("VSPHERE_CA_FILE");

    static const enum flag needed[] = { SERVER, USER, DIRECTORY, BACKUP_ID };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (value[needed[i]] == NULL)
            wrong("--%s is needed", options[needed[i]].name);
    if (value[VOLUME] == NULL && value[ID] == NULL && value[MOREF] == NULL)
        wrong("one of --volume, --id and --moref is needed");
    if ((value[CA] != NULL) + (value[PIN] != NULL) + (value[INSECURE] != NULL) > 1)
        wrong("--ca, --pin and --insecure exclude each other");

    *given = (struct arguments){
        .client = {
            .struct_size = sizeof given->client,
            .server = value[SERVER],
            .username = value[USER],
            .ca_file = value[CA],
            .pin = value[PIN],
            .insecure = value[INSECURE] != NULL,
            .allow_plain_http = value[PLAIN_HTTP] != NULL,
            .log_level = VMDK_LOG_DEBUG,
            .state_dir = value[STATE_DIR],
            .log = value[VERBOSE] != NULL ? write_log : NULL,
        },
        .volume = {
            .struct_size = sizeof given->volume,
            .name = value[VOLUME],
            .id = value[ID],
            .moref = value[MOREF],
            .size_bytes = read_size(value[SIZE]),
            .disk_type = read_word(DISK_TYPE, value[DISK_TYPE], disk_types),
            .adapter_type = read_word(ADAPTER, value[ADAPTER], adapter_types),
            .disk_key = read_key(value[DISK_KEY]),
            .storage_profile = value[STORAGE_PROFILE],
            .datacenter = value[DATACENTER],
            .compute = value[COMPUTE],
            .resource_pool = value[POOL],
            .datastore = value[DATASTORE],
            .folder = value[FOLDER],
        },
        .directory = value[DIRECTORY],
        .backup_id = value[BACKUP_ID],
        .staging = read_word(STAGING, value[STAGING], stagings),
        .temp_dir = value[TEMP_DIR],
        .quiet = value[QUIET] != NULL || value[VERBOSE] != NULL,
    };
    find_password(given, value[PASSWORD_FILE]);
}
