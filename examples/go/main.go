// A program that keeps backups its own way: as directories of small files.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"vmdkbackup-example/vmdkbackup"
)

const usage = `usage: vmdkbackup backup|restore DIRECTORY BACKUP-ID VOLUME
The environment names the server: VSPHERE_SERVER, VSPHERE_USER, VSPHERE_PASSWORD and,
where the system does not trust its certificate, VSPHERE_CA_FILE.
`

func main() {
	options := vmdkbackup.Options{
		Server:   os.Getenv("VSPHERE_SERVER"),
		Username: os.Getenv("VSPHERE_USER"),
		Password: os.Getenv("VSPHERE_PASSWORD"),
		CAFile:   os.Getenv("VSPHERE_CA_FILE"),
	}
	if len(os.Args) != 5 || (os.Args[1] != "backup" && os.Args[1] != "restore") ||
		options.Server == "" || options.Username == "" || options.Password == "" {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	summary, err := run(options, os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vmdkbackup:", err)
		var failure *vmdkbackup.Error
		if errors.As(err, &failure) {
			os.Exit(10 + int(failure.Status))
		}
		os.Exit(1)
	}
	for _, notice := range summary.Notices {
		fmt.Fprintln(os.Stderr, "vmdkbackup:", notice)
	}
	fmt.Printf("backing=%s\nstream_length=%d\n", summary.Backing, summary.StreamLength)
}

func run(options vmdkbackup.Options, job, directory, backupID, name string) (vmdkbackup.Summary, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := vmdkbackup.Connect(options)
	if err != nil {
		return vmdkbackup.Summary{}, err
	}
	defer client.Close()
	volume := vmdkbackup.Volume{Name: name}
	if job == "backup" {
		return client.Backup(ctx, partStore(directory), volume, backupID)
	}
	return client.Restore(ctx, partStore(directory), volume, backupID)
}
