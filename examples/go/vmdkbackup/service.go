package vmdkbackup

// #include <vmdk_backup.h>
// vmdk_status vmdkbackup_service_new(uintptr_t callbacks, vmdk_service **service_out, vmdk_error **error_out);
import "C"

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime/cgo"
	"runtime/debug"
	"syscall"
	"unsafe"
)

// A Service keeps backups. Everything of it runs while Backup or Restore does, one at a time, each
// on a goroutine of its own, and may block for hours. Of its errors, fs.ErrExist, fs.ErrNotExist and syscall.ENOSPC get a
// status of their own.
type Service interface {
	// Create begins a backup. An ID that a committed backup has is fs.ErrExist.
	Create(request Request) (Writer, error)
	// Open opens a committed backup. An ID that none has is fs.ErrNotExist.
	Open(backupID string) (Reader, error)
}

// A Request says which backup begins.
type Request struct {
	BackupID string
	VolumeID string
	Capacity uint64 // of the disk; the stream is shorter
}

// A Writer is a backup that is none before Commit. Its bytes are valid during Write only.
type Writer interface {
	io.Writer
	SetMetadata(metadata string) error
	Commit() error
	// Abort forgets the backup. It follows everything but a Commit that succeeded.
	Abort()
}

// A Reader is a backup from its beginning.
type Reader interface {
	io.ReadCloser
	Length() uint64
	Metadata() (string, error)
}

// What the callbacks of one operation work on. They run one at a time.
type callbacks struct {
	service Service
	writer  Writer
	reader  Reader
	failure error
}

func newService(handle cgo.Handle) (*C.vmdk_service, error) {
	var service *C.vmdk_service
	var failure *C.vmdk_error
	if C.vmdkbackup_service_new(C.uintptr_t(handle), &service, &failure) != C.VMDK_STATUS_OK {
		return nil, takeError(failure)
	}
	return service, nil
}

// Does a callback's work. Neither an error nor a panic may pass through C: what happened is kept
// until the operation is back in Go, and C hears a number. The work has a goroutine of its own: one
// that ends itself by runtime.Goexit, as a test does that fails, would leave C in the midst of its.
func guard(handle C.uintptr_t, work func(*callbacks) error) C.int32_t {
	c := cgo.Handle(handle).Value().(*callbacks)
	done := make(chan error, 1)
	go func() {
		err := errors.New("the service ended its goroutine")
		defer func() {
			if reason := recover(); reason != nil {
				err = fmt.Errorf("panic in the service: %v\n%s", reason, debug.Stack())
			}
			done <- err
		}()
		err = work(c)
	}()
	if err := <-done; err != nil {
		return c.fail(err)
	}
	return 0
}

func (c *callbacks) fail(err error) C.int32_t {
	if c.failure == nil {
		c.failure = err
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return C.VMDK_SERVICE_EXISTS
	case errors.Is(err, fs.ErrNotExist):
		return C.VMDK_SERVICE_NOT_FOUND
	case errors.Is(err, syscall.ENOSPC):
		return C.VMDK_SERVICE_NO_SPACE
	}
	return -1
}

//export vmdkbackupCreate
func vmdkbackupCreate(handle C.uintptr_t, backupID, volumeID *C.char, capacity C.uint64_t) C.int32_t {
	return guard(handle, func(c *callbacks) (err error) {
		c.writer, err = c.service.Create(Request{C.GoString(backupID), C.GoString(volumeID), uint64(capacity)})
		return err
	})
}

//export vmdkbackupWrite
func vmdkbackupWrite(handle C.uintptr_t, bytes unsafe.Pointer, length C.size_t) C.int32_t {
	return guard(handle, func(c *callbacks) error {
		_, err := c.writer.Write(unsafe.Slice((*byte)(bytes), length))
		return err
	})
}

//export vmdkbackupSetMetadata
func vmdkbackupSetMetadata(handle C.uintptr_t, metadata *C.char) C.int32_t {
	return guard(handle, func(c *callbacks) error {
		return c.writer.SetMetadata(C.GoString(metadata))
	})
}

//export vmdkbackupCommit
func vmdkbackupCommit(handle C.uintptr_t) C.int32_t {
	return guard(handle, func(c *callbacks) error {
		return c.writer.Commit()
	})
}

//export vmdkbackupAbort
func vmdkbackupAbort(handle C.uintptr_t) {
	guard(handle, func(c *callbacks) error {
		c.writer.Abort()
		return nil
	})
}

//export vmdkbackupOpen
func vmdkbackupOpen(handle C.uintptr_t, backupID *C.char, length *C.uint64_t) C.int32_t {
	return guard(handle, func(c *callbacks) (err error) {
		if c.reader, err = c.service.Open(C.GoString(backupID)); err == nil {
			*length = C.uint64_t(c.reader.Length())
		}
		return err
	})
}

//export vmdkbackupRead
func vmdkbackupRead(handle C.uintptr_t, buffer unsafe.Pointer, size C.size_t, length *C.size_t) C.int32_t {
	return guard(handle, func(c *callbacks) error {
		// No bytes are the end for C; io.Reader permits them before it.
		count, err := io.ReadAtLeast(c.reader, unsafe.Slice((*byte)(buffer), size), 1)
		*length = C.size_t(count)
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	})
}

//export vmdkbackupGetMetadata
func vmdkbackupGetMetadata(handle C.uintptr_t, buffer unsafe.Pointer, size C.size_t, length *C.size_t) C.int32_t {
	return guard(handle, func(c *callbacks) error {
		metadata, err := c.reader.Metadata()
		if err == nil && len(metadata) <= int(size) {
			copy(unsafe.Slice((*byte)(buffer), size), metadata)
		}
		*length = C.size_t(len(metadata))
		return err
	})
}

//export vmdkbackupClose
func vmdkbackupClose(handle C.uintptr_t) {
	guard(handle, func(c *callbacks) error {
		return c.reader.Close()
	})
}
