package vmdkbackup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
)

var errBroken = errors.New("broken on purpose")

// A service that keeps nothing, and fails or panics in one of its methods.
type failingService struct {
	failing string
	panics  bool
	exits   bool
	aborted int
}

func (s *failingService) enter(name string) error {
	if name != s.failing {
		return nil
	}
	if s.panics {
		panic(errBroken)
	}
	if s.exits {
		runtime.Goexit()
	}
	return fmt.Errorf("%s: %w", name, errBroken)
}

func (s *failingService) Create(Request) (Writer, error)  { return s, s.enter("Create") }
func (s *failingService) Write(bytes []byte) (int, error) { return len(bytes), s.enter("Write") }
func (s *failingService) SetMetadata(string) error        { return s.enter("SetMetadata") }
func (s *failingService) Commit() error                   { return s.enter("Commit") }
func (s *failingService) Abort()                          { s.aborted++ }
func (s *failingService) Open(string) (Reader, error)     { return s, s.enter("Open") }
func (s *failingService) Length() uint64                  { return 512 }
func (s *failingService) Metadata() (string, error)       { return "", s.enter("Metadata") }
func (s *failingService) Close() error                    { return nil }
func (s *failingService) Read([]byte) (int, error) {
	if err := s.enter("Read"); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

func connect(t *testing.T) *Client {
	client, err := Connect(Options{
		Server:   os.Getenv("VSPHERE_SERVER"),
		Username: os.Getenv("VSPHERE_USER"),
		Password: os.Getenv("VSPHERE_PASSWORD"),
		CAFile:   os.Getenv("VSPHERE_CA_FILE"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestErrorsAndPanicsOfAServiceComeBack(t *testing.T) {
	client := connect(t)
	volume := Volume{Name: "volume-1"}
	for _, panics := range []bool{false, true} {
		for _, name := range []string{"Create", "Write", "SetMetadata", "Commit", "Open", "Metadata", "Read"} {
			service := &failingService{failing: name, panics: panics}
			operate := client.Backup
			if name == "Open" || name == "Metadata" || name == "Read" {
				operate = client.Restore
			}
			_, err := operate(context.Background(), service, volume, "b1")
			var failure *Error
			if !errors.As(err, &failure) || failure.Status != StatusService {
				t.Errorf("%s: %v", name, err)
			}
			if !errors.Is(err, errBroken) && !(panics && strings.Contains(err.Error(), "panic in the service: "+errBroken.Error())) {
				t.Errorf("%s: the cause is lost: %v", name, err)
			}
			backup := name == "Write" || name == "SetMetadata" || name == "Commit"
			if backup != (service.aborted == 1) {
				t.Errorf("%s: aborted %d times", name, service.aborted)
			}
		}
	}
	if _, err := client.Backup(context.Background(), &failingService{}, volume, "b1"); err != nil {
		t.Error(err)
	}
}

func TestAServiceThatEndsItsGoroutineFails(t *testing.T) {
	client := connect(t)
	for _, name := range []string{"Create", "Write", "SetMetadata", "Commit"} {
		service := &failingService{failing: name, exits: true}
		_, err := client.Backup(context.Background(), service, Volume{Name: "volume-1"}, "b1")
		if err == nil || !strings.Contains(err.Error(), "ended its goroutine") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAStringThatCWouldCutIsRefused(t *testing.T) {
	client := connect(t)
	for _, call := range []struct {
		volume   Volume
		backupID string
	}{{Volume{Name: "volume-1\x00"}, "b1"}, {Volume{Name: "volume-1"}, "b1\x00"}} {
		_, err := client.Backup(context.Background(), &failingService{}, call.volume, call.backupID)
		if err == nil || !strings.Contains(err.Error(), "NUL") {
			t.Errorf("%v: %v", call, err)
		}
	}
	if _, err := Connect(Options{Server: "a\x00b", Username: "user", Password: "password"}); err == nil {
		t.Error("connected")
	}
}

func TestAContextThatIsOverCancels(t *testing.T) {
	client := connect(t)
	over := errors.New("over")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(over)
	service := &failingService{}
	_, err := client.Backup(ctx, service, Volume{Name: "volume-1"}, "b1")
	var failure *Error
	if !errors.As(err, &failure) || failure.Status != StatusCancelled || !errors.Is(err, over) {
		t.Errorf("%v", err)
	}
}
