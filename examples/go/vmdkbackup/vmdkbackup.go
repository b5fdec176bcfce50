// Package vmdkbackup backs up and restores the virtual disks of vSphere volumes. It binds
// libvmdk_backup by cgo.
package vmdkbackup

/*
#cgo pkg-config: vmdk_backup
#include <stdlib.h>
#include <vmdk_backup.h>
*/
import "C"

import (
	"context"
	"errors"
	"runtime/cgo"
	"strings"
	"unsafe"
)

// Options say how to reach a vCenter or an ESXi host. With none of CAFile, Pin and Insecure the
// system's certificate authorities are trusted.
type Options struct {
	Server   string
	Username string
	Password string
	CAFile   string
	Pin      string
	Insecure bool
}

// A Client is a session with a server. Any number of goroutines may use it at once.
type Client struct {
	handle *C.vmdk_client
}

// Connect logs in.
func Connect(options Options) (*Client, error) {
	var texts texts
	defer texts.free()
	given := C.vmdk_client_options{
		struct_size: C.sizeof_vmdk_client_options,
		server:      texts.c(options.Server),
		username:    texts.c(options.Username),
		password:    texts.c(options.Password),
		ca_file:     texts.c(options.CAFile),
		pin:         texts.c(options.Pin),
	}
	if options.Insecure {
		given.insecure = 1
	}
	if texts.err != nil {
		return nil, texts.err
	}
	var client Client
	var failure *C.vmdk_error
	if C.vmdk_client_connect(&given, &client.handle, &failure) != C.VMDK_STATUS_OK {
		return nil, takeError(failure)
	}
	return &client, nil
}

// Close logs out. Nothing may use the client any more.
func (c *Client) Close() {
	C.vmdk_client_free(c.handle)
	c.handle = nil
}

// A Volume is a virtual disk, found by its backing's moref, ID (instance UUID) or name. The rest is
// for a backing that has to be made; what is zero is chosen, or as recorded in the backup.
type Volume struct {
	Name         string
	ID           string
	Moref        string
	Size         uint64
	Datacenter   string
	Compute      string
	ResourcePool string
	Datastore    string
	Folder       string
}

// A Summary says what an operation did.
type Summary struct {
	Backing       string
	Created       bool
	Capacity      uint64
	StreamLength  uint64
	ContentDigest string
	Notices       []string
}

// Backup backs up a volume's disk into a service. It ends early when ctx does.
func (c *Client) Backup(ctx context.Context, service Service, volume Volume, backupID string) (Summary, error) {
	return c.operate(ctx, service, volume, backupID, func(o operation) C.vmdk_status {
		options := C.vmdk_backup_options{
			struct_size: C.sizeof_vmdk_backup_options,
			backup_id:   o.backupID,
			cancel:      o.cancel,
		}
		return C.vmdk_backup_volume(c.handle, o.service, o.volume, &options, o.summary, o.failure)
	})
}

// Restore restores a backup into the volume's backing, or into a new one where it has none. It ends
// early when ctx does.
func (c *Client) Restore(ctx context.Context, service Service, volume Volume, backupID string) (Summary, error) {
	return c.operate(ctx, service, volume, backupID, func(o operation) C.vmdk_status {
		options := C.vmdk_restore_options{
			struct_size: C.sizeof_vmdk_restore_options,
			backup_id:   o.backupID,
			cancel:      o.cancel,
		}
		return C.vmdk_restore_backup(c.handle, o.service, o.volume, &options, o.summary, o.failure)
	})
}

// What every operation is given.
type operation struct {
	service  *C.vmdk_service
	volume   *C.vmdk_volume
	backupID *C.char
	cancel   *C.vmdk_cancel
	summary  *C.vmdk_summary
	failure  **C.vmdk_error
}

// Makes what an operation needs, runs it, and frees all of it again.
func (c *Client) operate(ctx context.Context, service Service, volume Volume, backupID string, run func(operation) C.vmdk_status) (Summary, error) {
	var failure *C.vmdk_error
	var cancel *C.vmdk_cancel
	if C.vmdk_cancel_new(&cancel, &failure) != C.VMDK_STATUS_OK {
		return Summary{}, takeError(failure)
	}
	thrown := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		C.vmdk_cancel_throw(cancel)
		close(thrown)
	})
	defer func() {
		if !stop() {
			<-thrown
		}
		C.vmdk_cancel_free(cancel)
	}()

	// A service of the library for each operation: its handle leads to this operation's errors.
	callbacks := &callbacks{service: service}
	handle := cgo.NewHandle(callbacks)
	defer handle.Delete()
	made, err := newService(handle)
	if err != nil {
		return Summary{}, err
	}
	defer C.vmdk_service_free(made)

	var texts texts
	defer texts.free()
	given := C.vmdk_volume{
		struct_size:   C.sizeof_vmdk_volume,
		name:          texts.c(volume.Name),
		id:            texts.c(volume.ID),
		moref:         texts.c(volume.Moref),
		size_bytes:    C.uint64_t(volume.Size),
		datacenter:    texts.c(volume.Datacenter),
		compute:       texts.c(volume.Compute),
		resource_pool: texts.c(volume.ResourcePool),
		datastore:     texts.c(volume.Datastore),
		folder:        texts.c(volume.Folder),
	}
	id := texts.c(backupID)
	if texts.err != nil {
		return Summary{}, texts.err
	}
	summary := C.vmdk_summary{struct_size: C.sizeof_vmdk_summary}
	if run(operation{made, &given, id, cancel, &summary, &failure}) != C.VMDK_STATUS_OK {
		err := takeError(failure)
		err.Cause = callbacks.failure
		if err.Status == StatusCancelled {
			err.Cause = context.Cause(ctx)
		}
		return Summary{}, err
	}
	return Summary{
		Backing:       C.GoString(&summary.backing[0]),
		Created:       summary.backing_created != 0,
		Capacity:      uint64(summary.capacity),
		StreamLength:  uint64(summary.stream_length),
		ContentDigest: C.GoString(&summary.content_digest[0]),
		Notices:       strings.FieldsFunc(C.GoString(&summary.notices[0]), func(r rune) bool { return r == '\n' }),
	}, nil
}

// The C strings of one call, and what is wrong with one of them.
type texts struct {
	made [][]byte
	err  error
}

// The string for C, NULL where it is empty. One with a NUL would be another one there.
func (t *texts) c(text string) *C.char {
	if text == "" {
		return nil
	}
	if strings.IndexByte(text, 0) >= 0 {
		t.err = errors.New("vmdkbackup: a string contains a NUL")
		return nil
	}
	made := C.CString(text)
	t.made = append(t.made, unsafe.Slice((*byte)(unsafe.Pointer(made)), len(text)))
	return made
}

// Wipes them, since one may be a password.
func (t *texts) free() {
	for _, text := range t.made {
		clear(text)
		C.free(unsafe.Pointer(&text[0]))
	}
}
