/* What the C tests share: a check that names its line, and errors that are looked at and freed. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmdk_backup.h>

#define CHECK(truth) \
    do { \
        if (!(truth)) { \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #truth); \
            exit(1); \
        } \
    } while (0)

/* Checks that a call failed with a status and that its message has some words, and frees it. */
#define FAILS(call, wanted, words) \
    do { \
        vmdk_error *error = NULL; \
        vmdk_status status = (call); \
        if (status != (wanted) || vmdk_error_status(error) != status \
            || !strstr(vmdk_error_message(error), (words))) { \
            fprintf(stderr, "%s:%d: %s gave %s: %s\n", __FILE__, __LINE__, #call, \
                    vmdk_status_name(status), vmdk_error_message(error)); \
            exit(1); \
        } \
        vmdk_error_free(error); \
    } while (0)

/* Checks that a call succeeded and gave no error object. */
#define WORKS(call) \
    do { \
        vmdk_error *error = (vmdk_error *)&error; \
        vmdk_status status = (call); \
        if (status != VMDK_STATUS_OK || error != NULL) { \
            fprintf(stderr, "%s:%d: %s gave %s: %s\n", __FILE__, __LINE__, #call, \
                    vmdk_status_name(status), vmdk_error_message(error)); \
            exit(1); \
        } \
    } while (0)

#endif
