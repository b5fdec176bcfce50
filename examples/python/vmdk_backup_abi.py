"""What vmdk_backup.h declares, for ctypes.

Generated from the header: UPDATE_HEADER=1 cargo test --test it header"""

from ctypes import (CFUNCTYPE, POINTER, Structure, c_bool, c_char, c_char_p, c_int32, c_int64,
                    c_size_t, c_uint32, c_uint64, c_void_p)

VMDK_VERSION_MAJOR = 0
VMDK_VERSION_MINOR = 1
VMDK_VERSION_PATCH = 0
VMDK_STATUS_OK = 0
VMDK_STATUS_INVALID_ARGUMENT = 1
VMDK_STATUS_UNSUPPORTED = 2
VMDK_STATUS_REENTRANT = 3
VMDK_STATUS_PANIC = 4
VMDK_STATUS_CANCELLED = 5
VMDK_STATUS_SERVICE = 6
VMDK_STATUS_CONNECTION = 7
VMDK_STATUS_TLS = 8
VMDK_STATUS_AUTH = 9
VMDK_STATUS_NOT_FOUND = 10
VMDK_STATUS_EXISTS = 11
VMDK_STATUS_INVALID_STATE = 12
VMDK_STATUS_NO_SPACE = 13
VMDK_STATUS_FAULT = 14
VMDK_STATUS_CORRUPT = 15
VMDK_STATUS_STALLED = 16
VMDK_STATUS_IO = 17
VMDK_PHASE_NONE = 0
VMDK_PHASE_CONNECT = 1
VMDK_PHASE_PREPARE = 2
VMDK_PHASE_CREATE = 3
VMDK_PHASE_TRANSFER = 4
VMDK_PHASE_SERVICE = 5
VMDK_PHASE_VERIFY = 6
VMDK_PHASE_CONVERT = 7
VMDK_PHASE_REPLACE = 8
VMDK_PHASE_FINISH = 9
vmdk_log_callback = CFUNCTYPE(None, c_void_p, c_int32, c_char_p)
VMDK_LOG_DEFAULT = 0
VMDK_LOG_WARN = 1
VMDK_LOG_INFO = 2
VMDK_LOG_DEBUG = 3
VMDK_RETRIES_NONE = 0xffffffff


class vmdk_client_options(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("server", c_char_p),
        ("username", c_char_p),
        ("password", c_char_p),
        ("ca_file", c_char_p),
        ("pin", c_char_p),
        ("insecure", c_uint32),
        ("allow_plain_http", c_uint32),
        ("connect_timeout_ms", c_uint32),
        ("request_timeout_ms", c_uint32),
        ("keepalive_interval_ms", c_uint32),
        ("log_level", c_int32),
        ("retries", c_uint32),
        ("retry_pause_ms", c_uint32),
        ("busy_timeout_ms", c_uint32),
        ("reserved", c_uint32),
        ("proxy", c_char_p),
        ("state_dir", c_char_p),
        ("log", vmdk_log_callback),
        ("log_user_data", c_void_p),
        ("log_free", CFUNCTYPE(None, c_void_p)),
    ]


VMDK_SERVICE_NOT_FOUND = -10010
VMDK_SERVICE_EXISTS = -10011
VMDK_SERVICE_NO_SPACE = -10013


class vmdk_backup_request(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("backup_id", c_char_p),
        ("volume_id", c_char_p),
        ("capacity", c_uint64),
        ("format", c_int32),
        ("reserved", c_uint32),
    ]


class vmdk_service_callbacks(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("user_data", c_void_p),
        ("free", CFUNCTYPE(None, c_void_p)),
        ("create", CFUNCTYPE(c_int32, c_void_p, POINTER(vmdk_backup_request), POINTER(c_void_p))),
        ("write", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p, c_size_t)),
        ("set_metadata", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_char_p, c_size_t)),
        ("commit", CFUNCTYPE(c_int32, c_void_p, c_void_p)),
        ("abort", CFUNCTYPE(None, c_void_p, c_void_p)),
        ("open", CFUNCTYPE(c_int32, c_void_p, c_char_p, POINTER(c_uint64), POINTER(c_void_p))),
        ("read", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p, c_size_t, POINTER(c_size_t))),
        ("get_metadata", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p, c_size_t, POINTER(c_size_t))),
        ("close", CFUNCTYPE(None, c_void_p, c_void_p)),
        ("backup_file", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_char_p, c_char_p)),
        ("restore_file", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_char_p, c_char_p)),
        ("write_at", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_uint64, c_void_p, c_size_t)),
        ("write_zeros", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_uint64, c_uint64)),
        ("read_at", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_uint64, c_void_p, c_size_t)),
        ("next_data", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_uint64, POINTER(c_uint64), POINTER(c_uint64))),
    ]


VMDK_FORMAT_STREAM = 0
VMDK_FORMAT_RAW = 1


class vmdk_pair(Structure):
    _fields_ = [
        ("key", c_char_p),
        ("value", c_char_p),
    ]


class vmdk_volume(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char_p),
        ("id", c_char_p),
        ("moref", c_char_p),
        ("size_bytes", c_uint64),
        ("disk_type", c_int32),
        ("adapter_type", c_int32),
        ("disk_key", c_int32),
        ("extra_config_count", c_uint32),
        ("extra_config", POINTER(vmdk_pair)),
        ("storage_profile", c_char_p),
        ("datacenter", c_char_p),
        ("compute", c_char_p),
        ("resource_pool", c_char_p),
        ("datastore", c_char_p),
        ("folder", c_char_p),
    ]


VMDK_DISK_TYPE_DEFAULT = 0
VMDK_DISK_TYPE_THIN = 1
VMDK_DISK_TYPE_THICK = 2
VMDK_DISK_TYPE_EAGER_ZEROED_THICK = 3
VMDK_ADAPTER_TYPE_DEFAULT = 0
VMDK_ADAPTER_TYPE_LSI_LOGIC = 1
VMDK_ADAPTER_TYPE_BUS_LOGIC = 2
VMDK_ADAPTER_TYPE_LSI_LOGIC_SAS = 3
VMDK_ADAPTER_TYPE_PARA_VIRTUAL = 4
VMDK_ADAPTER_TYPE_IDE = 5


class vmdk_summary(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("capacity", c_uint64),
        ("stream_length", c_uint64),
        ("populated", c_uint64),
        ("backing_created", c_uint32),
        ("notice_count", c_uint32),
        ("operation_id", c_char * 32),
        ("backing", c_char * 128),
        ("stream_sha256", c_char * 72),
        ("content_digest", c_char * 72),
        ("notices", c_char * 2048),
    ]


vmdk_progress_callback = CFUNCTYPE(c_int32, c_void_p, c_int32, c_uint64, c_uint64)


class vmdk_backup_options(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("backup_id", c_char_p),
        ("temp_dir", c_char_p),
        ("staging", c_int32),
        ("stall_timeout_ms", c_uint32),
        ("progress", vmdk_progress_callback),
        ("progress_user_data", c_void_p),
        ("cancel", c_void_p),
        ("deadline_ms", c_uint64),
        ("check_level", c_int32),
        ("format", c_int32),
        ("existing_only", c_uint32),
        ("reserved", c_uint32),
    ]


class vmdk_restore_options(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("backup_id", c_char_p),
        ("temp_dir", c_char_p),
        ("staging", c_int32),
        ("stall_timeout_ms", c_uint32),
        ("progress", vmdk_progress_callback),
        ("progress_user_data", c_void_p),
        ("cancel", c_void_p),
        ("deadline_ms", c_uint64),
        ("check_level", c_int32),
        ("format", c_int32),
        ("allow_other_volume", c_uint32),
        ("reserved", c_uint32),
    ]


VMDK_STAGING_DEFAULT = 0
VMDK_STAGING_STREAM = 1
VMDK_STAGING_FILE = 2
VMDK_CHECK_FULL = 0
VMDK_CHECK_STRUCTURE = 1
VMDK_CHECK_DIGEST = 2


class vmdk_verify_options(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("backup_id", c_char_p),
        ("temp_dir", c_char_p),
        ("check_level", c_int32),
        ("format", c_int32),
        ("progress", vmdk_progress_callback),
        ("progress_user_data", c_void_p),
        ("cancel", c_void_p),
        ("deadline_ms", c_uint64),
    ]


vmdk_recovered_callback = CFUNCTYPE(None, c_void_p, c_int32, c_char_p, c_char_p)


class vmdk_recover_options(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("dry_run", c_uint32),
        ("min_age_s", c_uint32),
        ("recovered", vmdk_recovered_callback),
        ("recovered_user_data", c_void_p),
        ("cancel", c_void_p),
    ]


VMDK_OUTCOME_DONE = 0
VMDK_OUTCOME_SKIPPED = 1
VMDK_OUTCOME_FAILED = 2


class vmdk_convert_options(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("source", c_char_p),
        ("target", c_char_p),
        ("format", c_int32),
        ("compression", c_int32),
        ("progress", vmdk_progress_callback),
        ("progress_user_data", c_void_p),
        ("cancel", c_void_p),
        ("deadline_ms", c_uint64),
        ("source_format", c_int32),
        ("reserved", c_uint32),
    ]


vmdk_inspected_callback = CFUNCTYPE(None, c_void_p, c_char_p, c_size_t)


class vmdk_inspect_options(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("path", c_char_p),
        ("inspected", vmdk_inspected_callback),
        ("inspected_user_data", c_void_p),
        ("progress", vmdk_progress_callback),
        ("progress_user_data", c_void_p),
        ("cancel", c_void_p),
        ("source_format", c_int32),
        ("reserved", c_uint32),
    ]


VMDK_COMPRESSION_FAST = 0
VMDK_COMPRESSION_BALANCED = 1
VMDK_COMPRESSION_SMALL = 2
VMDK_SOURCE_PROBE = 0
VMDK_SOURCE_STREAM = 1
VMDK_SOURCE_RAW = 2

# Of each function, the types of its result and its arguments.
FUNCTIONS = {
    "vmdk_version": (c_char_p, []),
    "vmdk_codec": (c_char_p, []),
    "vmdk_status_name": (c_char_p, [c_int32]),
    "vmdk_phase_name": (c_char_p, [c_int32]),
    "vmdk_error_status": (c_int32, [c_void_p]),
    "vmdk_error_message": (c_char_p, [c_void_p]),
    "vmdk_error_phase": (c_int32, [c_void_p]),
    "vmdk_error_fault": (c_char_p, [c_void_p]),
    "vmdk_error_object": (c_char_p, [c_void_p]),
    "vmdk_error_operation_id": (c_char_p, [c_void_p]),
    "vmdk_error_retryable": (c_bool, [c_void_p]),
    "vmdk_error_callback_value": (c_int64, [c_void_p]),
    "vmdk_error_left_behind": (c_char_p, [c_void_p, c_size_t]),
    "vmdk_error_free": (None, [c_void_p]),
    "vmdk_cancel_new": (c_int32, [POINTER(c_void_p), POINTER(c_void_p)]),
    "vmdk_cancel_throw": (None, [c_void_p]),
    "vmdk_cancel_free": (None, [c_void_p]),
    "vmdk_client_connect": (c_int32, [POINTER(vmdk_client_options), POINTER(c_void_p), POINTER(c_void_p)]),
    "vmdk_client_free": (None, [c_void_p]),
    "vmdk_service_new": (c_int32, [POINTER(vmdk_service_callbacks), POINTER(c_void_p), POINTER(c_void_p)]),
    "vmdk_service_directory": (c_int32, [c_char_p, POINTER(c_void_p), POINTER(c_void_p)]),
    "vmdk_service_free": (None, [c_void_p]),
    "vmdk_backup_volume": (c_int32, [c_void_p, c_void_p, POINTER(vmdk_volume), POINTER(vmdk_backup_options), POINTER(vmdk_summary), POINTER(c_void_p)]),
    "vmdk_restore_backup": (c_int32, [c_void_p, c_void_p, POINTER(vmdk_volume), POINTER(vmdk_restore_options), POINTER(vmdk_summary), POINTER(c_void_p)]),
    "vmdk_verify_backup": (c_int32, [c_void_p, POINTER(vmdk_verify_options), POINTER(vmdk_summary), POINTER(c_void_p)]),
    "vmdk_recover": (c_int32, [c_void_p, POINTER(vmdk_recover_options), POINTER(c_void_p)]),
    "vmdk_convert": (c_int32, [POINTER(vmdk_convert_options), POINTER(vmdk_summary), POINTER(c_void_p)]),
    "vmdk_inspect": (c_int32, [POINTER(vmdk_inspect_options), POINTER(c_void_p)]),
}
