package main

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vmware/govmomi/nfc"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func (s *site) importDisk(ctx context.Context, name string, disk *disk) (*object.VirtualMachine, error) {
	spec := &types.VirtualMachineImportSpec{ConfigSpec: s.configuration(name, disk.capacity)}
	lease, err := s.pool.ImportVApp(ctx, spec, s.folder, nil)
	if err != nil {
		return nil, err
	}
	vm, err := s.upload(ctx, lease, disk)
	if err != nil {
		// The first error is the one to tell.
		_ = lease.Abort(ctx, nil)
		return nil, err
	}
	return vm, lease.Complete(ctx)
}

func (s *site) upload(ctx context.Context, lease *nfc.Lease, disk *disk) (*object.VirtualMachine, error) {
	info, err := lease.Wait(ctx, nil)
	if err != nil {
		return nil, err
	}
	if len(info.DeviceUrl) != 1 {
		return nil, fmt.Errorf("%d device URLs for one disk", len(info.DeviceUrl))
	}
	if key := info.DeviceUrl[0].ImportKey; key == "" {
		return nil, fmt.Errorf("the device URL of an import has no importKey")
	}
	updater := lease.StartUpdater(ctx, info)
	defer updater.Done()
	file, err := os.Open(disk.vmdk)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if err := lease.Upload(ctx, info.Items[0], file, soap.Upload{ContentLength: stat.Size()}); err != nil {
		return nil, err
	}
	return object.NewVirtualMachine(s.client.Client, info.Entity), nil
}

func (s *site) exportAndCompare(ctx context.Context, vm *object.VirtualMachine, disk *disk) error {
	lease, err := vm.Export(ctx)
	if err != nil {
		return err
	}
	path := filepath.Join(disk.folder, "export.vmdk")
	if err := s.download(ctx, lease, path); err != nil {
		_ = lease.Abort(ctx, nil)
		return err
	}
	if err := lease.Complete(ctx); err != nil {
		return err
	}
	return disk.compare(path)
}

func (s *site) download(ctx context.Context, lease *nfc.Lease, path string) error {
	info, err := lease.Wait(ctx, nil)
	if err != nil {
		return err
	}
	var disks []nfc.FileItem
	for index, device := range info.DeviceUrl {
		if device.Disk != nil && *device.Disk {
			disks = append(disks, info.Items[index])
		}
	}
	if len(disks) != 1 {
		return fmt.Errorf("%d disks in the lease, expected one", len(disks))
	}
	updater := lease.StartUpdater(ctx, info)
	defer updater.Done()
	if err := lease.DownloadFile(ctx, path, disks[0], soap.Download{}); err != nil {
		return err
	}
	return compareManifest(ctx, lease, disks[0].DeviceId, path)
}

// compareManifest holds the file against the lease's manifest, which not every server fills.
func compareManifest(ctx context.Context, lease *nfc.Lease, key, path string) error {
	entries, err := lease.GetManifest(ctx)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Key != key {
			continue
		}
		if sum := sha1.Sum(content); entry.Size != int64(len(content)) || entry.Sha1 != hex.EncodeToString(sum[:]) {
			return fmt.Errorf("manifest %d bytes %s, received %d bytes %x", entry.Size, entry.Sha1, len(content), sum)
		}
		return nil
	}
	if len(entries) > 0 {
		return fmt.Errorf("a manifest of %d entries has none for %s", len(entries), key)
	}
	return nil
}
