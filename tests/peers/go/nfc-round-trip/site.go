package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// site is a session with the places that things are made in.
type site struct {
	client    *govmomi.Client
	finder    *find.Finder
	datastore *object.Datastore
	pool      *object.ResourcePool
	folder    *object.Folder
}

func login(ctx context.Context, address, user, ca string) (*site, error) {
	endpoint, err := soap.ParseURL(address)
	if err != nil {
		return nil, err
	}
	transport := soap.NewClient(endpoint, false)
	if ca != "" {
		if err := transport.SetRootCAs(ca); err != nil {
			return nil, err
		}
	}
	vim, err := vim25.NewClient(ctx, transport)
	if err != nil {
		return nil, err
	}
	client := &govmomi.Client{Client: vim, SessionManager: session.NewManager(vim)}
	if err := client.Login(ctx, url.UserPassword(user, os.Getenv("VSPHERE_PASSWORD"))); err != nil {
		return nil, err
	}
	place := &site{client: client, finder: find.NewFinder(vim)}
	return place, place.findPlaces(ctx)
}

func (s *site) findPlaces(ctx context.Context) error {
	datacenter, err := s.finder.DefaultDatacenter(ctx)
	if err != nil {
		return err
	}
	s.finder.SetDatacenter(datacenter)
	folders, err := datacenter.Folders(ctx)
	if err != nil {
		return err
	}
	s.folder = folders.VmFolder
	datastores, err := s.finder.DatastoreList(ctx, "*")
	if err != nil {
		return err
	}
	s.datastore = datastores[0]
	pools, err := s.finder.ResourcePoolList(ctx, "*")
	if err != nil {
		return err
	}
	s.pool = pools[0]
	return nil
}

func (s *site) logout(ctx context.Context) {
	// The endpoint is going away anyway.
	_ = s.client.Logout(ctx)
}

// configuration is that of a powered-off machine with one thin disk behind an LSI Logic controller.
func (s *site) configuration(name string, capacity int64) types.VirtualMachineConfigSpec {
	controller := &types.VirtualLsiLogicController{
		VirtualSCSIController: types.VirtualSCSIController{
			SharedBus: types.VirtualSCSISharingNoSharing,
			VirtualController: types.VirtualController{
				BusNumber:     0,
				VirtualDevice: types.VirtualDevice{Key: -100},
			},
		},
	}
	disk := &types.VirtualDisk{
		CapacityInBytes: capacity,
		CapacityInKB:    capacity / 1024,
		VirtualDevice: types.VirtualDevice{
			Key:           -101,
			ControllerKey: -100,
			UnitNumber:    types.NewInt32(0),
			Backing: &types.VirtualDiskFlatVer2BackingInfo{
				DiskMode:        string(types.VirtualDiskModePersistent),
				ThinProvisioned: types.NewBool(true),
			},
		},
	}
	return types.VirtualMachineConfigSpec{
		Name:     name,
		GuestId:  "otherGuest",
		NumCPUs:  1,
		MemoryMB: 128,
		Version:  "vmx-08",
		Files:    &types.VirtualMachineFileInfo{VmPathName: s.datastore.Path("")},
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{
			&types.VirtualDeviceConfigSpec{
				Operation: types.VirtualDeviceConfigSpecOperationAdd,
				Device:    controller,
			},
			&types.VirtualDeviceConfigSpec{
				Operation:     types.VirtualDeviceConfigSpecOperationAdd,
				FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate,
				Device:        disk,
			},
		},
	}
}

func (s *site) createVM(ctx context.Context, name string, capacity int64) (*object.VirtualMachine, error) {
	task, err := s.folder.CreateVM(ctx, s.configuration(name, capacity), s.pool, nil)
	if err != nil {
		return nil, err
	}
	info, err := task.WaitForResult(ctx, nil)
	if err != nil {
		return nil, err
	}
	vm := object.NewVirtualMachine(s.client.Client, info.Result.(types.ManagedObjectReference))
	disk, err := onlyDisk(ctx, vm)
	if err != nil {
		return nil, err
	}
	if disk.CapacityInBytes != capacity {
		return nil, fmt.Errorf("the new disk has %d bytes instead of %d", disk.CapacityInBytes, capacity)
	}
	return vm, nil
}

func (s *site) destroy(ctx context.Context, vm *object.VirtualMachine) error {
	task, err := vm.Destroy(ctx)
	if err != nil {
		return err
	}
	return task.Wait(ctx)
}

func (s *site) gone(ctx context.Context, name string) error {
	_, err := s.finder.VirtualMachine(ctx, name)
	var missing *find.NotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	return fmt.Errorf("%s is still there (%v)", name, err)
}

// swapDisk moves the only disk of one machine into the place of another's, in one reconfiguration of each.
func (s *site) swapDisk(ctx context.Context, from, to *object.VirtualMachine) error {
	moved, err := onlyDisk(ctx, from)
	if err != nil {
		return err
	}
	if err := from.RemoveDevice(ctx, true, moved); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	old, err := onlyDisk(ctx, to)
	if err != nil {
		return err
	}
	fileName := moved.Backing.(types.BaseVirtualDeviceFileBackingInfo).GetVirtualDeviceFileBackingInfo().FileName
	added := &types.VirtualDisk{
		CapacityInBytes: moved.CapacityInBytes,
		CapacityInKB:    moved.CapacityInKB,
		VirtualDevice: types.VirtualDevice{
			Key:           -1,
			ControllerKey: old.ControllerKey,
			UnitNumber:    old.UnitNumber,
			Backing: &types.VirtualDiskFlatVer2BackingInfo{
				VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: fileName},
				DiskMode:                     string(types.VirtualDiskModePersistent),
			},
		},
	}
	task, err := to.Reconfigure(ctx, types.VirtualMachineConfigSpec{
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{
			&types.VirtualDeviceConfigSpec{
				Operation:     types.VirtualDeviceConfigSpecOperationRemove,
				FileOperation: types.VirtualDeviceConfigSpecFileOperationDestroy,
				Device:        old,
			},
			&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: added},
		},
	})
	if err != nil {
		return err
	}
	if err := task.Wait(ctx); err != nil {
		return err
	}
	now, err := onlyDisk(ctx, to)
	if err != nil {
		return err
	}
	found := now.Backing.(types.BaseVirtualDeviceFileBackingInfo).GetVirtualDeviceFileBackingInfo().FileName
	if found != fileName || *now.UnitNumber != *old.UnitNumber || now.ControllerKey != old.ControllerKey {
		return fmt.Errorf("%s at %d:%d after the swap, expected %s at %d:%d",
			found, now.ControllerKey, *now.UnitNumber, fileName, old.ControllerKey, *old.UnitNumber)
	}
	return nil
}

func onlyDisk(ctx context.Context, vm *object.VirtualMachine) (*types.VirtualDisk, error) {
	devices, err := vm.Device(ctx)
	if err != nil {
		return nil, err
	}
	disks := devices.SelectByType((*types.VirtualDisk)(nil))
	if len(disks) != 1 {
		return nil, fmt.Errorf("%s has %d disks", vm.Reference(), len(disks))
	}
	return disks[0].(*types.VirtualDisk), nil
}
