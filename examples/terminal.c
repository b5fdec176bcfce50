#define _POSIX_C_SOURCE 200809L
#include "terminal.h"
#include "arguments.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const int signals[] = { SIGHUP, SIGINT, SIGTERM };
enum { SIGNAL_COUNT = sizeof signals / sizeof *signals };

/* ---- the password --------------------------------------------------------------------------- */

/* Byte by byte: no buffer of stdio's keeps a copy. */
long read_line(int file, char *line, size_t size)
{
    for (size_t length = 0; length < size; length++) {
        ssize_t count = read(file, line + length, 1);
        if (count < 0)
            return -1;
        if (count == 0 || line[length] == '\n') {
            if (length > 0 && line[length - 1] == '\r')
                length--;
            line[length] = '\0';
            return (long)length;
        }
    }
    errno = EMSGSIZE;
    return -1;
}

static volatile sig_atomic_t caught;

static void catch_signal(int number)
{
    caught = number;
}

/* A signal while the person types ends the program, but not before the echo is back. */
long ask_without_echo(const char *question, char *answer, size_t size)
{
    struct sigaction catcher = { .sa_handler = catch_signal }, before[SIGNAL_COUNT];
    struct termios shown;
    long length = -1;
    int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (terminal < 0)
        return -1;
    sigemptyset(&catcher.sa_mask);
    for (int i = 0; i < SIGNAL_COUNT; i++)
        sigaction(signals[i], &catcher, &before[i]);
    if (tcgetattr(terminal, &shown) == 0) {
        struct termios hidden = shown;
        hidden.c_lflag = (hidden.c_lflag & ~(tcflag_t)ECHO) | ECHONL;
        if (tcsetattr(terminal, TCSAFLUSH, &hidden) == 0) {
            dprintf(terminal, "%s", question);
            length = read_line(terminal, answer, size);
            int why = errno;
            tcsetattr(terminal, TCSAFLUSH, &shown);
            errno = why;
        }
    }
    for (int i = 0; i < SIGNAL_COUNT; i++)
        sigaction(signals[i], &before[i], NULL);
    int why = errno;
    close(terminal);
    if (caught != 0)
        raise(caught);
    errno = why;
    return length;
}

/* ---- Ctrl-C --------------------------------------------------------------------------------- */

static const vmdk_cancel *thrown_on_signal;
static struct sigaction without_switch[SIGNAL_COUNT];

static void throw_switch(int number)
{
    static const char text[] = "\nstopping and undoing; once more ends at once\n";
    int why = errno;
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);

    (void)number;
    (void)written;
    vmdk_cancel_throw(thrown_on_signal);
    errno = why;
}

void throw_on_signal(const vmdk_cancel *cancel)
{
    struct sigaction thrower = { .sa_handler = throw_switch,
                                 .sa_flags = SA_RESTART | (int)SA_RESETHAND };

    if (cancel == NULL) {
        for (int i = 0; thrown_on_signal != NULL && i < SIGNAL_COUNT; i++)
            sigaction(signals[i], &without_switch[i], NULL);
        thrown_on_signal = NULL;
        return;
    }
    thrown_on_signal = cancel;
    sigemptyset(&thrower.sa_mask);
    for (int i = 0; i < SIGNAL_COUNT; i++)
        if (sigaction(signals[i], NULL, &without_switch[i]) == 0
            && without_switch[i].sa_handler != SIG_IGN)
            sigaction(signals[i], &thrower, NULL);
}

/* ---- progress and the log ------------------------------------------------------------------- */

static bool bar_drawn;

static double seconds(void)
{
    struct timespec time = { .tv_sec = 0 };
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int32_t draw_bar(void *user_data, vmdk_phase phase, uint64_t done, uint64_t total)
{
    enum { WIDTH = 30 };
    static const double mib = 1024 * 1024;
    static vmdk_phase last_phase = VMDK_PHASE_NONE;
    static double began, drawn;
    double now = seconds();

    (void)user_data;
    if (phase != last_phase)
        began = now;
    else if (now - drawn < 0.1)
        return 0;
    last_phase = phase;
    drawn = now;
    bar_drawn = true;
    if (total == 0) {
        fprintf(stderr, "\r\033[K%-8s ...", vmdk_phase_name(phase));
        return 0;
    }
    double part = done < total ? (double)done / (double)total : 1;
    double speed = now > began ? (double)done / mib / (now - began) : 0;
    int filled = (int)(part * WIDTH);
    fprintf(stderr, "\r\033[K%-8s [%.*s%*s] %3d%%  %.0f of %.0f MiB, %.0f MiB/s",
            vmdk_phase_name(phase), filled, "##############################", WIDTH - filled, "",
            (int)(part * 100), (double)done / mib, (double)total / mib, speed);
    return 0;
}

vmdk_progress_callback progress_bar(bool quiet)
{
    return !quiet && isatty(STDERR_FILENO) ? draw_bar : NULL;
}

/* Called from several threads at once: each record is one call of stdio, which locks. */
void write_log(void *user_data, vmdk_log_level level, const char *text)
{
    (void)user_data;
    fprintf(stderr, "%s%s\n", level == VMDK_LOG_WARN ? "warning: " : "", text);
}

void tell_recovered(void *user_data, vmdk_outcome outcome, const char *operation_id,
                    const char *what)
{
    (void)user_data;
    (void)outcome; /* what says it in words */
    fprintf(stderr, "left by operation %s: %s\n", operation_id, what);
}

/* ---- the outcome ---------------------------------------------------------------------------- */

void clear_bar(void)
{
    if (bar_drawn)
        fputs("\r\033[K", stderr);
    bar_drawn = false;
}

int report_failure(const char *program, vmdk_status status, const vmdk_error *error)
{
    clear_bar();
    fprintf(stderr, "%s: %s: %s\n", program, vmdk_status_name(status), vmdk_error_message(error));
    if (vmdk_error_retryable(error))
        fprintf(stderr, "%s: the same command may succeed later\n", program);
    return EXIT_STATUS + status;
}

int report(const char *program, vmdk_status status, const vmdk_summary *summary,
           const vmdk_error *error)
{
    if (status != VMDK_STATUS_OK)
        return report_failure(program, status, error);
    clear_bar();
    if (summary->notices[0] != '\0')
        fprintf(stderr, "%s: %s\n", program, summary->notices);
    printf("backing=%s\n", summary->backing);
    printf("backing_created=%" PRIu32 "\n", summary->backing_created);
    printf("capacity=%" PRIu64 "\n", summary->capacity);
    printf("populated=%" PRIu64 "\n", summary->populated);
    printf("stream_length=%" PRIu64 "\n", summary->stream_length);
    printf("stream_sha256=%s\n", summary->stream_sha256);
    printf("content_digest=%s\n", summary->content_digest);
    printf("operation_id=%s\n", summary->operation_id);
    if (fflush(stdout) != 0) {
        fprintf(stderr, "%s: write the summary: %s\n", program, strerror(errno));
        return EXIT_OTHER;
    }
    return 0;
}
