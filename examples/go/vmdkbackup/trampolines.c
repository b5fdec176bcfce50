/* From C functions of the types that the library wants to the exported Go functions. An operation
 * has a service of its own here, so user_data, a cgo.Handle, leads to its writer or reader, too. */
#include "_cgo_export.h"

static int32_t create(void *user_data, const vmdk_backup_request *request, void **writer_out)
{
    (void)writer_out;
    return vmdkbackupCreate((uintptr_t)user_data, (char *)request->backup_id,
                            (char *)request->volume_id, request->capacity);
}

static int32_t write_bytes(void *user_data, void *writer, const void *bytes, size_t length)
{
    (void)writer;
    return vmdkbackupWrite((uintptr_t)user_data, (void *)bytes, length);
}

static int32_t set_metadata(void *user_data, void *writer, const char *metadata, size_t length)
{
    (void)writer;
    (void)length;
    return vmdkbackupSetMetadata((uintptr_t)user_data, (char *)metadata);
}

static int32_t commit(void *user_data, void *writer)
{
    (void)writer;
    return vmdkbackupCommit((uintptr_t)user_data);
}

static void abort_backup(void *user_data, void *writer)
{
    (void)writer;
    vmdkbackupAbort((uintptr_t)user_data);
}

static int32_t open_backup(void *user_data, const char *backup_id, uint64_t *length_out,
                           void **reader_out)
{
    (void)reader_out;
    return vmdkbackupOpen((uintptr_t)user_data, (char *)backup_id, length_out);
}

static int32_t read_bytes(void *user_data, void *reader, void *buffer, size_t size,
                          size_t *length_out)
{
    (void)reader;
    return vmdkbackupRead((uintptr_t)user_data, buffer, size, length_out);
}

static int32_t get_metadata(void *user_data, void *reader, char *buffer, size_t size,
                            size_t *length_out)
{
    (void)reader;
    return vmdkbackupGetMetadata((uintptr_t)user_data, buffer, size, length_out);
}

static void close_backup(void *user_data, void *reader)
{
    (void)reader;
    vmdkbackupClose((uintptr_t)user_data);
}

vmdk_status vmdkbackup_service_new(uintptr_t callbacks, vmdk_service **service_out,
                                   vmdk_error **error_out)
{
    vmdk_service_callbacks table = {
        .struct_size = sizeof table,
        .user_data = (void *)callbacks,
        .create = create,
        .write = write_bytes,
        .set_metadata = set_metadata,
        .commit = commit,
        .abort = abort_backup,
        .open = open_backup,
        .read = read_bytes,
        .get_metadata = get_metadata,
        .close = close_backup,
    };

    return vmdk_service_new(&table, service_out, error_out);
}
