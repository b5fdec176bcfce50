package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"vmdkbackup-example/vmdkbackup"
)

// A part is a file: small enough for stores that take objects of a limited size only.
const partSize = 1 << 20

// A partStore keeps each backup in a directory of its own, cut into parts.
type partStore string

func (s partStore) Create(request vmdkbackup.Request) (vmdkbackup.Writer, error) {
	place := filepath.Join(string(s), request.BackupID)
	if _, err := os.Lstat(place); err == nil {
		return nil, fs.ErrExist
	}
	// The library's names of backups do not begin with a dot.
	hidden, err := os.MkdirTemp(string(s), "."+request.BackupID+"-")
	if err != nil {
		return nil, err
	}
	return &partWriter{hidden: hidden, place: place}, nil
}

type partWriter struct {
	hidden string // where it grows
	place  string // where it is a backup
	part   *os.File
	count  int
	filled int
}

func (w *partWriter) Write(bytes []byte) (int, error) {
	written := 0
	for written < len(bytes) {
		if w.part == nil {
			if err := w.nextPart(); err != nil {
				return written, err
			}
		}
		count, err := w.part.Write(bytes[written:min(len(bytes), written+partSize-w.filled)])
		written += count
		w.filled += count
		if err != nil {
			return written, err
		}
		if w.filled == partSize {
			if err := w.endPart(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

func (w *partWriter) nextPart() (err error) {
	w.part, err = os.Create(partPath(w.hidden, w.count))
	w.count++
	w.filled = 0
	return err
}

func (w *partWriter) endPart() error {
	err := errors.Join(w.part.Sync(), w.part.Close())
	w.part = nil
	return err
}

func (w *partWriter) SetMetadata(metadata string) error {
	file, err := os.Create(filepath.Join(w.hidden, "metadata.json"))
	if err != nil {
		return err
	}
	_, err = file.WriteString(metadata)
	return errors.Join(err, file.Sync(), file.Close())
}

// Everything is on stable storage before it has its name, and the name before this returns.
func (w *partWriter) Commit() error {
	if w.part != nil {
		if err := w.endPart(); err != nil {
			return err
		}
	}
	if err := syncDirectory(w.hidden); err != nil {
		return err
	}
	if err := os.Rename(w.hidden, w.place); err != nil {
		return err
	}
	w.hidden = w.place // for Abort, where the next fails
	return syncDirectory(filepath.Dir(w.place))
}

func (w *partWriter) Abort() {
	if w.part != nil {
		w.part.Close()
	}
	if err := os.RemoveAll(w.hidden); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func (s partStore) Open(backupID string) (vmdkbackup.Reader, error) {
	reader := &partReader{place: filepath.Join(string(s), backupID)}
	if _, err := os.Stat(reader.place); err != nil {
		return nil, err
	}
	for number := 0; ; number++ {
		part, err := os.Stat(partPath(reader.place, number))
		if errors.Is(err, fs.ErrNotExist) {
			return reader, nil
		}
		if err != nil {
			return nil, err
		}
		reader.length += uint64(part.Size())
	}
}

type partReader struct {
	place  string
	part   *os.File
	next   int
	length uint64
}

func (r *partReader) Length() uint64 {
	return r.length
}

func (r *partReader) Metadata() (string, error) {
	text, err := os.ReadFile(filepath.Join(r.place, "metadata.json"))
	return string(text), err
}

func (r *partReader) Read(buffer []byte) (int, error) {
	for {
		if r.part == nil {
			part, err := os.Open(partPath(r.place, r.next))
			if errors.Is(err, fs.ErrNotExist) {
				return 0, io.EOF
			}
			if err != nil {
				return 0, err
			}
			r.part = part
			r.next++
		}
		count, err := r.part.Read(buffer)
		if !errors.Is(err, io.EOF) {
			return count, err
		}
		if err := r.Close(); err != nil {
			return 0, err
		}
	}
}

func (r *partReader) Close() error {
	if r.part == nil {
		return nil
	}
	err := r.part.Close()
	r.part = nil
	return err
}

func partPath(directory string, number int) string {
	return filepath.Join(directory, fmt.Sprintf("part-%06d", number))
}

func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
