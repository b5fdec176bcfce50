package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	sector   = 512
	capacity = 40<<20 + 6*sector
)

// disk is a raw image with data and holes, and the same as a stream-optimized VMDK.
type disk struct {
	folder   string
	vmdk     string
	capacity int64
	sha256   string
}

func makeDisk(folder string) (*disk, error) {
	raw := filepath.Join(folder, "disk.raw")
	file, err := os.Create(raw)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := file.Truncate(capacity); err != nil {
		return nil, err
	}
	noise := rand.NewChaCha8([32]byte{1})
	for _, at := range []int64{0, 5<<20 - sector, 33 << 20, capacity - 3*sector} {
		block := make([]byte, min(150_000, capacity-at))
		noise.Read(block[:len(block)/2])
		if _, err := file.WriteAt(block, at); err != nil {
			return nil, err
		}
	}
	sum, err := sha256Of(raw)
	if err != nil {
		return nil, err
	}
	vmdk := filepath.Join(folder, "disk.vmdk")
	if err := qemuImg("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, vmdk); err != nil {
		return nil, err
	}
	if err := endStream(vmdk); err != nil {
		return nil, err
	}
	return &disk{folder: folder, vmdk: vmdk, capacity: capacity, sha256: sum}, nil
}

// endStream replaces the zeros at the end of qemu-img's file, if any, by exactly one end-of-stream marker.
func endStream(vmdk string) error {
	content, err := os.ReadFile(vmdk)
	if err != nil {
		return err
	}
	used := len(bytes.TrimRight(content, "\x00"))
	end := (used + sector - 1) / sector * sector
	return os.WriteFile(vmdk, append(content[:end:end], make([]byte, sector)...), 0o600)
}

// compare reads an exported VMDK with qemu-img.
func (d *disk) compare(vmdk string) error {
	raw := filepath.Join(d.folder, "back.raw")
	if err := qemuImg("convert", "-f", "vmdk", "-O", "raw", vmdk, raw); err != nil {
		return err
	}
	sum, err := sha256Of(raw)
	if err != nil {
		return err
	}
	if sum != d.sha256 {
		return fmt.Errorf("%w: SHA-256 %s, expected %s", errContents, sum, d.sha256)
	}
	return nil
}

func sha256Of(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func qemuImg(arguments ...string) error {
	output, err := exec.Command("qemu-img", arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("qemu-img %v: %w: %s", arguments, err, output)
	}
	return nil
}
