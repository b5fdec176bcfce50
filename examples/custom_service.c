/* A backup service of one's own: backups are rows of an SQLite database.
 *
 *     custom_service backup --service backups.db ...
 *     custom_service restore --service backups.db ...
 *
 * A stream can be far longer than the 1 GB that SQLite takes as one blob, so it is cut into pieces:
 * blobs of a fixed size that are filled in place (incremental blob I/O), never held in memory. A
 * backup is one transaction: before its commit nobody sees it, and an abort, or a crash, leaves
 * nothing. */
#include "tool.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES (16 << 20)

/* A connection for each backup that is written or read, so that operations may run at the same
 * time; SQLite lets one of them write and has the others wait. */
struct stream {
    sqlite3 *database;
    sqlite3_int64 backup;
    sqlite3_blob *piece;
    sqlite3_int64 position;
    sqlite3_int64 length;
};

/* What SQLite says, as the callback's result. The library returns the reserved numbers as statuses
 * of their own, and hands every other one back by vmdk_error_callback_value(). */
static int32_t result(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW: return 0;
    case SQLITE_CONSTRAINT: return VMDK_SERVICE_EXISTS;
    case SQLITE_FULL: return VMDK_SERVICE_NO_SPACE;
    default: return code;
    }
}

static void end(struct stream *stream)
{
    sqlite3_blob_close(stream->piece);
    /* Rolls a transaction back that was not committed. */
    sqlite3_close(stream->database);
    free(stream);
}

static int begin(const char *path, struct stream **stream_out)
{
    struct stream *stream = calloc(1, sizeof *stream);
    int code;

    if (!stream)
        return SQLITE_NOMEM;
    code = sqlite3_open(path, &stream->database);
    if (code == SQLITE_OK) {
        sqlite3_busy_timeout(stream->database, 60000);
        code = sqlite3_exec(stream->database,
                            "CREATE TABLE IF NOT EXISTS backup (number INTEGER PRIMARY KEY,"
                            "    id TEXT NOT NULL UNIQUE, length INTEGER, metadata TEXT);"
                            "CREATE TABLE IF NOT EXISTS piece (number INTEGER PRIMARY KEY,"
                            "    backup INTEGER NOT NULL, start INTEGER NOT NULL,"
                            "    bytes BLOB NOT NULL, UNIQUE (backup, start))",
                            NULL, NULL, NULL);
    }
    if (code != SQLITE_OK) {
        end(stream);
        return code;
    }
    *stream_out = stream;
    return SQLITE_OK;
}

static int prepare(struct stream *stream, const char *text, sqlite3_stmt **statement)
{
    return sqlite3_prepare_v2(stream->database, text, -1, statement, NULL);
}

/* --- keeping a backup --- */

static int32_t create_backup(void *user_data, const vmdk_backup_request *request, void **writer_out)
{
    struct stream *stream;
    sqlite3_stmt *insert = NULL;
    int code = begin(user_data, &stream);

    if (code != SQLITE_OK)
        return result(code);
    code = sqlite3_exec(stream->database, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = prepare(stream, "INSERT INTO backup (id) VALUES (?)", &insert);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(insert, 1, request->backup_id, -1, SQLITE_STATIC);
        code = sqlite3_step(insert);
        stream->backup = sqlite3_last_insert_rowid(stream->database);
    }
    sqlite3_finalize(insert);
    if (result(code) != 0) {
        end(stream);
        return result(code);
    }
    *writer_out = stream;
    return 0;
}

static int add_piece(struct stream *stream)
{
    sqlite3_stmt *insert = NULL;
    int code = prepare(stream, "INSERT INTO piece (backup, start, bytes) VALUES (?, ?, ?)",
                       &insert);

    if (code == SQLITE_OK) {
        sqlite3_bind_int64(insert, 1, stream->backup);
        sqlite3_bind_int64(insert, 2, stream->position);
        sqlite3_bind_zeroblob(insert, 3, PIECE_BYTES);
        code = sqlite3_step(insert);
    }
    sqlite3_finalize(insert);
    if (code != SQLITE_DONE)
        return code;
    sqlite3_blob_close(stream->piece);
    stream->piece = NULL;
    return sqlite3_blob_open(stream->database, "main", "piece", "bytes",
                             sqlite3_last_insert_rowid(stream->database), 1, &stream->piece);
}

static int32_t write_bytes(void *user_data, void *writer, const void *bytes, size_t length)
{
    struct stream *stream = writer;
    const char *from = bytes;

    (void)user_data;
    while (length > 0) {
        const int at = (int)(stream->position % PIECE_BYTES);
        const int room = PIECE_BYTES - at;
        const int count = length < (size_t)room ? (int)length : room;
        int code = at == 0 ? add_piece(stream) : SQLITE_OK;

        if (code == SQLITE_OK)
            code = sqlite3_blob_write(stream->piece, from, count, at);
        if (code != SQLITE_OK)
            return result(code);
        stream->position += count;
        from += count;
        length -= (size_t)count;
    }
    return 0;
}

static int32_t set_metadata(void *user_data, void *writer, const char *metadata, size_t length)
{
    struct stream *stream = writer;
    sqlite3_stmt *update = NULL;
    int code = prepare(stream, "UPDATE backup SET metadata = ? WHERE number = ?", &update);

    (void)user_data;
    if (code == SQLITE_OK) {
        sqlite3_bind_text(update, 1, metadata, (int)length, SQLITE_STATIC);
        sqlite3_bind_int64(update, 2, stream->backup);
        code = sqlite3_step(update);
    }
    sqlite3_finalize(update);
    return result(code);
}

static int32_t commit_backup(void *user_data, void *writer)
{
    struct stream *stream = writer;
    sqlite3_stmt *update = NULL;
    int code = prepare(stream, "UPDATE backup SET length = ? WHERE number = ?", &update);

    (void)user_data;
    if (code == SQLITE_OK) {
        sqlite3_bind_int64(update, 1, stream->position);
        sqlite3_bind_int64(update, 2, stream->backup);
        code = sqlite3_step(update);
    }
    sqlite3_finalize(update);
    sqlite3_blob_close(stream->piece);
    stream->piece = NULL;
    if (result(code) == 0)
        code = sqlite3_exec(stream->database, "COMMIT", NULL, NULL, NULL);
    if (result(code) != 0)
        return result(code); /* abort_backup follows */
    end(stream);
    return 0;
}

static void abort_backup(void *user_data, void *writer)
{
    (void)user_data;
    end(writer);
}

/* --- giving a backup back --- */

static int32_t open_backup(void *user_data, const char *backup_id, uint64_t *length_out,
                           void **reader_out)
{
    struct stream *stream;
    sqlite3_stmt *select = NULL;
    int code = begin(user_data, &stream);

    if (code != SQLITE_OK)
        return result(code);
    code = prepare(stream, "SELECT number, length FROM backup WHERE id = ?", &select);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(select, 1, backup_id, -1, SQLITE_STATIC);
        code = sqlite3_step(select);
    }
    if (code == SQLITE_ROW) {
        stream->backup = sqlite3_column_int64(select, 0);
        stream->length = sqlite3_column_int64(select, 1);
    }
    sqlite3_finalize(select);
    if (code != SQLITE_ROW) {
        end(stream);
        return code == SQLITE_DONE ? VMDK_SERVICE_NOT_FOUND : result(code);
    }
    *length_out = (uint64_t)stream->length;
    *reader_out = stream;
    return 0;
}

static int open_piece(struct stream *stream)
{
    sqlite3_stmt *select = NULL;
    sqlite3_int64 number = 0;
    int code = prepare(stream, "SELECT number FROM piece WHERE backup = ? AND start = ?", &select);

    if (code == SQLITE_OK) {
        sqlite3_bind_int64(select, 1, stream->backup);
        sqlite3_bind_int64(select, 2, stream->position);
        code = sqlite3_step(select);
        number = sqlite3_column_int64(select, 0);
    }
    sqlite3_finalize(select);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? SQLITE_CORRUPT : code;
    sqlite3_blob_close(stream->piece);
    stream->piece = NULL;
    return sqlite3_blob_open(stream->database, "main", "piece", "bytes", number, 0, &stream->piece);
}

static int32_t read_bytes(void *user_data, void *reader, void *buffer, size_t size,
                          size_t *length_out)
{
    struct stream *stream = reader;
    const int at = (int)(stream->position % PIECE_BYTES);
    const sqlite3_int64 rest = stream->length - stream->position;
    int count = PIECE_BYTES - at;
    int code;

    (void)user_data;
    if (rest < count)
        count = (int)rest;
    if (size < (size_t)count)
        count = (int)size;
    if (count == 0)
        return 0;
    code = at == 0 ? open_piece(stream) : SQLITE_OK;
    if (code == SQLITE_OK)
        code = sqlite3_blob_read(stream->piece, buffer, count, at);
    if (code != SQLITE_OK)
        return result(code);
    stream->position += count;
    *length_out = (size_t)count;
    return 0;
}

static int32_t get_metadata(void *user_data, void *reader, char *buffer, size_t size,
                            size_t *length_out)
{
    struct stream *stream = reader;
    sqlite3_stmt *select = NULL;
    int code = prepare(stream, "SELECT metadata FROM backup WHERE number = ?", &select);

    (void)user_data;
    if (code == SQLITE_OK) {
        sqlite3_bind_int64(select, 1, stream->backup);
        code = sqlite3_step(select);
    }
    if (code == SQLITE_ROW && sqlite3_column_text(select, 0)) {
        *length_out = (size_t)sqlite3_column_bytes(select, 0);
        if (*length_out <= size)
            memcpy(buffer, sqlite3_column_text(select, 0), *length_out);
    }
    sqlite3_finalize(select);
    return result(code);
}

static void close_backup(void *user_data, void *reader)
{
    (void)user_data;
    end(reader);
}

static void free_path(void *user_data)
{
    free(user_data);
}

int main(int argc, char **argv)
{
    struct tool tool;
    const char *const actions[] = { "backup", "restore", NULL };
    const int action = tool_begin(&tool, argc, argv, actions);
    vmdk_client *client = tool_connect(&tool);
    vmdk_service *service = NULL;
    vmdk_service_callbacks callbacks = { .struct_size = sizeof callbacks };
    vmdk_summary summary = { .struct_size = sizeof summary };
    vmdk_error *error = NULL;
    vmdk_status status;

    callbacks.user_data = strdup(tool.store);
    callbacks.free = free_path;
    callbacks.create = create_backup;
    callbacks.write = write_bytes;
    callbacks.set_metadata = set_metadata;
    callbacks.commit = commit_backup;
    callbacks.abort = abort_backup;
    callbacks.open = open_backup;
    callbacks.read = read_bytes;
    callbacks.get_metadata = get_metadata;
    callbacks.close = close_backup;
    status = vmdk_service_new(&callbacks, &service, &error);
    if (status != VMDK_STATUS_OK) {
        free(callbacks.user_data);
    } else if (action == 1) {
        vmdk_restore_options options = { .struct_size = sizeof options };
        options.backup_id = tool.backup_id;
        options.temp_dir = tool.temp_dir;
        options.staging = tool.staging;
        options.progress = tool_progress;
        options.progress_user_data = &tool;
        options.cancel = tool.cancel;
        status = vmdk_restore_backup(client, service, &tool.volume, &options, &summary, &error);
    } else {
        vmdk_backup_options options = { .struct_size = sizeof options };
        options.backup_id = tool.backup_id;
        options.temp_dir = tool.temp_dir;
        options.staging = tool.staging;
        options.progress = tool_progress;
        options.progress_user_data = &tool;
        options.cancel = tool.cancel;
        status = vmdk_backup_volume(client, service, &tool.volume, &options, &summary, &error);
    }

    vmdk_service_free(service);
    vmdk_client_free(client);
    return tool_end(&tool, status, &summary, error);
}
