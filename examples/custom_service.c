/*
 * A backup service of one's own: backups in a SQLite database, written and read in place by
 * incremental blob I/O, so that no piece of a backup is ever in memory.
 *
 * A blob ends at 1 GB and cannot grow: a backup is a row of `backup` and as many rows of `piece` as
 * it needs. One transaction holds a backup from create to commit, so a crash leaves nothing behind;
 * its price is that a database takes one backup at a time.
 */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmdk_backup.h>

static const char *const schema =
    "PRAGMA foreign_keys = ON;"
    "CREATE TABLE IF NOT EXISTS backup ("
    "    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, length INTEGER, metadata TEXT);"
    "CREATE TABLE IF NOT EXISTS piece ("
    "    id INTEGER PRIMARY KEY, backup INTEGER NOT NULL REFERENCES backup ON DELETE CASCADE,"
    "    number INTEGER NOT NULL, bytes BLOB NOT NULL, UNIQUE (backup, number));";

static const char *const new_piece =
    "INSERT INTO piece (backup, number, bytes) VALUES (?2, ?3, zeroblob(16 * 1024 * 1024))";

enum { BUSY_TIMEOUT_MS = 60000 };

/* A backup being written or read, on a connection of its own. */
struct stream {
    sqlite3 *database;
    sqlite3_stmt *pieces; /* what is still to be read */
    sqlite3_blob *piece;  /* where the stream is in, NULL before the first */
    int offset;           /* how far in that */
    sqlite3_int64 backup;
    sqlite3_int64 piece_count;
    sqlite3_int64 position;
    sqlite3_int64 length;
};

/* Says what SQLite says, since the library hears no more than a number. */
static int32_t failure(struct stream *stream, const char *what)
{
    int code = sqlite3_extended_errcode(stream->database);

    fprintf(stderr, "custom_service: %s: %s\n", what, sqlite3_errmsg(stream->database));
    if ((code & 0xff) == SQLITE_FULL)
        return VMDK_SERVICE_NO_SPACE;
    return code != SQLITE_OK ? code : SQLITE_ERROR;
}

static void end_stream(struct stream *stream)
{
    sqlite3_blob_close(stream->piece);
    sqlite3_finalize(stream->pieces);
    sqlite3_close(stream->database); /* rolls back what was not committed */
    free(stream);
}

static int32_t begin_stream(const char *path, int flags, struct stream **stream_out)
{
    struct stream *stream = calloc(1, sizeof *stream);

    if (stream == NULL) {
        fputs("custom_service: out of memory\n", stderr);
        return SQLITE_NOMEM;
    }
    if (sqlite3_open_v2(path, &stream->database, flags, NULL) != SQLITE_OK
        || sqlite3_busy_timeout(stream->database, BUSY_TIMEOUT_MS) != SQLITE_OK) {
        int32_t code = failure(stream, path);
        end_stream(stream);
        return code;
    }
    *stream_out = stream;
    return 0;
}

/* A statement whose ?1, ?2 and ?3, as far as it has them, are bound; NULL on failure. */
static sqlite3_stmt *prepare(struct stream *stream, const char *sql, const char *text,
                             sqlite3_int64 number, sqlite3_int64 other)
{
    sqlite3_stmt *statement = NULL;

    if (sqlite3_prepare_v2(stream->database, sql, -1, &statement, NULL) != SQLITE_OK)
        return NULL;
    int count = sqlite3_bind_parameter_count(statement);
    if ((count >= 1 && sqlite3_bind_text(statement, 1, text, -1, SQLITE_TRANSIENT) != SQLITE_OK)
        || (count >= 2 && sqlite3_bind_int64(statement, 2, number) != SQLITE_OK)
        || (count >= 3 && sqlite3_bind_int64(statement, 3, other) != SQLITE_OK)) {
        sqlite3_finalize(statement);
        return NULL;
    }
    return statement;
}

/* Runs a statement without rows. Returns SQLite's code. */
static int run(struct stream *stream, const char *sql, const char *text, sqlite3_int64 number,
               sqlite3_int64 other)
{
    sqlite3_stmt *statement = prepare(stream, sql, text, number, other);

    sqlite3_step(statement);
    return sqlite3_finalize(statement) != SQLITE_OK || statement == NULL
               ? sqlite3_extended_errcode(stream->database)
               : SQLITE_OK;
}

/* Makes a row of `piece` the one that the stream is in. Returns SQLite's code. */
static int enter_piece(struct stream *stream, sqlite3_int64 row, int writable)
{
    stream->offset = 0;
    if (stream->piece != NULL)
        return sqlite3_blob_reopen(stream->piece, row);
    return sqlite3_blob_open(stream->database, "main", "piece", "bytes", row, writable,
                             &stream->piece);
}

/* How many bytes are left of the piece that the stream is in, but at most so many. */
static int room(const struct stream *stream, uint64_t most)
{
    int left = stream->piece == NULL ? 0 : sqlite3_blob_bytes(stream->piece) - stream->offset;

    return (uint64_t)left < most ? left : (int)most;
}

/* ---- the callbacks -------------------------------------------------------------------------- */

static int32_t create(void *user_data, const vmdk_backup_request *request, void **writer_out)
{
    struct stream *stream;
    int32_t code = begin_stream(user_data, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &stream);

    if (code != 0)
        return code;
    if (sqlite3_exec(stream->database, schema, NULL, NULL, NULL) != SQLITE_OK
        || sqlite3_exec(stream->database, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK) {
        code = failure(stream, "begin a backup");
    } else {
        switch (run(stream, "INSERT INTO backup (name) VALUES (?1)", request->backup_id, 0, 0)) {
        case SQLITE_OK:
            break;
        case SQLITE_CONSTRAINT_UNIQUE:
            code = VMDK_SERVICE_EXISTS;
            break;
        default:
            code = failure(stream, "begin a backup");
        }
    }
    if (code != 0) {
        end_stream(stream);
        return code;
    }
    stream->backup = sqlite3_last_insert_rowid(stream->database);
    *writer_out = stream;
    return 0;
}

static int32_t write_bytes(void *user_data, void *writer, const void *bytes, size_t length)
{
    struct stream *stream = writer;
    const char *from = bytes;

    (void)user_data;
    while (length > 0) {
        int count = room(stream, length);
        if (count == 0) {
            if (run(stream, new_piece, NULL, stream->backup, stream->piece_count) != SQLITE_OK
                || enter_piece(stream, sqlite3_last_insert_rowid(stream->database), 1) != SQLITE_OK)
                return failure(stream, "add a piece");
            stream->piece_count++;
            continue;
        }
        if (sqlite3_blob_write(stream->piece, from, count, stream->offset) != SQLITE_OK)
            return failure(stream, "write to a piece");
        stream->offset += count;
        stream->length += count;
        from += count;
        length -= (size_t)count;
    }
    return 0;
}

static int32_t set_metadata(void *user_data, void *writer, const char *metadata, size_t length)
{
    struct stream *stream = writer;

    (void)user_data;
    (void)length;
    if (run(stream, "UPDATE backup SET metadata = ?1 WHERE id = ?2", metadata, stream->backup, 0)
        != SQLITE_OK)
        return failure(stream, "keep the metadata");
    return 0;
}

static int32_t commit(void *user_data, void *writer)
{
    struct stream *stream = writer;
    int closed = sqlite3_blob_close(stream->piece);

    (void)user_data;
    stream->piece = NULL;
    if (closed != SQLITE_OK
        || run(stream, "UPDATE backup SET length = ?3 WHERE id = ?2", NULL, stream->backup,
               stream->length)
               != SQLITE_OK
        || run(stream, "COMMIT", NULL, 0, 0) != SQLITE_OK)
        return failure(stream, "commit"); /* abort is called next, and needs the stream */
    end_stream(stream);
    return 0;
}

static void abort_backup(void *user_data, void *writer)
{
    (void)user_data;
    end_stream(writer);
}

static int32_t open_backup(void *user_data, const char *backup_id, uint64_t *length_out,
                           void **reader_out)
{
    struct stream *stream;
    int32_t code = begin_stream(user_data, SQLITE_OPEN_READWRITE, &stream);

    if (code != 0)
        return code;
    sqlite3_stmt *found =
        prepare(stream, "SELECT id, length FROM backup WHERE name = ?1", backup_id, 0, 0);
    switch (sqlite3_step(found)) {
    case SQLITE_ROW:
        stream->backup = sqlite3_column_int64(found, 0);
        stream->length = sqlite3_column_int64(found, 1);
        stream->pieces = prepare(stream, "SELECT id FROM piece WHERE backup = ?2 ORDER BY number",
                                 NULL, stream->backup, 0);
        if (stream->pieces == NULL)
            code = failure(stream, "open a backup");
        break;
    case SQLITE_DONE:
        code = VMDK_SERVICE_NOT_FOUND;
        break;
    default:
        code = failure(stream, "find a backup");
    }
    sqlite3_finalize(found);
    if (code != 0) {
        end_stream(stream);
        return code;
    }
    *length_out = (uint64_t)stream->length;
    *reader_out = stream;
    return 0;
}

static int32_t read_bytes(void *user_data, void *reader, void *buffer, size_t size,
                          size_t *length_out)
{
    struct stream *stream = reader;
    uint64_t left = (uint64_t)(stream->length - stream->position);

    (void)user_data;
    if (left == 0 || size == 0)
        return 0;
    if (room(stream, 1) == 0
        && (sqlite3_step(stream->pieces) != SQLITE_ROW
            || enter_piece(stream, sqlite3_column_int64(stream->pieces, 0), 0) != SQLITE_OK))
        return failure(stream, "find the next piece");
    int count = room(stream, size < left ? size : left);
    if (sqlite3_blob_read(stream->piece, buffer, count, stream->offset) != SQLITE_OK)
        return failure(stream, "read from a piece");
    stream->offset += count;
    stream->position += count;
    *length_out = (size_t)count;
    return 0;
}

static int32_t get_metadata(void *user_data, void *reader, char *buffer, size_t size,
                            size_t *length_out)
{
    struct stream *stream = reader;
    sqlite3_stmt *found =
        prepare(stream, "SELECT metadata FROM backup WHERE id = ?2", NULL, stream->backup, 0);
    int32_t code = 0;

    (void)user_data;
    if (sqlite3_step(found) != SQLITE_ROW) {
        code = failure(stream, "read the metadata");
    } else {
        const void *text = sqlite3_column_blob(found, 0); /* NULL where there is none */
        size_t length = (size_t)sqlite3_column_bytes(found, 0);
        if (text != NULL && length <= size)
            memcpy(buffer, text, length);
        *length_out = length;
    }
    sqlite3_finalize(found);
    return code;
}

static void close_backup(void *user_data, void *reader)
{
    (void)user_data;
    end_stream(reader);
}

/* ---- the program ---------------------------------------------------------------------------- */

static int usage(void)
{
    fputs("usage: custom_service backup|restore DATABASE BACKUP-ID VOLUME\n"
          "The environment names the server: VSPHERE_SERVER, VSPHERE_USER, VSPHERE_PASSWORD and,\n"
          "where the system does not trust its certificate, VSPHERE_CA_FILE.\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    vmdk_client_options options = {
        .struct_size = sizeof options,
        .server = getenv("VSPHERE_SERVER"),
        .username = getenv("VSPHERE_USER"),
        .password = getenv("VSPHERE_PASSWORD"),
        .ca_file = getenv("VSPHERE_CA_FILE"),
    };
    if (argc != 5 || (strcmp(argv[1], "backup") != 0 && strcmp(argv[1], "restore") != 0)
        || options.server == NULL || options.username == NULL || options.password == NULL)
        return usage();

    vmdk_service_callbacks callbacks = {
        .struct_size = sizeof callbacks,
        .user_data = argv[2],
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
    vmdk_volume volume = { .struct_size = sizeof volume, .name = argv[4] };
    vmdk_summary summary = { .struct_size = sizeof summary };
    vmdk_service *service = NULL;
    vmdk_client *client = NULL;
    vmdk_error *error = NULL;

    vmdk_status status = vmdk_service_new(&callbacks, &service, &error);
    if (status == VMDK_STATUS_OK)
        status = vmdk_client_connect(&options, &client, &error);
    if (status == VMDK_STATUS_OK && strcmp(argv[1], "backup") == 0) {
        vmdk_backup_options backup = { .struct_size = sizeof backup, .backup_id = argv[3] };
        status = vmdk_backup_volume(client, service, &volume, &backup, &summary, &error);
    } else if (status == VMDK_STATUS_OK) {
        vmdk_restore_options restore = { .struct_size = sizeof restore, .backup_id = argv[3] };
        status = vmdk_restore_backup(client, service, &volume, &restore, &summary, &error);
    }
    vmdk_client_free(client);
    vmdk_service_free(service);

    if (status != VMDK_STATUS_OK)
        fprintf(stderr, "custom_service: %s: %s\n", vmdk_status_name(status),
                vmdk_error_message(error));
    else if (printf("backing=%s\nstream_length=%" PRIu64 "\n", summary.backing,
                    summary.stream_length)
                 < 0
             || fflush(stdout) != 0)
        perror("custom_service: write the summary");
    vmdk_error_free(error);
    return status == VMDK_STATUS_OK ? 0 : 10 + status;
}
