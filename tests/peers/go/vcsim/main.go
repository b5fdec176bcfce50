// Command vcsim runs govmomi's vSphere simulator with a certificate of the caller's. It prints the URL once it listens, and
// ends when its standard input does, so that it cannot outlive the test that started it.
//
// The simulator's own certificate is refused by rustls, hence -cert and -key. One resource pool more than the default's is
// there because ImportVApp next to CreateVM_Task in the same pool can deadlock the simulator.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"
	"time"

	_ "github.com/vmware/govmomi/pbm/simulator"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

func main() {
	log.SetFlags(0)
	esx := flag.Bool("esx", false, "be a lone ESXi host rather than a vCenter")
	cert := flag.String("cert", "", "`file` with the certificate chain (PEM); without it, plain HTTP")
	key := flag.String("key", "", "`file` with the certificate's key (PEM)")
	listen := flag.String("listen", "127.0.0.1:0", "`address` to listen on")
	user := flag.String("user", "user", "the only `name` that may log in")
	password := flag.String("password", "pass", "its `password`")
	idle := flag.Duration("session-timeout", 30*time.Minute, "idle `time` after which a session ends")
	flag.Parse()
	if err := run(*esx, *cert, *key, *listen, url.UserPassword(*user, *password), *idle); err != nil {
		log.Fatalf("vcsim: %v", err)
	}
}

func run(esx bool, cert, key, listen string, login *url.Userinfo, idle time.Duration) error {
	model := simulator.VPX()
	if esx {
		model = simulator.ESX()
	} else {
		model.Pool = 2
	}
	defer model.Remove()
	if err := model.Create(); err != nil {
		return fmt.Errorf("make the inventory: %w", err)
	}
	service := model.Service
	service.RegisterEndpoints = true
	service.Listen = &url.URL{Host: listen, User: login}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("load %s and %s: %w", cert, key, err)
		}
		service.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	service.Context.Map.OptionManager().UpdateOptions(&types.UpdateOptions{
		ChangedValue: []types.BaseOptionValue{
			&types.OptionValue{Key: "config.vmacore.soap.sessionTimeout", Value: idle.String()},
		},
	})
	server := service.NewServer()
	defer server.Close()

	shown := *server.URL
	shown.User = nil
	fmt.Println(shown.String())
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
