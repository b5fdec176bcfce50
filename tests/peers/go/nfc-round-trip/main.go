// Command nfc-round-trip takes a disk through a vSphere endpoint and back with govmomi: it makes a virtual machine, imports
// a disk as another one, exports it, swaps the disk into the first machine, exports that and destroys both. The contents
// are made here, brought into a VMDK by qemu-img and read from the exports by qemu-img.
//
// The password comes from the environment variable VSPHERE_PASSWORD.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("nfc-round-trip: ")
	url := flag.String("url", "", "`URL` of the endpoint, such as https://127.0.0.1:8989/sdk")
	user := flag.String("user", "administrator@vsphere.local", "`name` to log in with")
	ca := flag.String("ca", "", "`file` with the certificate authority's certificate (PEM)")
	name := flag.String("name", "go-peer", "beginning of the `name` of all that is made")
	flag.Parse()

	// A peer that waits for ever is a test that never ends.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := run(ctx, *url, *user, *ca, *name); err != nil {
		log.Fatal(err)
	}
	log.Print("ok")
}

func run(ctx context.Context, url, user, ca, name string) error {
	folder, err := os.MkdirTemp("", "nfc-round-trip-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	disk, err := makeDisk(folder)
	if err != nil {
		return fmt.Errorf("make the disk: %w", err)
	}

	site, err := login(ctx, url, user, ca)
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	defer site.logout(ctx)

	backing, err := site.createVM(ctx, name+"-backing", disk.capacity)
	if err != nil {
		return fmt.Errorf("create the virtual machine: %w", err)
	}
	imported, err := site.importDisk(ctx, name+"-imported", disk)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	steps := []struct {
		name string
		run  func() error
	}{
		{"export what was imported", func() error { return site.exportAndCompare(ctx, imported, disk) }},
		{"export again", func() error { return site.exportAndCompare(ctx, imported, disk) }},
		{"swap the disk", func() error { return site.swapDisk(ctx, imported, backing) }},
		{"export after the swap", func() error { return site.exportAndCompare(ctx, backing, disk) }},
		{"destroy the emptied machine", func() error { return site.destroy(ctx, imported) }},
		{"export after the destruction", func() error { return site.exportAndCompare(ctx, backing, disk) }},
		{"destroy the backing", func() error { return site.destroy(ctx, backing) }},
		{"look for the backing", func() error { return site.gone(ctx, name+"-backing") }},
	}
	for _, step := range steps {
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

var errContents = errors.New("the exported disk is not the imported one")
