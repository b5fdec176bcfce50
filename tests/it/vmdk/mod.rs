//! The check of stream-optimized VMDKs.

mod convert;
mod corpus;
mod decode;
mod disk;
mod encode;
mod limits;
mod malformed;
mod normalize;
mod peers;
mod robust;
mod shapes;
mod writer;

use bytes::Bytes;
use vmdk_backup::vmdk::{Check, CheckOptions, Facts, Flaw};

/// The verdict on a stream that is fed in slabs of so many bytes.
fn check_with(options: &CheckOptions, stream: &[u8], slab: usize) -> Result<Facts, Flaw> {
    let mut check = Check::new(options).expect("worker threads");
    for slab in stream.chunks(slab) {
        check.feed(Bytes::copy_from_slice(slab))?;
    }
    check.finish()
}

fn check(stream: &[u8]) -> Result<Facts, Flaw> {
    check_with(&CheckOptions::default(), stream, 1 << 20)
}

/// The verdict, which must be the same however the stream is cut and however many threads there are.
fn verdict(stream: &[u8]) -> Result<Facts, Flaw> {
    let verdict = check(stream);
    for (slab, threads) in [(1, 1), (7, 2), (512, 3), (65536, 1), (100_000, 8)] {
        let options = CheckOptions {
            threads,
            ..CheckOptions::default()
        };
        let other = check_with(&options, stream, slab);
        assert_eq!(other, verdict, "slabs of {slab} bytes, {threads} threads");
    }
    verdict
}
