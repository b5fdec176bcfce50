/* What the tools say to the person who runs them, and hear from them. */
#ifndef TERMINAL_H
#define TERMINAL_H

#include <stdbool.h>
#include <vmdk_backup.h>

/* Reads up to the end of a line, which is not kept. Returns the length, or -1 and errno. */
long read_line(int file, char *line, size_t size);

/* Asks on the terminal and reads the answer without echo. Returns its length, or -1 and errno. */
long ask_without_echo(const char *question, char *answer, size_t size);

/* From now on Ctrl-C and its like throw the switch, and the second time end the program at once;
 * NULL makes them what they were. */
void throw_on_signal(const vmdk_cancel *cancel);

/* The library's callback that draws a progress bar, or NULL where nobody would see it. */
vmdk_progress_callback progress_bar(bool quiet);

/* The library's callback for its log. */
void write_log(void *user_data, vmdk_log_level level, const char *text);

/* The library's callback for what killed runs left behind. */
void tell_recovered(void *user_data, vmdk_outcome outcome, const char *operation_id,
                    const char *what);

/* Wipes the progress bar, where there is one. */
void clear_bar(void);

/* Says what went wrong. Returns the exit code. */
int report_failure(const char *program, vmdk_status status, const vmdk_error *error);

/* Says what was done, as lines of key=value, or what went wrong. Returns the exit code. */
int report(const char *program, vmdk_status status, const vmdk_summary *summary,
           const vmdk_error *error);

#endif
