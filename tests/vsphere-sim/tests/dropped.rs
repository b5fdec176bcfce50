//! What a simulator leaves behind: nothing. A process of its own, so that no other simulator is counted.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use vsphere_sim::{Gate, Options, Simulator, Trouble, VolumeSpec};

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn threads_sockets_and_files_go_with_the_simulator() {
    // The runtime keeps a pair of sockets for signals, once for the whole process.
    drop(Simulator::start(Options::default()).unwrap());
    let before = (entries("/proc/self/task"), entries("/proc/self/fd"));
    for _ in 0..3 {
        let simulator = Simulator::start(Options {
            tls: false,
            ..Options::default()
        })
        .unwrap();
        let vm = simulator
            .add_volume(&VolumeSpec::new("v", 1 << 20))
            .unwrap();
        let key = simulator.vm(&vm).unwrap().disks[0].key;
        simulator.disk_sha256(&vm, key).unwrap();
        // Somebody stands at a gate.
        let gate = Gate::new();
        simulator
            .faults()
            .on_any_call(1, Trouble::Hold(gate.clone()));
        let mut stream = TcpStream::connect(simulator.address()).unwrap();
        stream
            .write_all(b"POST /sdk HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        assert!(gate.wait_for_arrival(std::time::Duration::from_secs(20)));
        let dir = simulator.ca_file().parent().unwrap().to_owned();
        let address = simulator.address();
        drop(simulator);
        assert!(!dir.exists());
        assert!(TcpStream::connect(address).is_err());
        // The connection that was held has been ended.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    assert_eq!(
        (entries("/proc/self/task"), entries("/proc/self/fd")),
        before
    );
}
