/* Shows what a disk in a file is, and converts it from one format to the other. */
#include "arguments.h"
#include "terminal.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 256, PARTS_IN_LINE = 64, LONGEST_SHOWN = 300 };

static const char usage[] =
    "usage: %s [--source raw|stream] [--ascii] FILE\n"
    "       %s [--source raw|stream] --json FILE\n"
    "       %s [--source raw|stream] --convert raw|stream SOURCE TARGET\n"
    "Shows what a virtual disk in a file is (a stream-optimized VMDK or a raw disk) and whether "
    "it\n"
    "is whole, or converts it. A stream with a flaw ends it with 1.\n"
    "  --ascii     draws the allocation with nothing but ASCII\n"
    "  --source    what FILE or SOURCE is: to be given for a disk whose contents others write\n"
    "  --json      prints what the library found, as it came\n"
    "  --convert   makes TARGET, which must not exist, a raw disk or a stream of SOURCE's disk\n";

/* ---- the library's JSON ---------------------------------------------------------------------- */

/* The text is the library's: well-formed, and its keys have no escapes. What is looked for may be
 * missing all the same, in a later version, so each of these takes NULL and may return it. */

static const char *past_space(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* From a quote to behind the one that closes it. */
static const char *past_string(const char *at)
{
    for (at++; *at != '\0' && *at != '"'; at++)
        if (*at == '\\' && at[1] != '\0')
            at++;
    return *at == '"' ? at + 1 : at;
}

/* From the first character of a value to behind its last. */
static const char *past_value(const char *at)
{
    unsigned long depth = 0;

    while (*at != '\0') {
        if (*at == '"') {
            at = past_string(at);
            if (depth == 0)
                break;
            continue;
        }
        if (depth == 0 && strchr(",]}", *at) != NULL)
            break;
        if (*at == '{' || *at == '[')
            depth++;
        if ((*at == '}' || *at == ']') && --depth == 0)
            return at + 1;
        at++;
    }
    return at;
}

/* The value of a key of an object, or NULL. */
static const char *member(const char *object, const char *key)
{
    size_t length = strlen(key);

    if (object == NULL || *object != '{')
        return NULL;
    const char *at = past_space(object + 1);
    while (*at == '"') {
        const char *name = at + 1, *behind = past_string(at);
        const char *value = past_space(behind);
        if (*value != ':')
            return NULL;
        value = past_space(value + 1);
        if ((size_t)(behind - name) == length + 1 && memcmp(name, key, length) == 0)
            return strncmp(value, "null", 4) == 0 ? NULL : value;
        at = past_space(past_value(value));
        if (*at == ',')
            at = past_space(at + 1);
    }
    return NULL;
}

static uint64_t number(const char *value)
{
    return value != NULL && *value >= '0' && *value <= '9' ? strtoumax(value, NULL, 10) : 0;
}

static bool is_true(const char *value)
{
    return value != NULL && strncmp(value, "true", 4) == 0;
}

/* ---- what a person sees ---------------------------------------------------------------------- */

/* A file's words are somebody else's: nothing but printable ASCII reaches the terminal. */
static size_t put_byte(char byte)
{
    if (byte >= ' ' && byte <= '~')
        return (size_t)(putchar(byte) != EOF);
    return (size_t)printf("\\x%02x", (unsigned)(unsigned char)byte);
}

/* JSON has escaped quotes, backslashes and most control characters, and its escapes stay. */
static void show_text(const char *label, const char *value)
{
    size_t shown = 0;

    if (value == NULL || *value != '"')
        return;
    printf("%-18s", label);
    const char *end = past_string(value) - 1;
    for (const char *at = value + 1; at < end; at++) {
        if (shown >= LONGEST_SHOWN) {
            fputs("...", stdout);
            break;
        }
        shown += put_byte(*at);
    }
    putchar('\n');
}

static void show_number(const char *label, const char *value)
{
    if (value != NULL)
        printf("%-18s%" PRIu64 "\n", label, number(value));
}

static void show_truth(const char *label, const char *value)
{
    if (value != NULL)
        printf("%-18s%s\n", label, is_true(value) ? "yes" : "no");
}

/* "1.5 GiB". */
static void human(char *text, size_t size, uint64_t bytes)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double amount = (double)bytes;
    size_t unit = 0;

    while (amount >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        amount /= 1024;
        unit++;
    }
    snprintf(text, size, amount < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", amount, units[unit]);
}

static void show_bytes(const char *label, const char *value)
{
    char text[32];

    if (value == NULL)
        return;
    human(text, sizeof text, number(value));
    printf("%-18s%s (%" PRIu64 " bytes)\n", label, text, number(value));
}

/* A character for each 256th of the disk, from "nothing" to "all of it". */
static void show_allocation(const char *value, uint64_t capacity, bool ascii)
{
    static const char *const drawn[] = { "\u00b7", "\u2591", "\u2592", "\u2593", "\u2588" };
    static const char *const plain[] = { ".", "-", "+", "*", "#" };
    const char *const *shades = ascii ? plain : drawn;

    if (value == NULL || *value != '[')
        return;
    printf("%-18s%s empty  %s %s %s in part  %s full\n", "allocation", shades[0], shades[1],
           shades[2], shades[3], shades[4]);
    const char *at = past_space(value + 1);
    for (int part = 0; part < PARTS && *at >= '0' && *at <= '9'; part++) {
        if (part % PARTS_IN_LINE == 0) {
            char from[32];
            human(from, sizeof from, (uint64_t)((double)capacity * part / PARTS));
            printf("%s%16s  ", part == 0 ? "" : "\n", from);
        }
        uint64_t percent = number(at);
        fputs(shades[percent == 0 ? 0 : percent >= 100 ? 4 : 1 + percent * 3 / 100], stdout);
        at = past_space(past_value(at));
        if (*at == ',')
            at = past_space(at + 1);
    }
    putchar('\n');
}

static void show_stream(const char *stream)
{
    show_bytes("stream length", member(stream, "length"));
    show_number("header version", member(stream, "version"));
    show_bytes("grain", member(stream, "grain_bytes"));
    show_text("tables at", member(stream, "layout"));
    show_text("create type", member(stream, "create_type"));
    show_text("CID", member(stream, "cid"));
    show_text("adapter type", member(stream, "adapter_type"));
    show_text("hardware version", member(stream, "hardware_version"));
    show_text("UUID", member(stream, "uuid"));
    show_bytes("populated", member(stream, "populated"));
    show_number("grains", member(stream, "grains"));
    show_truth("in order", member(stream, "in_order"));
    show_truth("fit for ESXi", member(stream, "normal"));
    show_text("SHA-256", member(stream, "sha256"));
    show_text("SHA-1", member(stream, "sha1"));
    show_text("content digest", member(stream, "content_digest"));
}

/* ---- looking --------------------------------------------------------------------------------- */

struct view {
    bool json, ascii;
    bool flawed;
};

static void show(void *user_data, const char *json, size_t length)
{
    struct view *view = user_data;
    const char *found = past_space(json);
    const char *stream = member(found, "stream");
    const char *flaw = member(stream, "flaw");

    clear_bar();
    view->flawed = flaw != NULL;
    if (view->json) {
        fwrite(json, 1, length, stdout);
        putchar('\n');
        return;
    }
    show_text("format", member(found, "format"));
    show_bytes("capacity", member(found, "capacity"));
    show_stream(stream);
    show_allocation(member(found, "allocation"), number(member(found, "capacity")), view->ascii);
    if (flaw != NULL) {
        show_number("FLAW at byte", member(flaw, "offset"));
        show_text("kind", member(flaw, "kind"));
        show_text("what it is", member(flaw, "message"));
    } else if (stream != NULL) {
        printf("%-18s%s\n", "flaws", "none: the stream is whole");
    }
}

static vmdk_status look(vmdk_source_format source, const char *path, struct view *view,
                        const vmdk_cancel *cancel, vmdk_error **error)
{
    vmdk_inspect_options options = {
        .struct_size = sizeof options,
        .path = path,
        .source_format = source,
        .inspected = show,
        .inspected_user_data = view,
        .progress = progress_bar(false),
        .cancel = cancel,
    };
    return vmdk_inspect(&options, error);
}

/* ---- converting ------------------------------------------------------------------------------ */

static vmdk_status convert(vmdk_source_format source, vmdk_format format, char *const *paths,
                           const vmdk_cancel *cancel, vmdk_error **error)
{
    vmdk_summary summary = { .struct_size = sizeof summary };
    vmdk_convert_options options = {
        .struct_size = sizeof options,
        .source = paths[0],
        .source_format = source,
        .target = paths[1],
        .format = format,
        .progress = progress_bar(false),
        .cancel = cancel,
    };

    vmdk_status status = vmdk_convert(&options, &summary, error);
    clear_bar();
    if (status == VMDK_STATUS_OK) {
        printf("capacity=%" PRIu64 "\n", summary.capacity);
        printf("populated=%" PRIu64 "\n", summary.populated);
        printf("stream_length=%" PRIu64 "\n", summary.stream_length);
    }
    return status;
}

/* ---- the command line ------------------------------------------------------------------------ */

/* 0 for "raw", 1 for "stream", -1 for another word. */
static int format_named(const char *word)
{
    return strcmp(word, "raw") == 0 ? 0 : strcmp(word, "stream") == 0 ? 1 : -1;
}

static int refuse(const char *program)
{
    fprintf(stderr, usage, program, program, program);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    enum flag { ASCII, JSON, CONVERT, SOURCE, HELP };
    static const struct option options[] = {
        { "ascii", no_argument, NULL, ASCII },
        { "json", no_argument, NULL, JSON },
        { "convert", required_argument, NULL, CONVERT },
        { "source", required_argument, NULL, SOURCE },
        { "help", no_argument, NULL, HELP },
        { NULL, 0, NULL, 0 },
    };
    struct view view = { .json = false };
    const char *target_format = NULL, *source_format = NULL;
    vmdk_source_format source = VMDK_SOURCE_PROBE;
    vmdk_format format = VMDK_FORMAT_STREAM;
    vmdk_cancel *cancel = NULL;
    vmdk_error *error = NULL;
    int flag;

    while ((flag = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (flag) {
        case ASCII:
            view.ascii = true;
            break;
        case JSON:
            view.json = true;
            break;
        case CONVERT:
            target_format = optarg;
            break;
        case SOURCE:
            source_format = optarg;
            break;
        case HELP:
            printf(usage, argv[0], argv[0], argv[0]);
            return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_OTHER;
        default: /* getopt_long has said what is wrong */
            return refuse(argv[0]);
        }
    }
    if (target_format != NULL) {
        int named = format_named(target_format);
        if (named < 0)
            return refuse(argv[0]);
        format = named == 0 ? VMDK_FORMAT_RAW : VMDK_FORMAT_STREAM;
    }
    if (source_format != NULL) {
        int named = format_named(source_format);
        if (named < 0)
            return refuse(argv[0]);
        source = named == 0 ? VMDK_SOURCE_RAW : VMDK_SOURCE_STREAM;
    }
    if (argc - optind != (target_format != NULL ? 2 : 1)
        || (view.json + view.ascii + (target_format != NULL)) > 1)
        return refuse(argv[0]);

    vmdk_status status = vmdk_cancel_new(&cancel, &error);
    throw_on_signal(cancel);
    if (status == VMDK_STATUS_OK)
        status = target_format != NULL ? convert(source, format, argv + optind, cancel, &error)
                                       : look(source, argv[optind], &view, cancel, &error);
    throw_on_signal(NULL);
    vmdk_cancel_free(cancel);

    int code = status == VMDK_STATUS_OK ? view.flawed : report_failure(argv[0], status, error);
    vmdk_error_free(error);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "%s: write what was found: %s\n", argv[0], strerror(errno));
        return EXIT_OTHER;
    }
    return code;
}
