package vmdkbackup

// #include <vmdk_backup.h>
import "C"

import "fmt"

// A Status says why a call failed. There may be more in a later version of the library.
type Status int32

// The statuses that a program may want to act on; vmdk_backup.h has them all.
const (
	StatusCancelled Status = C.VMDK_STATUS_CANCELLED
	StatusService   Status = C.VMDK_STATUS_SERVICE
	StatusAuth      Status = C.VMDK_STATUS_AUTH
	StatusNotFound  Status = C.VMDK_STATUS_NOT_FOUND
	StatusExists    Status = C.VMDK_STATUS_EXISTS
	StatusCorrupt   Status = C.VMDK_STATUS_CORRUPT
)

func (s Status) String() string {
	return C.GoString(C.vmdk_status_name(C.vmdk_status(s)))
}

// An Error is what the library says of a failure.
type Error struct {
	Status      Status
	Message     string
	Phase       string
	Fault       string // the vSphere fault type
	Object      string // the moref concerned
	OperationID string
	Retryable   bool
	LeftBehind  []string
	Cause       error // of the service, or of the context
}

func (e *Error) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("%v: %s", e.Status, e.Message)
	}
	return fmt.Sprintf("%v: %s: %v", e.Status, e.Message, e.Cause)
}

func (e *Error) Unwrap() error {
	return e.Cause
}

// Copies and frees an error of the library.
func takeError(failure *C.vmdk_error) *Error {
	defer C.vmdk_error_free(failure)
	taken := &Error{
		Status:      Status(C.vmdk_error_status(failure)),
		Message:     C.GoString(C.vmdk_error_message(failure)),
		Phase:       C.GoString(C.vmdk_phase_name(C.vmdk_error_phase(failure))),
		Fault:       C.GoString(C.vmdk_error_fault(failure)),
		Object:      C.GoString(C.vmdk_error_object(failure)),
		OperationID: C.GoString(C.vmdk_error_operation_id(failure)),
		Retryable:   bool(C.vmdk_error_retryable(failure)),
	}
	for index := C.size_t(0); ; index++ {
		thing := C.vmdk_error_left_behind(failure, index)
		if thing == nil {
			return taken
		}
		taken.LeftBehind = append(taken.LeftBehind, C.GoString(thing))
	}
}
