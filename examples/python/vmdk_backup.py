"""Backs up and restores the virtual disks of vSphere volumes: a binding of libvmdk_backup by ctypes."""

import atexit
import contextlib
import ctypes
import errno
import json
import operator
import os
import signal
import sys
import threading
import traceback
import weakref
from ctypes import byref, c_char_p, c_int32, c_uint32, c_uint64, c_void_p, sizeof

import vmdk_backup_abi as abi

LIBRARY = "libvmdk_backup.so.0.1"  # the ABI that the structures are of

CANCELLED = abi.VMDK_STATUS_CANCELLED
AUTH = abi.VMDK_STATUS_AUTH
NOT_FOUND = abi.VMDK_STATUS_NOT_FOUND
EXISTS = abi.VMDK_STATUS_EXISTS


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
        options = _structure(
            abi.vmdk_client_options, server=server, username=username, password=password,
            ca_file=ca_file, pin=pin, insecure=bool(insecure))
        self._client = c_void_p()
        _check(_lib.vmdk_client_connect, byref(options), byref(self._client))
        self._free = weakref.finalize(self, _lib.vmdk_client_free, self._client)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Logs out, when the last operation that uses the client is done. Forgotten, it is done by the
        garbage collector, or at exit."""
        self._free()

    def backup(self, service, backup_id, progress=None, **volume):
        """Backs up a volume: name, id or moref. progress(phase, done, total) is called at least
        once a second, and what it raises ends the operation."""
        return self._operate(_lib.vmdk_backup_volume, abi.vmdk_backup_options, service,
                             backup_id, progress, volume)

    def restore(self, service, backup_id, progress=None, **volume):
        """Restores a backup into a volume: name, id or moref, and where it has to be made, the
        other fields of vmdk_volume."""
        return self._operate(_lib.vmdk_restore_backup, abi.vmdk_restore_options, service,
                             backup_id, progress, volume)

    def _operate(self, call, kind, service, backup_id, progress, volume):
        if progress is not None and not callable(progress):
            raise TypeError("progress must be callable")
        callbacks = _Callbacks(service, progress)
        volume = _volume(**volume)
        summary = _structure(abi.vmdk_summary)
        handle, cancel = c_void_p(), c_void_p()
        _check(_lib.vmdk_cancel_new, byref(cancel))
        with _under_way(cancel):
            try:
                options = _structure(
                    kind, backup_id=backup_id, progress=callbacks.progress, cancel=cancel)
                _check(_lib.vmdk_service_new, byref(callbacks.table), byref(handle))
                with _interrupted_by(cancel):
                    _check(call, self._client, handle, byref(volume), byref(options),
                           byref(summary), callbacks=callbacks)
            finally:
                _lib.vmdk_cancel_free(cancel)
                _lib.vmdk_service_free(handle)
        return summary


@contextlib.contextmanager
def _interrupted_by(cancel):
    """Makes Ctrl-C throw the switch, and a KeyboardInterrupt of what that ends. As an exception it
    could come at the very beginning of a callback, where nothing catches it yet."""
    if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGINT)):
        yield  # somebody else's: Python runs handlers on the main thread only
        return
    interrupts = []

    def throw(number, _frame):
        interrupts.append(number)
        _lib.vmdk_cancel_throw(cancel)

    before = signal.signal(signal.SIGINT, throw)
    try:
        yield
    except Error as error:
        if interrupts and error.status == CANCELLED:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)


# ---- structures -------------------------------------------------------------------------------


def _structure(kind, **fields):
    """A structure of the header with its size and fields."""
    kinds = dict(kind._fields_)
    made = kind(struct_size=sizeof(kind))
    for name, value in fields.items():
        if name not in kinds:
            raise TypeError(f"{kind.__name__} has no field {name}")
        setattr(made, name, _value(kinds[name], value, name))
    return made


def _value(kind, value, name):
    """A value as ctypes takes it for a field of that type. By itself ctypes takes an integer for the
    address of a string, ends strings at a NUL, and cuts integers that are too large."""
    if kind is c_char_p and value is not None:
        if not isinstance(value, (str, bytes)):
            raise TypeError(f"{name} must be a string, not {type(value).__name__}")
        value = value.encode() if isinstance(value, str) else value
        if b"\0" in value:
            raise ValueError(f"{name} contains a NUL")
    elif kind in (c_int32, c_uint32, c_uint64):
        value = operator.index(value)
        if kind(value).value != value:
            raise OverflowError(f"{name} is {value}, which is too large or too small")
    return value


def _volume(extra_config=None, **fields):
    """A vmdk_volume; extra_config is a mapping of strings."""
    if fields.keys() & {"struct_size", "extra_config_count"}:
        raise TypeError("struct_size and extra_config_count are for the binding to set")
    pairs = [_pair(key, value) for key, value in (extra_config or {}).items()]
    volume = _structure(abi.vmdk_volume, extra_config_count=len(pairs), **fields)
    if pairs:
        volume.extra_config = (abi.vmdk_pair * len(pairs))(*pairs)
    return volume


def _pair(key, value):
    return abi.vmdk_pair(_value(c_char_p, key, "a key"), _value(c_char_p, value, "a value"))


# ---- operations under way ---------------------------------------------------------------------

_changed = threading.Condition()
_switches = set()  # the addresses of those of the operations under way
_exiting = False


@contextlib.contextmanager
def _under_way(cancel):
    """Notes an operation, so that the interpreter does not exit in the midst of it: its threads would
    end where they next run Python, which in a callback is within the library."""
    with _changed:
        if _exiting:
            raise RuntimeError("the interpreter is exiting")
        _switches.add(cancel.value)
    try:
        yield
    finally:
        with _changed:
            _switches.discard(cancel.value)
            _changed.notify_all()


def _throw_all():
    for switch in _switches:
        _lib.vmdk_cancel_throw(switch)


def _end_interrupted():
    """After a Ctrl-C that ended the main thread, ends operations on threads that will be waited for."""
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        with _changed:
            _throw_all()


def _end_all():
    """When all threads are done that the interpreter waits for: ends operations on others."""
    global _exiting
    with _changed:
        _exiting = True
        _throw_all()
        while _switches:
            try:
                _changed.wait()
            except KeyboardInterrupt:
                pass  # they are ending


def _forget_all():
    """In a forked child, which has none of the threads."""
    global _changed
    _changed = threading.Condition()
    _switches.clear()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_forget_all)
if hasattr(threading, "_register_atexit"):  # called before threads are waited for; atexit's, after that
    threading._register_atexit(_end_interrupted)


# ---- callbacks --------------------------------------------------------------------------------


class _Callbacks:
    """A service for one operation: the functions that C calls, and the first exception of them."""

    def __init__(self, service, progress):
        self._service = service
        self._writer = self._reader = None
        self._written = 0
        self._expected = None
        self._report = progress
        self.exception = None
        # Also where nobody asked for it: Python hears of Ctrl-C when it is called.
        self.progress = abi.vmdk_progress_callback(self._guarded(self._on_progress))
        functions = {}
        for name, kind in abi.vmdk_service_callbacks._fields_:
            method = getattr(self, "_" + name, None)
            if method:
                functions[name] = kind(self._guarded(method, void=kind._restype_ is None))
        self.table = _structure(abi.vmdk_service_callbacks, **functions)

    def _guarded(self, method, void=False):
        """The method as C may call it: no exception passes through C."""
        def function(_user_data, *arguments):
            try:
                method(*arguments)
                return None if void else 0
            except BaseException as exception:
                if void:  # the operation goes its way all the same
                    traceback.print_exc()
                    return None
                self.exception = exception
                return _number(exception)
        return function

    def _on_progress(self, phase, done, total):
        if self._report:
            self._report(_text(_lib.vmdk_phase_name(phase)), done, total)

    def _create(self, request, _writer_out):
        request = request.contents
        self._writer = self._service.create(
            _text(request.backup_id), _text(request.volume_id), request.capacity)

    def _write(self, _writer, data, length):
        taken = self._writer.write(ctypes.string_at(data, length))
        if taken is not None and taken != length:
            raise ValueError(f"write() took {taken} of {length} bytes")
        self._written += length

    def _set_metadata(self, _writer, metadata, _length):
        text = metadata.decode()
        self._expected = json.loads(text)["stream"]["length"]
        self._writer.set_metadata(text)

    def _commit(self, _writer):
        # What a signal handler raises at the very beginning of a callback is caught nowhere: C does not
        # hear of it, and the callback's work is not done.
        if self._written != self._expected:
            raise RuntimeError(f"{self._written} bytes were written, not {self._expected}")
        self._writer.commit()

    def _abort(self, _writer):
        self._writer.abort()

    def _open(self, backup_id, length_out, _reader_out):
        self._reader = self._service.open(_text(backup_id))
        length_out[0] = _value(c_uint64, self._reader.length, "length")

    def _read(self, _reader, buffer, size, length_out):
        data = bytes(memoryview(self._reader.read(size)))
        if len(data) > size:
            raise ValueError(f"read({size}) returned {len(data)} bytes")
        ctypes.memmove(buffer, data, len(data))
        length_out[0] = len(data)

    def _get_metadata(self, _reader, buffer, size, length_out):
        text = _value(c_char_p, self._reader.metadata(), "metadata") or b""
        if len(text) <= size:
            ctypes.memmove(buffer, text, len(text))
        length_out[0] = len(text)

    def _close(self, _reader):
        self._reader.close()


def _number(exception):
    if isinstance(exception, FileExistsError):
        return abi.VMDK_SERVICE_EXISTS
    if isinstance(exception, FileNotFoundError):
        return abi.VMDK_SERVICE_NOT_FOUND
    if isinstance(exception, OSError) and exception.errno == errno.ENOSPC:
        return abi.VMDK_SERVICE_NO_SPACE
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
    raise failure from callbacks.exception if callbacks else None


def _text(value):
    return value.decode() if value is not None else None


def _load():
    library = ctypes.CDLL(LIBRARY)
    for name, (result, arguments) in abi.FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    version = _text(library.vmdk_version())
    if version.split(".")[:2] != [str(abi.VMDK_VERSION_MAJOR), str(abi.VMDK_VERSION_MINOR)]:
        raise ImportError(f"{LIBRARY} is of version {version}, with other structures")
    return library


_lib = _load()
