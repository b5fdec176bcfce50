"""Backs up and restores the virtual disks of vSphere volumes: a binding of libvmdk_backup by ctypes."""

import ctypes
import errno
import traceback
from ctypes import (CFUNCTYPE, POINTER, Structure, byref, c_bool, c_char, c_char_p, c_int32,
                    c_size_t, c_uint32, c_uint64, c_void_p, sizeof)

LIBRARY = "libvmdk_backup.so.0.1"  # the ABI that the structures below are of

CANCELLED, AUTH, NOT_FOUND, EXISTS = 5, 9, 10, 11
_SERVICE_NOT_FOUND, _SERVICE_EXISTS, _SERVICE_NO_SPACE = -10010, -10011, -10013


class Error(Exception):
    """What the library says of a failure; __cause__ is what a callback raised, where one did."""

    def __init__(self, error):
        super().__init__(_text(_lib.vmdk_error_message(error)))
        self.status = _lib.vmdk_error_status(error)
        self.status_name = _text(_lib.vmdk_status_name(self.status))
        self.phase = _text(_lib.vmdk_phase_name(_lib.vmdk_error_phase(error)))
        self.fault = _text(_lib.vmdk_error_fault(error))
        self.object = _text(_lib.vmdk_error_object(error))
        self.operation_id = _text(_lib.vmdk_error_operation_id(error))
        self.retryable = _lib.vmdk_error_retryable(error)

    def __str__(self):
        return f"{self.status_name}: {super().__str__()}"


class Service:
    """Something that keeps backups; everything of it runs on the thread that called.

    Of the exceptions it raises, FileExistsError, FileNotFoundError and an OSError of a full disk
    get a status of their own. Whatever it raises is the __cause__ of the Error."""

    def create(self, backup_id, volume_id, capacity):
        """Begins a backup. Returns a writer with write(bytes), set_metadata(text), commit() and
        abort(), the last of which follows everything but a commit that succeeded."""
        raise NotImplementedError

    def open(self, backup_id):
        """Opens a committed backup. Returns a reader with length, read(size), metadata() and
        close()."""
        raise NotImplementedError


class Client:
    """A session with a vCenter or an ESXi host, to be used in a with statement."""

    def __init__(self, server, username, password, ca_file=None, pin=None, insecure=False):
        options = _ClientOptions(
            server=_utf8(server), username=_utf8(username), password=_utf8(password),
            ca_file=_utf8(ca_file), pin=_utf8(pin), insecure=insecure)
        self._client = c_void_p()
        _check(_lib.vmdk_client_connect, byref(options), byref(self._client))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Logs out. Nothing may use the client any more."""
        _lib.vmdk_client_free(self._client)
        self._client = c_void_p()

    def backup(self, service, backup_id, progress=None, **volume):
        """Backs up a volume: name, id or moref. progress(phase, done, total) is called at least
        once a second, and what it raises ends the operation."""
        return self._operate(_lib.vmdk_backup_volume, service, backup_id, progress, volume)

    def restore(self, service, backup_id, progress=None, **volume):
        """Restores a backup into a volume: name, id or moref, and where it has to be made, the
        other fields of vmdk_volume."""
        return self._operate(_lib.vmdk_restore_backup, service, backup_id, progress, volume)

    def _operate(self, call, service, backup_id, progress, volume):
        callbacks = _Callbacks(service, progress)
        handle = c_void_p()
        _check(_lib.vmdk_service_new, byref(callbacks.table), byref(handle))
        try:
            summary = _Summary()
            options = _OperationOptions(backup_id=_utf8(backup_id), progress=callbacks.progress)
            volume = _Volume(**{name: _utf8(value) for name, value in volume.items()})
            _check(call, self._client, handle, byref(volume), byref(options), byref(summary),
                   callbacks=callbacks)
            return summary
        finally:
            _lib.vmdk_service_free(handle)


# ---- structures -------------------------------------------------------------------------------


class _Sized(Structure):
    def __init__(self, **fields):
        unknown = fields.keys() - {name for name, _ in self._fields_}
        if unknown:
            raise TypeError(f"no field {', '.join(unknown)}")
        super().__init__(struct_size=sizeof(self), **fields)


class _ClientOptions(_Sized):
    _fields_ = [
        ("struct_size", c_size_t), ("server", c_char_p), ("username", c_char_p),
        ("password", c_char_p), ("ca_file", c_char_p), ("pin", c_char_p), ("insecure", c_uint32),
        ("allow_plain_http", c_uint32), ("connect_timeout_ms", c_uint32),
        ("request_timeout_ms", c_uint32), ("keepalive_interval_ms", c_uint32),
        ("log_level", c_int32), ("proxy", c_char_p), ("state_dir", c_char_p), ("log", c_void_p),
        ("log_user_data", c_void_p), ("log_free", c_void_p)]


class _Volume(_Sized):
    _fields_ = [
        ("struct_size", c_size_t), ("name", c_char_p), ("id", c_char_p), ("moref", c_char_p),
        ("size_bytes", c_uint64), ("disk_type", c_int32), ("adapter_type", c_int32),
        ("disk_key", c_int32), ("extra_config_count", c_uint32), ("extra_config", c_void_p),
        ("storage_profile", c_char_p), ("datacenter", c_char_p), ("compute", c_char_p),
        ("resource_pool", c_char_p), ("datastore", c_char_p), ("folder", c_char_p)]


class _Request(Structure):
    _fields_ = [("struct_size", c_size_t), ("backup_id", c_char_p), ("volume_id", c_char_p),
                ("capacity", c_uint64)]


class _Summary(_Sized):
    _fields_ = [
        ("struct_size", c_size_t), ("capacity", c_uint64), ("stream_length", c_uint64),
        ("populated", c_uint64), ("backing_created", c_uint32), ("notice_count", c_uint32),
        ("operation_id", c_char * 32), ("backing", c_char * 128), ("stream_sha256", c_char * 72),
        ("content_digest", c_char * 72), ("notices", c_char * 2048)]


_Progress = CFUNCTYPE(c_int32, c_void_p, c_int32, c_uint64, c_uint64)


class _OperationOptions(_Sized):
    """vmdk_backup_options and vmdk_restore_options, which have the same fields."""
    _fields_ = [
        ("struct_size", c_size_t), ("backup_id", c_char_p), ("temp_dir", c_char_p),
        ("staging", c_int32), ("stall_timeout_ms", c_uint32), ("progress", _Progress),
        ("progress_user_data", c_void_p), ("cancel", c_void_p)]


class _ServiceTable(_Sized):
    _fields_ = [
        ("struct_size", c_size_t), ("user_data", c_void_p), ("free", c_void_p),
        ("create", CFUNCTYPE(c_int32, c_void_p, POINTER(_Request), POINTER(c_void_p))),
        ("write", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p, c_size_t)),
        ("set_metadata", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p, c_size_t)),
        ("commit", CFUNCTYPE(c_int32, c_void_p, c_void_p)),
        ("abort", CFUNCTYPE(None, c_void_p, c_void_p)),
        ("open", CFUNCTYPE(c_int32, c_void_p, c_char_p, POINTER(c_uint64), POINTER(c_void_p))),
        ("read", CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p, c_size_t, POINTER(c_size_t))),
        ("get_metadata",
         CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p, c_size_t, POINTER(c_size_t))),
        ("close", CFUNCTYPE(None, c_void_p, c_void_p)),
        ("backup_file", c_void_p), ("restore_file", c_void_p)]


# ---- callbacks --------------------------------------------------------------------------------


class _Callbacks:
    """A service for one operation: the functions that C calls, and the first exception of them."""

    def __init__(self, service, progress):
        self._service = service
        self._writer = self._reader = None
        self._report = progress
        self.exception = None
        self.progress = _Progress(self._guarded(self._on_progress) if progress else 0)
        functions = {}
        for name, kind in _ServiceTable._fields_:
            method = getattr(self, "_" + name, None)
            if method:
                functions[name] = kind(self._guarded(method, void=kind._restype_ is None))
        self.table = _ServiceTable(**functions)

    def _guarded(self, method, void=False):
        """The method as C may call it: no exception passes through C."""
        def function(_user_data, *arguments):
            try:
                result = method(*arguments)
                return None if void else result or 0
            except BaseException as exception:  # KeyboardInterrupt ends the operation, too
                if void:  # the operation goes its way all the same
                    traceback.print_exc()
                    return None
                self.exception = exception
                return _number(exception)
        return function

    def _on_progress(self, phase, done, total):
        self._report(_text(_lib.vmdk_phase_name(phase)), done, total)

    def _create(self, request, _writer_out):
        request = request.contents
        self._writer = self._service.create(
            _text(request.backup_id), _text(request.volume_id), request.capacity)

    def _write(self, _writer, data, length):
        self._writer.write(ctypes.string_at(data, length))

    def _set_metadata(self, _writer, metadata, length):
        self._writer.set_metadata(ctypes.string_at(metadata, length).decode())

    def _commit(self, _writer):
        self._writer.commit()

    def _abort(self, _writer):
        self._writer.abort()

    def _open(self, backup_id, length_out, _reader_out):
        self._reader = self._service.open(_text(backup_id))
        length_out[0] = self._reader.length

    def _read(self, _reader, buffer, size, length_out):
        data = self._reader.read(size)
        ctypes.memmove(buffer, data, len(data))
        length_out[0] = len(data)

    def _get_metadata(self, _reader, buffer, size, length_out):
        text = self._reader.metadata().encode()
        if len(text) <= size:
            ctypes.memmove(buffer, text, len(text))
        length_out[0] = len(text)

    def _close(self, _reader):
        self._reader.close()


def _number(exception):
    if isinstance(exception, FileExistsError):
        return _SERVICE_EXISTS
    if isinstance(exception, FileNotFoundError):
        return _SERVICE_NOT_FOUND
    if isinstance(exception, OSError) and exception.errno == errno.ENOSPC:
        return _SERVICE_NO_SPACE
    return -1


# ---- the library ------------------------------------------------------------------------------


def _check(call, *arguments, callbacks=None):
    error = c_void_p()
    if call(*arguments, byref(error)) == 0:
        return
    try:
        failure = Error(error)
    finally:
        _lib.vmdk_error_free(error)
    cause = callbacks.exception if callbacks else None
    if isinstance(cause, (KeyboardInterrupt, SystemExit)):
        raise cause
    raise failure from cause


def _utf8(value):
    return value.encode() if isinstance(value, str) else value


def _text(value):
    return value.decode() if value is not None else None


def _load():
    library = ctypes.CDLL(LIBRARY)
    pointer, error = c_void_p, POINTER(c_void_p)
    operation = [pointer, pointer, POINTER(_Volume), POINTER(_OperationOptions),
                 POINTER(_Summary), error]
    prototypes = {
        "vmdk_status_name": (c_char_p, [c_int32]),
        "vmdk_phase_name": (c_char_p, [c_int32]),
        "vmdk_error_status": (c_int32, [pointer]),
        "vmdk_error_message": (c_char_p, [pointer]),
        "vmdk_error_phase": (c_int32, [pointer]),
        "vmdk_error_fault": (c_char_p, [pointer]),
        "vmdk_error_object": (c_char_p, [pointer]),
        "vmdk_error_operation_id": (c_char_p, [pointer]),
        "vmdk_error_retryable": (c_bool, [pointer]),
        "vmdk_error_free": (None, [pointer]),
        "vmdk_client_connect": (c_int32, [POINTER(_ClientOptions), POINTER(pointer), error]),
        "vmdk_client_free": (None, [pointer]),
        "vmdk_service_new": (c_int32, [POINTER(_ServiceTable), POINTER(pointer), error]),
        "vmdk_service_free": (None, [pointer]),
        "vmdk_backup_volume": (c_int32, operation),
        "vmdk_restore_backup": (c_int32, operation),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_lib = _load()
