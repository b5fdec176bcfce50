//! Any bytes as the answer to a call.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmdk_backup::fuzzing;
use vmdk_backup::vsphere::fault;
use vmdk_fuzz::memory::within;

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, body) = input;
    let status = [200, 500, 401, 503, 200][usize::from(choice % 5)];
    within((64 << 10) + 64 * body.len(), || {
        match fuzzing::open(status, body, "Login") {
            Some(Ok(Ok(response))) => assert_eq!(response.name, "LoginResponse"),
            Some(Ok(Err(fault))) => {
                let error = fault::of_call(&fault);
                assert!(
                    error.message().len() < 16 << 10,
                    "{} bytes of message",
                    error.message().len()
                );
            }
            Some(Err(error)) => assert!(
                error.message().len() < 8 << 10,
                "{} bytes of message",
                error.message().len()
            ),
            None => {}
        }
    });
});
